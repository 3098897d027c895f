"""Producers that resume after each outage as the contract says, and check the server's answers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import grpc
import pytest

from engagement import v1
from tests.support.connection import Connection, UploadCall, is_torn_write, upload_messages
from tests.support.ledger import Ledger
from tests.support.refused_call import RefusedCall
from tests.support.waiting import deadline

_MAX_CHUNKS = 12
_MAX_CHUNK_EVENTS = 40


class Producer(Protocol):
    """Sends events until the ledger gives no more."""

    async def run(self, connection: Connection) -> None:
        """Resumes. Raises AioRpcError when the server goes away."""


class Caller:
    """Records events in single calls or in batches; repeats calls without an answer."""

    def __init__(self, ledger: Ledger, *, batch_events: int) -> None:
        self._ledger = ledger
        self._batch_events = batch_events
        self._unanswered: list[v1.Event] = []

    async def run(self, connection: Connection) -> None:
        """See `Producer.run`."""
        while events := self._unanswered or self._ledger.draw(self._batch_events):
            self._unanswered = events
            self._ledger.acknowledge(await self._record(connection, events))
            self._unanswered = []

    async def _record(self, connection: Connection, events: list[v1.Event]) -> Sequence[v1.EventResult]:
        if len(events) == 1:
            return [await connection.record(events[0])]
        return await connection.record_batch(events)


@dataclass(frozen=True)
class _Chunk:
    good: list[v1.Event]
    repeated: list[v1.Event]
    bad: list[v1.Event]

    @property
    def events(self) -> list[v1.Event]:
        return [*self.good, *self.repeated, *self.bad]


@dataclass
class _Upload:
    upload_id: str
    chunks: list[_Chunk] = field(default_factory=list)
    acked_through: int = 0

    @property
    def tally(self) -> v1.Tally:
        """The server's tally in the end, however often it was interrupted."""
        return v1.Tally(
            accepted=sum(len(chunk.good) for chunk in self.chunks),
            duplicate=sum(len(chunk.repeated) for chunk in self.chunks),
            rejected=sum(len(chunk.bad) for chunk in self.chunks),
        )


class UploadStream:
    """Makes uploads, one after the other; resumes the interrupted one."""

    def __init__(self, ledger: Ledger, *, name: str) -> None:
        self._ledger = ledger
        self._name = name
        self._begun = 0
        self._current: _Upload | None = None

    async def run(self, connection: Connection) -> None:
        """See `Producer.run`."""
        while (upload := self._current or self._begin()) is not None:
            self._current = upload
            await self._go_on(connection, upload)
            self._current = None

    def _begin(self) -> _Upload | None:
        random = self._ledger.random
        self._begun += 1
        upload = _Upload(f"{self._name}-{self._begun}")
        for sequence in range(1, random.randint(1, _MAX_CHUNKS) + 1):
            good = self._ledger.draw(random.randint(1, _MAX_CHUNK_EVENTS))
            if not good:
                return None
            repeated = upload.chunks[0].good[:1] if sequence % 3 == 0 else []
            bad = [v1.Event(event_id=f"{upload.upload_id}-bad")] if sequence % 4 == 0 else []
            upload.chunks.append(_Chunk(good, repeated, bad))
        return upload

    async def _go_on(self, connection: Connection, upload: _Upload) -> None:
        call = connection.ingest.UploadEvents()
        committed_through = asyncio.get_running_loop().create_future()
        # A broken connection counts when the reader reports it; the writer's error says nothing.
        sender = asyncio.create_task(_send(call, upload, after=committed_through))
        try:
            await self._follow(call, upload, opened=committed_through)
        finally:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)

    async def _follow(self, call: UploadCall, upload: _Upload, *, opened: asyncio.Future[int]) -> None:
        """Reads until the upload is finished."""
        state: v1.Upload | None = None
        while isinstance(message := await call.read(), v1.UploadEventsResponse):
            if message.HasField("opened"):
                self._check_opened(upload, committed_through=message.opened.committed_through)
                opened.set_result(message.opened.committed_through)
            elif message.HasField("ack"):
                self._note(upload, committed_through=message.ack.committed_through)
            elif message.HasField("finished"):
                state = message.finished.upload
        assert state is not None
        self._note(upload, committed_through=state.committed_through)
        assert state.state == v1.Upload.STATE_FINISHED
        assert state.committed_through == len(upload.chunks)
        assert state.tally == upload.tally

    def _check_opened(self, upload: _Upload, *, committed_through: int) -> None:
        assert committed_through >= upload.acked_through
        for sequence, chunk in enumerate(upload.chunks, 1):
            is_committed = sequence <= committed_through
            assert all(self._ledger.is_stored(event) == is_committed for event in chunk.good)

    def _note(self, upload: _Upload, *, committed_through: int) -> None:
        for chunk in upload.chunks[upload.acked_through : committed_through]:
            self._ledger.acknowledge_chunk(chunk.good)
        upload.acked_through = max(upload.acked_through, committed_through)


async def _send(call: UploadCall, upload: _Upload, *, after: asyncio.Future[int]) -> None:
    chunks = [chunk.events for chunk in upload.chunks]
    opening, *_ = upload_messages(upload.upload_id, chunks)
    await call.write(opening)
    _, *others = upload_messages(upload.upload_id, chunks, after=await after)
    for message in others:
        await call.write(message)
    await call.done_writing()


async def run_until_unavailable(producer: Producer, connection: Connection) -> str:
    """Runs a producer until the server goes away; returns the server's reason, "" for a lost connection."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async with deadline("the server went away for the producer"):
            await producer.run(connection)
    error = caught.value
    assert error.code() == grpc.StatusCode.UNAVAILABLE or is_torn_write(error), error
    has_details = "grpc-status-details-bin" in dict(error.trailing_metadata() or ())
    return RefusedCall.of(error).reason if has_details else ""
