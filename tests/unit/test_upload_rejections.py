"""Rejected events of an upload are noted once, when their chunk is committed, even if its stream is gone."""

from __future__ import annotations

import asyncio

import pytest

from engagement import v1
from engagement_server.errors import EventIdConflictError, StoreUnavailableError
from engagement_server.metrics.rejections import Rejections
from engagement_server.model import Outcome, Tally, Verdict
from engagement_server.operations import ChunkCommitted, Result
from engagement_server.streams.upload_rejections import UploadRejections, describe_invalid
from tests.support.events import bad_event, batch_of, customer_event

_CONFLICT = v1.EventError(reason=v1.ErrorReason.ERROR_REASON_EVENT_ID_CONFLICT)


class Bench:
    """One stream, whose chunks hold an invalid event and one that is valid."""

    def __init__(self, *, committed_through: int = 0) -> None:
        self.record = Rejections()
        self._noted = UploadRejections(self.record, account_id="acme", committed_through=committed_through)
        self._events = [bad_event("a"), customer_event("b")]
        for event, source in zip(self._events, ("crm", "web"), strict=True):
            event.source = source
        self._batch = batch_of(self._events)

    def send(self) -> tuple[asyncio.Future[Result], asyncio.Future[Result]]:
        """The result to come of a chunk, and what the stream waits for."""
        committing: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        invalid = describe_invalid(self._batch, self._events)
        return committing, self._noted.watch(committing, self._batch, invalid)

    def committed(self, sequence: int, *outcomes: Outcome) -> ChunkCommitted:
        """The result of a chunk whose events have these outcomes."""
        errors = [self._batch.rejections[0].error, _CONFLICT.SerializeToString()]
        verdicts = [
            Verdict(index, "", outcome, 0, errors[index] if outcome == Outcome.REJECTED else b"")
            for index, outcome in enumerate(outcomes)
        ]
        return ChunkCommitted(sequence, sequence, Tally(), verdicts)

    async def sources(self) -> list[str]:
        """The sources of what is noted, once all callbacks have run."""
        await asyncio.sleep(0)
        recent = self.record.of("acme").recent.get("acme", ())
        return [each.event.source for each in recent]


async def test_invalid_events_and_those_that_cannot_be_stored_are_noted() -> None:
    bench = Bench()
    committing, waited = bench.send()
    assert await bench.sources() == []
    committing.set_result(bench.committed(1, Outcome.REJECTED, Outcome.REJECTED))
    assert await waited == committing.result()
    assert await bench.sources() == ["crm", "web"]


async def test_a_chunk_is_noted_after_its_stream_has_gone() -> None:
    bench = Bench()
    committing, waited = bench.send()
    waited.cancel()
    assert not committing.done()
    committing.set_result(bench.committed(1, Outcome.REJECTED))
    assert await bench.sources() == ["crm"]


async def test_a_chunk_that_is_sent_again_is_not_noted() -> None:
    bench = Bench(committed_through=1)
    for sequence in (1, 2, 2, 1):
        committing, _ = bench.send()
        committing.set_result(bench.committed(sequence, Outcome.REJECTED))
    assert await bench.sources() == ["crm"]


async def test_events_with_other_outcomes_are_not_noted() -> None:
    bench = Bench()
    for sequence, outcome in enumerate((Outcome.SUPPRESSED, Outcome.DUPLICATE), 1):
        committing, _ = bench.send()
        committing.set_result(bench.committed(sequence, outcome, outcome))
    assert await bench.sources() == []


async def test_a_chunk_that_is_not_committed_is_not_noted() -> None:
    bench = Bench()
    committing, waited = bench.send()
    committing.set_exception(StoreUnavailableError("gone"))
    with pytest.raises(StoreUnavailableError):
        await waited
    committing, waited = bench.send()
    waited.cancel()
    committing.set_exception(EventIdConflictError("b"))
    committing, _ = bench.send()
    committing.cancel()
    assert await bench.sources() == []
