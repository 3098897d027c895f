"""A node of a replicated log without its gRPC server: a view in a folder, and its log."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import nats

from engagement import v1
from engagement_server.log.nats.connection import NatsSettings
from engagement_server.log.nats.jetstream_log import JetStreamLog
from engagement_server.log.nats.opening import bootstrap
from engagement_server.metrics.measures import Measures
from engagement_server.operations import Commit, Operation, RecordBatch
from engagement_server.store.database import Identity
from engagement_server.store.readers import Readers
from tests.support.events import batch_of
from tests.support.full_disk import BoundedDatabaseFile
from tests.support.waiting import eventually

_SPARE_BYTES = 8_000
_MAX_VIEW_AGE_SECONDS = 60.0


class ReplicatedNode:
    """The parts of one node."""

    def __init__(
        self, database: BoundedDatabaseFile, settings: NatsSettings, identity: Identity | None
    ) -> None:
        self.database = database
        self._settings = settings
        self.measures = Measures()
        self.log = JetStreamLog(
            database,
            settings,
            identity=identity,
            max_view_age_seconds=_MAX_VIEW_AGE_SECONDS,
            measures=self.measures,
        )
        self.readers = Readers(database, threads=2)

    @classmethod
    async def open(cls, data_dir: Path, settings: NatsSettings) -> ReplicatedNode:
        """Joins the log, and waits until the view is current, refused or fails."""
        database = BoundedDatabaseFile(data_dir, is_view=True)
        try:
            identity = await bootstrap(settings, database)
        except BaseException:
            database.close()
            raise
        node = cls(database, settings, identity)
        await eventually(
            lambda: node.log.is_current or node.log.failure.done() or node.log.damage is not None,
            "the view is current",
        )
        return node

    async def close(self) -> None:
        """Closes all; the folder can be opened again."""
        self.readers.close()
        await self.log.close()
        self.database.close()

    async def commit(self, *operations: Operation, time_ms: int = 1_700_000_000_000) -> list[object]:
        """One commit."""
        return [*await self.log.commit(Commit(operations, time_ms))]

    async def record(self, *events: v1.Event, account_id: str = "acme") -> None:
        """Commits events."""
        await self.commit(RecordBatch(account_id, batch_of(events), is_atomic=False))

    async def catch_up_with(self, other: ReplicatedNode) -> None:
        """Waits until this view has applied as much as the other."""
        await eventually(
            lambda: self.log.position.sequence >= other.log.position.sequence, "a view has caught up"
        )

    async def positions(self, account_id: str = "acme") -> Sequence[tuple[int, str]]:
        """Positions and ids of all events of an account, in order."""
        number = await self.readers.run(lambda reader: reader.account_number(account_id))
        if number is None:
            return []
        rows = await self.readers.run(
            lambda reader: reader.scan(after=number << 40, through=(number + 1 << 40) - 1, max_bytes=1 << 40)
        )
        return [(row.position, v1.Event.FromString(row.payload).event_id) for row in rows.rows]

    def query(self, statement: str) -> list[tuple[Any, ...]]:  # Any: each column has its own type
        """Reads rows of the view."""
        with contextlib.closing(self.database.open_reader()) as connection:
            return connection.execute(statement).fetchall()

    async def fill_storage(self) -> None:
        """Leaves the stream room for a few small events only."""
        await self._limit_stream(_SPARE_BYTES)

    async def free_storage(self) -> None:
        """Removes this limit."""
        await self._limit_stream(None)

    async def _limit_stream(self, spare_bytes: int | None) -> None:
        client = await nats.connect(list(self._settings.servers))
        manager = client.jetstream()
        info = await manager.stream_info(self._settings.name)
        limit = -1 if spare_bytes is None else info.state.bytes + spare_bytes
        await manager.update_stream(replace(info.config, max_bytes=limit))
        await client.close()
