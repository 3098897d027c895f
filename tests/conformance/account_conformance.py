"""Accounts exist once something is kept in them, and not before."""

from __future__ import annotations

import pytest

from engagement import v1
from engagement_server.errors import (
    ErasureNotFoundError,
    EventIdConflictError,
    UploadNotFoundError,
    UploadTakenOverError,
)
from engagement_server.model import ErasureState, FoldedProfile, Outcome, Subject
from engagement_server.operations import (
    AbandonUpload,
    BeginErasure,
    CompleteErasure,
    EraseEvents,
    ExpireEvents,
    LiftSuppression,
    Recorded,
    SaveProfile,
)
from engagement_server.store.upload_lists import RejectionQuery
from tests.conformance.log_bench import LogBench, LogTests, outcomes, record
from tests.support.events import bad_event, customer_event

ADA = Subject(v1.SubjectKind.SUBJECT_KIND_CONSUMER_ID, "ada")
ACCEPTED, REJECTED, SUPPRESSED = Outcome.ACCEPTED, Outcome.REJECTED, Outcome.SUPPRESSED


def begin(name: str, *, suppress: bool = False) -> BeginErasure:
    return BeginErasure("acme", "request", name, [ADA], suppress)


async def abandon(bench: LogBench, *, owner: str = "first") -> object:
    """Abandons the upload; returns how many were deleted."""
    (deleted,) = await bench.commit(AbandonUpload("acme", "upload", owner))
    return deleted


class AccountConformance(LogTests):
    """Operations in accounts that do not exist."""

    async def test_rejected_events_make_no_account(self, bench: LogBench) -> None:
        assert outcomes(await bench.record(bad_event("a"))) == [REJECTED]
        other = customer_event("a", balance="1")
        (conflict,) = await bench.commit(record(customer_event("a"), other, is_atomic=True))
        assert isinstance(conflict, EventIdConflictError)
        assert await bench.account_number() is None

    async def test_an_account_is_made_by_its_first_accepted_event(self, bench: LogBench) -> None:
        rejected, accepted, elsewhere, more = await bench.commit(
            record(bad_event("a")),
            record(bad_event("b"), customer_event("c")),
            record(customer_event("c"), account_id="other"),
            record(customer_event("d"), customer_event("c")),
        )
        number, other = await bench.account_number(), await bench.account_number("other")
        assert number is not None
        assert other is not None
        assert number != other
        verdicts = [
            verdict
            for result in (rejected, accepted, more)
            if isinstance(result, Recorded)
            for verdict in result.verdicts
        ]
        stored = [row.position for row in await bench.stored()]
        assert stored == [verdict.position for verdict in verdicts if verdict.outcome is ACCEPTED]
        assert isinstance(elsewhere, Recorded)
        assert [row.position for row in await bench.stored(account_id="other")] == [
            verdict.position for verdict in elsewhere.verdicts
        ]
        assert await bench.stored_ids() == ["c", "d"]

    async def test_a_chunk_of_rejected_events_keeps_its_results_without_an_account(
        self, bench: LogBench
    ) -> None:
        await bench.open()
        first = await bench.chunk(1, bad_event("a"), bad_event("b"))
        assert outcomes(first.not_accepted) == [REJECTED, REJECTED]
        await bench.reopen()
        assert await bench.account_number() is None
        assert (await bench.upload()).tally == first.tally
        rejections = await bench.node.readers.run(
            lambda reader: reader.rejections(RejectionQuery("acme", "upload", max_results=10)).rejections
        )
        assert [each.verdict.event_id for each in rejections] == ["a", "b"]
        assert await bench.chunk(1, bad_event("a"), bad_event("b")) == first
        await bench.chunk(2, customer_event("c"))
        assert await bench.stored_ids() == ["c"]

    async def test_an_erasure_in_an_account_that_does_not_exist_finds_nothing_and_is_not_kept(
        self, bench: LogBench
    ) -> None:
        for name in ("first", "second"):
            (state,) = await bench.commit(begin(name))
            assert state == ErasureState(
                number=0,
                erasure_id=name,
                request_id="request",
                subject_kinds=[ADA.kind],
                erased_events=0,
                cleared_rejections=0,
                is_suppressing=False,
                create_time_ms=0,
                complete_time_ms=None,
                lift_time_ms=None,
                has_more=False,
            )
            with pytest.raises(ErasureNotFoundError):
                await bench.node.readers.run(lambda reader: reader.erasures.find("acme", name))  # noqa: B023  # at once
        assert await bench.account_number() is None

    async def test_a_suppression_makes_an_account(self, bench: LogBench) -> None:
        (begun,) = await bench.commit(begin("first", suppress=True))
        assert isinstance(begun, ErasureState)
        assert begun.is_suppressing
        assert await bench.account_number() is not None
        assert outcomes(await bench.record(customer_event("a"))) == [SUPPRESSED]
        assert await bench.commit(LiftSuppression("acme", "first")) == [1]
        assert outcomes(await bench.record(customer_event("a"))) == [ACCEPTED]

    async def test_what_finds_nothing_makes_no_account(self, bench: LogBench) -> None:
        profile = FoldedProfile("ada", 0, 0, b"", b"", "")
        lifted, expired, saved, *missing = await bench.commit(
            LiftSuppression("acme", ADA),
            ExpireEvents("acme", bench.time_ms),
            SaveProfile("acme", profile),
            LiftSuppression("acme", "first"),
            EraseEvents("acme", "first"),
            CompleteErasure("acme", "first"),
        )
        assert (lifted, expired, saved) == (0, 0, 0)
        assert [type(error) for error in missing] == [ErasureNotFoundError] * 3
        assert await bench.account_number() is None

    async def test_an_abandoned_upload_is_gone(self, bench: LogBench) -> None:
        await bench.open()
        assert await abandon(bench) == 1
        assert await abandon(bench) == 0
        with pytest.raises(UploadNotFoundError):
            await bench.upload()
        with pytest.raises(UploadNotFoundError):
            await bench.chunk(1, customer_event("a"))
        assert (await bench.open()).committed_through == 0

    async def test_an_upload_that_another_stream_has_opened_is_not_abandoned(self, bench: LogBench) -> None:
        await bench.open()
        await bench.open(owner="second")
        assert await abandon(bench) == 0
        with pytest.raises(UploadTakenOverError):
            await bench.chunk(1, customer_event("a"))
        await bench.chunk(1, customer_event("a"), owner="second")

    async def test_an_upload_with_a_chunk_or_an_end_is_not_abandoned(self, bench: LogBench) -> None:
        await bench.open()
        await bench.chunk(1, bad_event("a"))
        assert await abandon(bench) == 0
        assert (await bench.finish(1)).is_finished
        assert await abandon(bench) == 0

    async def test_an_upload_that_is_finished_without_a_chunk_stays(self, bench: LogBench) -> None:
        await bench.open()
        finished = await bench.finish(0)
        assert await abandon(bench) == 0
        assert await bench.upload() == finished
