"""A log that a test can reopen, with shorthands for commits and reads."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from hashlib import sha256
from operator import methodcaller
from pathlib import Path
from typing import Protocol, Self

import pytest

from engagement import v1
from engagement_server.errors import RequestError
from engagement_server.log.base import CommitLog
from engagement_server.model import EntityList, Outcome, StoredRow, UploadState, Verdict
from engagement_server.operations import (
    ChunkCommitted,
    Commit,
    CommitChunk,
    FinishUpload,
    OpenUpload,
    Operation,
    RecordBatch,
    Recorded,
    Result,
)
from engagement_server.store.event_pages import PageQuery
from engagement_server.store.readers import Readers
from tests.support.events import batch_of

START_MS = 1_700_000_000_000


class Node(Protocol):
    """The log and the store of one server."""

    @property
    def log(self) -> CommitLog:
        """The log under test."""

    @property
    def readers(self) -> Readers:
        """Readers of its store."""

    async def close(self) -> None:
        """Closes both; the folder can be opened again."""

    async def fill_storage(self) -> None:
        """Leaves room for a few small events only."""

    async def free_storage(self) -> None:
        """Removes this limit."""


OpenNode = Callable[[Path], Awaitable[Node]]


class LogBench:
    """One node over a folder, and a clock that moves by a millisecond a commit."""

    def __init__(self, open_node: OpenNode, data_dir: Path) -> None:
        self._open_node = open_node
        self._data_dir = data_dir
        self.time_ms = START_MS

    async def __aenter__(self) -> Self:
        self.node = await self._open_node(self._data_dir)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.node.close()

    async def reopen(self) -> None:
        """Closes the node and opens another over the same folder."""
        await self.node.close()
        self.node = await self._open_node(self._data_dir)

    async def commit(self, *operations: Operation) -> list[Result | RequestError]:
        """One commit."""
        self.time_ms += 1
        return await self.node.log.commit(Commit(operations, self.time_ms))

    async def record(self, *events: v1.Event, account_id: str = "acme") -> list[Verdict]:
        """Commits a batch that may be accepted in part."""
        (result,) = await self.commit(record(*events, account_id=account_id))
        assert isinstance(result, Recorded)
        return list(result.verdicts)

    async def open(self, *, owner: str = "first", principal: str = "", is_admin: bool = False) -> UploadState:
        """Commits the opening of the upload; raises its error."""
        opening = OpenUpload("acme", "upload", owner, principal=principal, is_admin=is_admin)
        (result,) = await self.commit(opening)
        if isinstance(result, RequestError):
            raise result
        assert isinstance(result, UploadState)
        return result

    async def chunk(self, sequence: int, *events: v1.Event, owner: str = "first") -> ChunkCommitted:
        """Commits a chunk of the upload; raises its error."""
        (result,) = await self.commit(chunk(sequence, *events, owner=owner))
        if isinstance(result, RequestError):
            raise result
        assert isinstance(result, ChunkCommitted)
        return result

    async def finish(self, last_sequence: int, *, owner: str = "first") -> UploadState:
        """Commits the end of the upload; raises its error."""
        (result,) = await self.commit(FinishUpload("acme", "upload", owner, last_sequence))
        if isinstance(result, RequestError):
            raise result
        assert isinstance(result, UploadState)
        return result

    async def upload(self, *, upload_id: str = "upload", account_id: str = "acme") -> UploadState:
        """Reads an upload."""
        return await self.node.readers.run(lambda reader: reader.upload(account_id, upload_id))

    async def account_number(self, account_id: str = "acme") -> int | None:
        """Reads the number of an account."""
        return await self.node.readers.run(lambda reader: reader.account_number(account_id))

    async def entities(self, kind: int, *, account_id: str = "acme") -> EntityList:
        """Reads a list."""
        return await self.node.readers.run(lambda reader: reader.entities(account_id, kind))

    async def stored(self, *, account_id: str = "acme") -> list[StoredRow]:
        """Reads all events of an account, in the order of their positions."""
        rows: list[StoredRow] = []
        after: int | None = None
        while True:
            query = PageQuery(
                account_id=account_id,
                wanted=v1.EventFilter(),
                after_position=after,
                newest_first=False,
                max_events=10_000,
                max_bytes=1 << 40,
            )
            page = await self.node.readers.run(methodcaller("page", query))
            rows += [row for row, _ in page.rows]
            after = page.next_position
            if after is None:
                return rows

    async def stored_ids(self, *, account_id: str = "acme") -> list[str]:
        """The ids of all events of an account, in the order of their positions."""
        rows = await self.stored(account_id=account_id)
        return [v1.Event.FromString(row.payload).event_id for row in rows]


def record(*events: v1.Event, account_id: str = "acme", is_atomic: bool = False) -> RecordBatch:
    """An operation that stores events."""
    return RecordBatch(account_id, batch_of(events), is_atomic)


def chunk(sequence: int, *events: v1.Event, owner: str = "first") -> CommitChunk:
    """An operation that stores a chunk of the upload."""
    return CommitChunk("acme", "upload", owner, sequence, batch_of(events), digest_of(events))


def digest_of(events: Sequence[v1.Event]) -> bytes:
    """A digest of a chunk; which one it is does not matter to a log."""
    return sha256(b"".join(event.SerializeToString(deterministic=True) for event in events)).digest()


def outcomes(verdicts: Iterable[Verdict]) -> list[Outcome]:
    """The outcome of each event."""
    return [verdict.outcome for verdict in verdicts]


class LogTests:
    """Tests of one subject, for any log that a subclass opens."""

    open_node: OpenNode

    @pytest.fixture
    async def bench(self, tmp_path: Path) -> AsyncIterator[LogBench]:
        async with LogBench(self.open_node, tmp_path) as bench:
            yield bench
