"""A replicated log whose snapshots a test takes, reads and damages."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from nats.js.errors import NotFoundError

from engagement import v1
from engagement_server.log.nats.snapshots.bucket import Snapshot, SnapshotBucket
from engagement_server.log.nats.snapshots.schedule import SnapshotSchedule
from tests.support.events import customer_event, noise
from tests.support.replicated_log import ReplicatedLog
from tests.support.replicated_node import ReplicatedNode
from tests.support.waiting import deadline


class SnapshotBench(ReplicatedLog):
    """A log with a bucket of snapshots."""

    @property
    def bucket_name(self) -> str:
        """The name of the bucket at the servers."""
        return f"{self.settings.name}-snapshots"

    async def take(self, node: ReplicatedNode) -> Snapshot:
        """Takes a snapshot; the node may be taking one already."""
        schedule = SnapshotSchedule(node.database, interval_seconds=3600)
        async with deadline("a snapshot was taken"), self.connect() as stream:
            while True:
                if snapshot := await schedule.take(stream):
                    return snapshot

    async def snapshots(self) -> list[Snapshot]:
        """The snapshots in the bucket, the latest first."""
        async with self.connect() as stream:
            return await SnapshotBucket(stream).snapshots()

    async def contents(self, snapshot: Snapshot) -> bytes:
        """The contents of a snapshot, read as any object."""
        store = await self.js.object_store(self.bucket_name)
        result = await store.get(snapshot.name)
        return gzip.decompress(result.data or b"")

    async def subjects(self) -> dict[str, int]:
        """The number of the bucket's messages by subject."""
        try:
            info = await self.js.stream_info(f"OBJ_{self.bucket_name}", subjects_filter=">")
        except NotFoundError:
            return {}
        return info.state.subjects or {}

    async def describe(self, snapshot: Snapshot, **changes: Any) -> None:  # Any: fields of the description
        """Changes a snapshot's description or the facts in it, by name."""
        stream = f"OBJ_{self.bucket_name}"
        for subject in await self.subjects():
            if f".{self.bucket_name}.M." not in subject:
                continue
            message = await self.js.get_last_msg(stream, subject)
            info = json.loads(message.data or b"")
            if info["name"] == snapshot.name:
                for name, value in changes.items():
                    (info["metadata"] if name in info["metadata"] else info)[name] = value
                await self.js.publish(subject, json.dumps(info).encode(), headers={"Nats-Rollup": "sub"})

    async def lose_chunk(self, snapshot: Snapshot) -> None:
        """Removes one chunk of a snapshot."""
        stream = f"OBJ_{self.bucket_name}"
        subject = f"$O.{self.bucket_name}.C.{snapshot.upload_id}"
        message = await self.js.get_msg(stream, seq=1, subject=subject, next=True)
        assert message.seq is not None
        await self.js.delete_msg(stream, message.seq)


def noisy_events(size_bytes: int) -> list[v1.Event]:
    """Events of about this size when compressed."""
    names = [f"noise-{number}" for number in range(size_bytes // 2000)]
    return [customer_event(name, balance=noise(4000, seed=name)) for name in names]


@contextlib.asynccontextmanager
async def running(run: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """Runs beside the test."""
    task = asyncio.create_task(run)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])
