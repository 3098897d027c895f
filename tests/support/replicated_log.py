"""A log of its own for a test, and the nodes that replicate it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Self

import nats
from nats.js import JetStreamContext
from nats.js.api import StreamConfig

from engagement_server.log.nats.connection import NatsSettings, Servers
from engagement_server.log.nats.stream import NatsStream, connect
from tests.support.nats_cluster import NatsCluster
from tests.support.replicated_node import ReplicatedNode
from tests.support.view_rows import Rows, view_rows
from tests.support.waiting import eventually

PAYLOAD_BYTES = 64 * 1024
"""The largest message of the servers of such logs: small, so that large commits and snapshots have many."""
_names = (f"log-{number}" for number in itertools.count())


class ReplicatedLog:
    """A log, its open nodes, and `js`, an operator's access to the servers."""

    def __init__(self, folder: Path, settings: NatsSettings, js: JetStreamContext) -> None:
        self.folder = folder
        self.settings = settings
        self.js = js
        self._open: dict[str, ReplicatedNode] = {}

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, folder: Path, cluster: NatsCluster) -> AsyncIterator[Self]:
        """A log that does not exist yet; its nodes are closed at the end of the context."""
        client = await nats.connect(cluster.url)
        log = cls(folder, new_log(cluster), client.jetstream())
        try:
            yield log
        finally:
            await log.close()
            await client.close()

    def connect(self) -> contextlib.AbstractAsyncContextManager[NatsStream]:
        """A connection to the log."""
        return connect(Servers(self.settings), creates=True)

    async def open(self, name: str = "first", *, settings: NatsSettings | None = None) -> ReplicatedNode:
        """Opens a node over its folder."""
        node = await ReplicatedNode.open(self.folder / name, settings or self.settings)
        self._open[name] = node
        return node

    async def reopen(self, name: str) -> ReplicatedNode:
        """Closes a node if it is open, and opens it again."""
        if name in self._open:
            await self.close(name)
        return await self.open(name)

    def node(self, name: str) -> ReplicatedNode:
        """A node that is open."""
        return self._open[name]

    async def close(self, *names: str) -> None:
        """Closes some nodes, or all."""
        for name in names or [*self._open]:
            await self._open.pop(name).close()

    async def publish(self, data: bytes, headers: dict[str, str] | None = None) -> int:
        """Publishes to the log as another program might; returns the sequence."""
        ack = await self.js.publish(f"{self.settings.name}.commits", data, headers=headers)
        return ack.seq

    async def last_sequence(self) -> int:
        """The sequence of the last message."""
        return (await self.js.stream_info(self.settings.name)).state.last_seq

    async def expire(self, first_sequence: int) -> None:
        """Removes the messages before one, as their age does."""
        await self.js.purge_stream(self.settings.name, seq=first_sequence)

    async def restore(self, last_sequence: int) -> None:
        """Replaces the log by its first messages, as from a backup."""
        name = self.settings.name
        config = (await self.js.stream_info(name)).config
        kept = [await self.js.get_msg(name, seq=sequence) for sequence in range(1, last_sequence + 1)]
        await self.js.delete_stream(name)
        await self.js.add_stream(StreamConfig(name=name, subjects=config.subjects))
        for message in kept:
            await self.js.publish(message.subject or "", message.data or b"", headers=message.headers)

    async def assert_same(self, one: ReplicatedNode, other: ReplicatedNode) -> None:
        """Waits until two nodes are equally far; they have the same rows then."""
        rows: list[dict[str, Rows]] = []

        async def are_equally_far() -> bool:
            await other.catch_up_with(one)
            await one.catch_up_with(other)
            rows[:] = [await asyncio.to_thread(view_rows, node.database.folder) for node in (one, other)]
            # A vote may be applied between the two looks.
            return rows[0]["log_position"] == rows[1]["log_position"]

        await eventually(are_equally_far, "two views are equally far")
        assert rows[0] == rows[1]


def new_log(cluster: NatsCluster) -> NatsSettings:
    """The settings of a log that does not exist yet."""
    return NatsSettings(cluster.urls, name=next(_names), replicas=1, max_age_seconds=3600)
