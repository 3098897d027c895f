"""A log of its own for a test, nodes that follow it, and their snapshots."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import itertools
import json
import random
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import nats
from nats.js import JetStreamContext
from nats.js.api import StreamConfig
from nats.js.errors import NotFoundError

from engagement import v1
from engagement_server.log.nats.connection import NatsSettings, Servers
from engagement_server.log.nats.snapshots.bucket import Snapshot, SnapshotBucket
from engagement_server.log.nats.snapshots.schedule import SnapshotSchedule
from engagement_server.log.nats.stream import NatsStream, connect
from tests.support.events import customer_event
from tests.support.nats_cluster import NatsCluster
from tests.support.replicated_node import DEADLINE_SECONDS, ReplicatedNode
from tests.support.view_rows import view_rows

PAYLOAD_BYTES = 64 * 1024
"""Of the largest message: small, so that snapshots have many chunks."""
_names = (f"log-{number}" for number in itertools.count())


def new_log(cluster: NatsCluster) -> NatsSettings:
    """A log that is not there yet."""
    return NatsSettings(cluster.urls, name=next(_names), replicas=1, max_age_seconds=3600)


class SnapshotBench:
    """A log of its own, nodes that follow it, and their snapshots."""

    def __init__(self, folder: Path, settings: NatsSettings, js: JetStreamContext) -> None:
        self.folder = folder
        self.settings = settings
        self.bucket_name = f"{settings.name}-snapshots"
        self._js = js
        self._open: dict[str, ReplicatedNode] = {}

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, folder: Path, cluster: NatsCluster) -> AsyncIterator[SnapshotBench]:
        """For as long as a test may take."""
        client = await nats.connect(cluster.url)
        bench = cls(folder, new_log(cluster), client.jetstream())
        try:
            async with asyncio.timeout(3 * DEADLINE_SECONDS):
                yield bench
        finally:
            await bench.close()
            await client.close()

    def connect(self) -> contextlib.AbstractAsyncContextManager[NatsStream]:
        """A connection to the log."""
        return connect(Servers(self.settings), creates=True)

    async def open(self, name: str = "first") -> ReplicatedNode:
        """Opens a node over its folder."""
        self._open[name] = node = await ReplicatedNode.open(self.folder / name, self.settings)
        return node

    async def close(self, *names: str) -> None:
        """Closes some nodes, or all."""
        for name in names or [*self._open]:
            await self._open.pop(name).close()

    async def take(self, node: ReplicatedNode) -> Snapshot:
        """Takes a snapshot; the node may be taking one already."""
        schedule = SnapshotSchedule(node.database, interval_seconds=3600)
        async with asyncio.timeout(DEADLINE_SECONDS), self.connect() as stream:
            while True:
                if snapshot := await schedule.take(stream):
                    return snapshot

    async def snapshots(self) -> list[Snapshot]:
        """What is in the bucket, the latest first."""
        async with self.connect() as stream:
            return await SnapshotBucket(stream).snapshots()

    async def contents(self, snapshot: Snapshot) -> bytes:
        """A snapshot as any client of an object store reads it."""
        store = await self._js.object_store(self.bucket_name)
        result = await store.get(snapshot.name)
        return gzip.decompress(result.data or b"")

    async def subjects(self) -> dict[str, int]:
        """How many messages the bucket has of each subject."""
        try:
            info = await self._js.stream_info(f"OBJ_{self.bucket_name}", subjects_filter=">")
        except NotFoundError:
            return {}
        return info.state.subjects or {}

    async def subjects_besides(self, known: dict[str, int]) -> dict[str, int]:
        """Those of them that were not there."""
        subjects = await self.subjects()
        return {subject: subjects[subject] for subject in subjects.keys() - known.keys()}

    async def describe(self, snapshot: Snapshot, **changes: Any) -> None:  # Any: fields of the description
        """Changes how the bucket describes a snapshot; the facts have names of their own."""
        stream = f"OBJ_{self.bucket_name}"
        for subject in await self.subjects():
            if f".{self.bucket_name}.M." not in subject:
                continue
            message = await self._js.get_last_msg(stream, subject)
            info = json.loads(message.data or b"")
            if info["name"] == snapshot.name:
                for name, value in changes.items():
                    (info["metadata"] if name in info["metadata"] else info)[name] = value
                await self._js.publish(subject, json.dumps(info).encode(), headers={"Nats-Rollup": "sub"})

    async def lose_chunk(self, snapshot: Snapshot) -> None:
        """Removes one chunk of a snapshot."""
        stream = f"OBJ_{self.bucket_name}"
        subject = f"$O.{self.bucket_name}.C.{snapshot.upload_id}"
        message = await self._js.get_msg(stream, seq=1, subject=subject, next=True)
        assert message.seq is not None
        await self._js.delete_msg(stream, message.seq)

    async def forget_log(self, first_sequence: int) -> None:
        """Removes the messages before one, as their age does."""
        await self._js.purge_stream(self.settings.name, seq=first_sequence)

    async def cut_log(self, last_sequence: int) -> None:
        """Makes the log anew with its first messages, as a backup from before the others has it."""
        name = self.settings.name
        config = (await self._js.stream_info(name)).config
        kept = [await self._js.get_msg(name, seq=sequence) for sequence in range(1, last_sequence + 1)]
        await self._js.delete_stream(name)
        await self._js.add_stream(StreamConfig(name=name, subjects=config.subjects))
        for message in kept:
            await self._js.publish(message.subject or "", message.data or b"", headers=message.headers)

    async def assert_same(self, one: ReplicatedNode, other: ReplicatedNode) -> None:
        """Two nodes have the same rows."""
        await other.catch_up_with(one)
        await one.catch_up_with(other)
        assert view_rows(one.database.folder) == view_rows(other.database.folder)


def noisy_events(size_bytes: int, *, prefix: str = "noise") -> list[v1.Event]:
    """Events that take about so many bytes when they are compressed."""
    source = random.Random(1)
    return [
        customer_event(f"{prefix}-{number}", balance=source.randbytes(2000).hex())
        for number in range(size_bytes // 2000)
    ]


@contextlib.asynccontextmanager
async def running(run: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """Runs beside the test."""
    task = asyncio.create_task(run)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])
