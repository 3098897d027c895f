"""Erasures, suppressions and retention, in order with everything else in an account."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engagement import v1
from engagement.limits import START_OF_TIME_MS
from engagement_server.errors import ErasureNotFoundError, RequestIdReusedError
from engagement_server.model import NO_ERASURE, ErasureState, LogBounds, Notice, Outcome, Subject, Tally
from engagement_server.operations import (
    Applied,
    BeginErasure,
    ChunkCommitted,
    CompleteErasure,
    EraseEvents,
    ExpireEvents,
    LiftSuppression,
    Recorded,
)
from engagement_server.store.upload_lists import RejectionQuery
from tests.conformance.log_bench import LogBench, LogTests, chunk, outcomes, record
from tests.support.events import bad_event, batch_of, customer_event, customer_events

ADA = Subject(v1.SubjectKind.SUBJECT_KIND_CONSUMER_ID, "ada")
BELA = Subject(v1.SubjectKind.SUBJECT_KIND_CONSUMER_ID, "bela")
ADA_AS_CUSTOMER = Subject(v1.SubjectKind.SUBJECT_KIND_CUSTOMER_ID, "B1")
_EVENT_ID = v1.SubjectKind.SUBJECT_KIND_EVENT_ID
ACCEPTED, DUPLICATE, SUPPRESSED = Outcome.ACCEPTED, Outcome.DUPLICATE, Outcome.SUPPRESSED


def begin(*subjects: Subject, name: str = "first", suppress: bool = False) -> BeginErasure:
    return BeginErasure("acme", f"request {name}", name, subjects or [ADA], suppress)


async def change(bench: LogBench, operation: BeginErasure | EraseEvents | CompleteErasure) -> ErasureState:
    """Commits an operation of an erasure."""
    (result,) = await bench.commit(operation)
    assert isinstance(result, ErasureState)
    return result


async def erase(bench: LogBench, name: str = "first") -> ErasureState:
    """Takes all steps of an erasure."""
    state = await change(bench, EraseEvents("acme", name))
    while state.has_more:
        state = await change(bench, EraseEvents("acme", name))
    return state


async def bounds(bench: LogBench) -> LogBounds:
    found = await bench.node.readers.run(lambda reader: reader.bounds("acme"))
    assert found is not None
    return found


async def notices(bench: LogBench) -> list[Notice]:
    reach = await bounds(bench)
    return await bench.node.readers.run(
        lambda reader: reader.notices(
            after=reach.expired_position, through=reach.last_position, max_notices=100
        )
    )


async def rejected(bench: LogBench) -> list[tuple[str, int]]:
    """The ids of the rejected events of the upload, with the number of their violations."""
    kept = await bench.node.readers.run(
        lambda reader: reader.rejections(RejectionQuery("acme", "upload", max_results=10)).rejections
    )
    errors = [(each.verdict.event_id, v1.EventError.FromString(each.verdict.error)) for each in kept]
    return [(event_id, len(error.violations)) for event_id, error in errors]


async def suppressions(bench: LogBench, subject: Subject) -> list[tuple[str, int | None]]:
    """The erasures that suppressed a subject, with the times at which that was lifted."""
    found = await bench.node.readers.run(lambda reader: reader.erasures.suppressions("acme", subject))
    return [(each.erasure_id, each.lift_time_ms) for each in found]


class ErasureConformance(LogTests):
    """Erasing, suppressing and expiring."""

    async def test_an_erasure_takes_what_was_stored_before_it_began(self, bench: LogBench) -> None:
        await bench.record(*customer_events(3))
        begun = await change(bench, begin())
        await bench.record(customer_event("later"))
        assert (begun.has_more, begun.complete_time_ms) == (True, None)
        state = await erase(bench)
        assert (state.erased_events, state.has_more) == (3, False)
        assert await bench.stored_ids() == ["later"]
        completed = await change(bench, CompleteErasure("acme", "first"))
        assert completed.complete_time_ms == bench.time_ms
        await bench.reopen()
        assert await change(bench, begin()) == completed
        assert await bench.stored_ids() == ["later"]

    async def test_the_steps_of_an_erasure_are_bounded_and_go_on_after_reopening(
        self, bench: LogBench
    ) -> None:
        await bench.record(*customer_events(2500))
        await change(bench, begin())
        steps = []
        while (await change(bench, begin())).has_more:
            steps.append((await change(bench, EraseEvents("acme", "first"))).erased_events)
            await bench.reopen()
        assert steps == [1000, 2000, 2500]
        assert [len(notice.erased) for notice in await notices(bench)] == [1000, 1000, 500]

    async def test_a_notice_stands_behind_what_it_tells_of(self, bench: LogBench) -> None:
        positions = [verdict.position for verdict in await bench.record(*customer_events(3))]
        await change(bench, begin())
        await erase(bench)
        (later,) = await bench.record(customer_event("later"))
        (notice,) = await notices(bench)
        assert (notice.erasure_id, list(notice.erased)) == ("first", positions)
        assert positions[-1] < notice.position < later.position == (await bounds(bench)).last_position

    async def test_a_request_id_names_one_erasure(self, bench: LogBench) -> None:
        await bench.record(customer_event("a"))
        (first,) = await bench.commit(begin())
        again, other, suppressing = await bench.commit(
            BeginErasure("acme", "request first", "second", [ADA], suppress=False),
            BeginErasure("acme", "request first", "second", [BELA], suppress=False),
            BeginErasure("acme", "request first", "second", [ADA], suppress=True),
        )
        assert again == first
        assert isinstance(other, RequestIdReusedError)
        assert isinstance(suppressing, RequestIdReusedError)

    async def test_suppressing_and_lifting_take_effect_in_the_order_of_the_commit(
        self, bench: LogBench
    ) -> None:
        results = await bench.commit(
            record(customer_event("a")),
            begin(suppress=True),
            record(customer_event("b")),
            LiftSuppression("acme", ADA),
            record(customer_event("b")),
            LiftSuppression("acme", "first"),
        )
        verdicts = [outcomes(result.verdicts) for result in results if isinstance(result, Recorded)]
        assert verdicts == [[ACCEPTED], [SUPPRESSED], [ACCEPTED]]
        assert [result for result in results if isinstance(result, int)] == [1, 0]
        assert (await erase(bench)).erased_events == 1
        assert await bench.stored_ids() == ["b"]

    async def test_an_erased_id_is_a_duplicate_within_the_commit_and_for_good(self, bench: LogBench) -> None:
        await bench.record(*customer_events(2))
        await change(bench, begin())
        _, recorded = await bench.commit(EraseEvents("acme", "first"), record(*customer_events(3)))
        assert isinstance(recorded, Recorded)
        assert outcomes(recorded.verdicts) == [DUPLICATE, DUPLICATE, ACCEPTED]
        await bench.reopen()
        assert outcomes(await bench.record(*customer_events(3))) == [DUPLICATE] * 3

    async def test_results_of_uploads_forget_the_ids_and_answer_the_same(self, bench: LogBench) -> None:
        await bench.open()
        sent = [customer_event("a"), customer_event("a"), customer_event("a", balance="1")]
        committed = await bench.chunk(1, *sent)
        await change(bench, begin())
        await erase(bench)
        again = await bench.chunk(1, *sent)
        assert [verdict[:3] for verdict in again.not_accepted] == [
            verdict[:3] for verdict in committed.not_accepted
        ]
        kept = await bench.node.readers.run(
            lambda reader: reader.rejections(RejectionQuery("acme", "upload", max_results=10)).rejections
        )
        assert [each.verdict.event_id for each in kept] == [""]
        assert b"'a'" not in kept[0].verdict.error

    async def test_ids_of_erased_and_suppressed_events_are_not_kept_with_uploads(
        self, bench: LogBench
    ) -> None:
        await bench.record(customer_event("a"))
        await change(bench, begin(suppress=True))
        await erase(bench)
        await bench.open()
        committed = await bench.chunk(1, customer_event("a"), customer_event("b"))
        assert outcomes(committed.not_accepted) == [DUPLICATE, SUPPRESSED]
        assert await bench.chunk(1, customer_event("a"), customer_event("b")) == committed
        without_ids = replace(chunk(1, customer_event("a"), customer_event("b")), batch=batch_of([]))
        (stored,) = await bench.commit(without_ids)
        assert isinstance(stored, ChunkCommitted)
        assert [verdict.event_id for verdict in stored.not_accepted] == ["", ""]

    async def test_several_subjects_and_single_events_are_erased_as_one(self, bench: LogBench) -> None:
        belas, other = customer_event("bela's"), customer_event("other")
        belas.consumer_id, other.consumer_id = "bela", "cy"
        both = customer_event("both", customer_id="B1")
        await bench.record(customer_event("ada's"), belas, both, other, customer_event("stays"))
        (moved,) = await bench.record(customer_event("mentions"))
        subjects = [ADA_AS_CUSTOMER, BELA, Subject(_EVENT_ID, "mentions"), Subject(_EVENT_ID, "none")]
        begun = await change(bench, begin(*subjects))
        assert (begun.subject_kinds, begun.has_more) == ([subject.kind for subject in subjects], True)
        await bench.reopen()
        state = await erase(bench)
        assert (state.erased_events, state.has_more) == (3, False)
        assert await bench.stored_ids() == ["ada's", "other", "stays"]
        assert moved.position in [each for notice in await notices(bench) for each in notice.erased]
        assert outcomes(await bench.record(customer_event("mentions"))) == [DUPLICATE]

    async def test_the_same_request_names_the_same_subjects(self, bench: LogBench) -> None:
        await bench.record(customer_event("a"))
        first = await change(bench, begin(ADA, BELA))
        assert await change(bench, begin(ADA, BELA)) == first
        for subjects in ([ADA], [BELA, ADA], [ADA, BELA, Subject(_EVENT_ID, "a")]):
            (refused,) = await bench.commit(begin(*subjects))
            assert isinstance(refused, RequestIdReusedError)

    async def test_an_erasure_clears_rejected_events_of_its_subjects(self, bench: LogBench) -> None:
        await bench.open()
        belas = bad_event("bela's")
        belas.consumer_id = "bela"
        await bench.chunk(1, bad_event("a"), belas, bad_event("b"))
        await change(bench, begin())
        state = await change(bench, EraseEvents("acme", "first", max_rejections=1))
        assert (state.cleared_rejections, state.has_more) == (1, True)
        assert (await erase(bench)).cleared_rejections == 2
        assert (await change(bench, CompleteErasure("acme", "first"))).complete_time_ms is not None
        assert await rejected(bench) == [("", 0), ("bela's", 1), ("", 0)]
        await bench.reopen()
        await change(bench, begin(Subject(_EVENT_ID, "bela's"), name="second"))
        assert (await erase(bench, "second")).cleared_rejections == 1
        assert await rejected(bench) == [("", 0)] * 3

    async def test_a_rejection_for_a_conflict_is_cleared_for_whom_it_is_about(self, bench: LogBench) -> None:
        await bench.record(customer_event("a"))
        belas = customer_event("a", balance="1")
        belas.consumer_id = "bela"
        await bench.open()
        await bench.chunk(1, belas)
        assert await rejected(bench) == [("a", 0)]
        await change(bench, begin(BELA))
        state = await erase(bench)
        assert (state.erased_events, state.cleared_rejections) == (0, 1)
        assert await rejected(bench) == [("", 0)]
        assert await bench.stored_ids() == ["a"]

    @pytest.mark.parametrize("key", ["ada@example.com", "ada@example.com" + 300 * "k", 'x"]ada@example.com'])
    async def test_stored_rejections_name_no_keys(self, bench: LogBench, key: str) -> None:
        await bench.open()
        event = customer_event("a")
        event.additional_attributes[key] = "\0"
        committed = await bench.chunk(1, event)
        assert b"ada@example.com" in committed.not_accepted[0].error
        (rejection,) = await bench.node.readers.run(
            lambda reader: reader.rejections(RejectionQuery("acme", "upload", max_results=10)).rejections
        )
        error = v1.EventError.FromString(rejection.verdict.error)
        assert [each.field for each in error.violations] == ['additional_attributes["…"]']
        assert error.message.startswith('additional_attributes["…"]: ')

    async def test_suppression_comes_before_the_rules(self, bench: LogBench) -> None:
        await bench.record(customer_event("a"))
        await change(bench, begin(suppress=True))
        await bench.open()
        conflicting = customer_event("a", balance="1")
        committed = await bench.chunk(1, bad_event("b"), conflicting)
        assert outcomes(committed.not_accepted) == [SUPPRESSED, SUPPRESSED]
        assert await bench.chunk(1, bad_event("b"), conflicting) == committed
        assert await rejected(bench) == []
        assert outcomes(await bench.record(bad_event("c"))) == [SUPPRESSED]
        assert (await bench.upload()).tally == Tally(suppressed=2)

    async def test_an_erasure_that_finds_nothing_is_forgotten(self, bench: LogBench) -> None:
        await bench.record(customer_event("a"))
        await change(bench, begin(BELA, Subject(_EVENT_ID, "none")))
        state = await erase(bench)
        assert (state.erased_events, state.cleared_rejections) == (0, 0)
        completed = await change(bench, CompleteErasure("acme", "first"))
        assert (completed.number, completed.complete_time_ms) == (NO_ERASURE, None)
        for operation in (CompleteErasure("acme", "first"), EraseEvents("acme", "first")):
            (refused,) = await bench.commit(operation)
            assert isinstance(refused, ErasureNotFoundError)
        await change(bench, begin(BELA, name="second", suppress=True))
        await erase(bench, "second")
        assert (await change(bench, CompleteErasure("acme", "second"))).complete_time_ms is not None

    async def test_suppressions_are_on_record_after_they_were_lifted(self, bench: LogBench) -> None:
        await bench.record(customer_event("a"))
        await change(bench, begin(ADA, BELA, suppress=True))
        await bench.commit(LiftSuppression("acme", BELA))
        lifted_ms = bench.time_ms
        await change(bench, begin(BELA, name="second", suppress=True))
        assert await suppressions(bench, BELA) == [("second", None), ("first", lifted_ms)]
        assert await suppressions(bench, ADA) == [("first", None)]
        assert (await change(bench, begin(ADA, BELA, suppress=True))).lift_time_ms == lifted_ms
        assert await bench.commit(LiftSuppression("acme", "first")) == [2]
        assert await suppressions(bench, BELA) == [("second", bench.time_ms), ("first", lifted_ms)]
        assert await suppressions(bench, Subject(BELA.kind, "cy")) == []

    async def test_unknown_erasures_are_refused(self, bench: LogBench) -> None:
        results = await bench.commit(
            EraseEvents("acme", "none"), CompleteErasure("acme", "none"), LiftSuppression("acme", "none")
        )
        assert [type(result) for result in results] == [ErasureNotFoundError] * 3

    async def test_a_commit_tells_which_events_it_erased_before_the_log_is_settled(
        self, bench: LogBench
    ) -> None:
        positions = [verdict.position for verdict in await bench.record(*customer_events(3))]
        await change(bench, begin())
        heard: list[Applied] = []
        heard_before: list[int] = []

        async def settle() -> None:
            heard_before.append(len(heard))

        bench.node.log.subscribe(heard.append)
        bench.node.log.watch_settling(settle)
        await erase(bench)
        await bench.record(customer_event("later"))
        await bench.node.log.settle()
        assert [applied.erased for applied in heard] == [{"acme": positions}, {}]
        assert heard_before == [2]

    async def test_a_log_can_be_purged_at_any_time(self, bench: LogBench) -> None:
        await bench.node.log.purge()
        await bench.record(*customer_events(50))
        await bench.node.log.purge()
        await change(bench, begin())
        await erase(bench)
        await bench.record(*customer_events(50, start=50))
        await bench.node.log.purge()
        await bench.reopen()
        assert len(await bench.stored_ids()) == 50

    async def test_events_expire_from_the_front_by_the_time_of_their_acceptance(
        self, bench: LogBench
    ) -> None:
        await bench.record(*customer_events(3))
        old = await bounds(bench)
        before_ms = bench.time_ms + 1
        await bench.record(customer_event("young", server_time_stamp=START_OF_TIME_MS))
        assert await bench.commit(ExpireEvents("acme", before_ms)) == [3]
        assert await bench.commit(ExpireEvents("acme", before_ms)) == [0]
        assert await bench.stored_ids() == ["young"]
        await bench.reopen()
        reach = await bounds(bench)
        assert (reach.expired_position, reach.last_position) == (old.last_position, old.last_position + 1)
        assert outcomes(await bench.record(customer_event("event-000000", balance="0"))) == [ACCEPTED]

    async def test_notices_expire_with_the_events_around_them(self, bench: LogBench) -> None:
        await bench.record(*customer_events(3))
        await change(bench, begin())
        await erase(bench)
        await bench.record(customer_event("later"))
        assert len(await notices(bench)) == 1
        assert await bench.commit(ExpireEvents("acme", bench.time_ms + 1)) == [1]
        reach = await bounds(bench)
        assert reach.expired_position == reach.last_position
        found = await bench.node.readers.run(
            lambda reader: reader.notices(after=0, through=reach.last_position, max_notices=100)
        )
        assert found == []

    async def test_each_step_of_expiry_is_bounded(self, bench: LogBench) -> None:
        await bench.record(*customer_events(1200))
        steps = []
        while (expired := (await bench.commit(ExpireEvents("acme", bench.time_ms + 10)))[0]) != 0:
            steps.append(expired)
        assert steps == [500, 500, 200]

    async def test_erasing_and_expiring_wake_subscribers(self, bench: LogBench) -> None:
        await bench.record(*customer_events(3))
        heard: list[Applied] = []
        bench.node.log.subscribe(heard.append)
        await change(bench, begin())
        await change(bench, EraseEvents("acme", "first"))
        await bench.commit(chunk(1), ExpireEvents("acme", bench.time_ms))
        assert [applied.has_removed for applied in heard] == [False, True, False]
        assert heard[1].tails == {"acme": (await bounds(bench)).last_position}
