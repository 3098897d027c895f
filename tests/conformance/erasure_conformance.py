"""Erasures, suppressions and retention, in order with everything else in an account."""

from __future__ import annotations

from dataclasses import replace

from engagement import v1
from engagement.limits import START_OF_TIME_MS
from engagement_server.errors import ErasureNotFoundError, RequestIdReusedError
from engagement_server.model import ErasureState, LogBounds, Notice, Outcome, Subject
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
from tests.conformance.log_bench import LogBench, LogTests, chunk, outcomes, record
from tests.support.events import batch_of, customer_event, customer_events

ADA = Subject(v1.SubjectKind.SUBJECT_KIND_CONSUMER_ID, "ada")
BELA = Subject(v1.SubjectKind.SUBJECT_KIND_CONSUMER_ID, "bela")
ACCEPTED, DUPLICATE, SUPPRESSED = Outcome.ACCEPTED, Outcome.DUPLICATE, Outcome.SUPPRESSED


def begin(subject: Subject = ADA, *, name: str = "first", suppress: bool = False) -> BeginErasure:
    return BeginErasure("acme", f"request {name}", name, subject, suppress)


async def change(bench: LogBench, operation: BeginErasure | EraseEvents | CompleteErasure) -> ErasureState:
    """Commits an operation of an erasure."""
    (result,) = await bench.commit(operation)
    assert isinstance(result, ErasureState)
    return result


async def erase(bench: LogBench, name: str = "first") -> ErasureState:
    """Takes all steps of an erasure."""
    state = await change(bench, EraseEvents("acme", name))
    while state.has_events_left:
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


class ErasureConformance(LogTests):
    """Erasing, suppressing and expiring."""

    async def test_an_erasure_takes_what_was_stored_before_it_began(self, bench: LogBench) -> None:
        await bench.record(*customer_events(3))
        begun = await change(bench, begin())
        await bench.record(customer_event("later"))
        assert (begun.has_events_left, begun.complete_time_ms) == (True, None)
        state = await erase(bench)
        assert (state.erased_events, state.has_events_left) == (3, False)
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
        while (await change(bench, begin())).has_events_left:
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
            BeginErasure("acme", "request first", "second", ADA, suppress=False),
            BeginErasure("acme", "request first", "second", BELA, suppress=False),
            BeginErasure("acme", "request first", "second", ADA, suppress=True),
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
            lambda reader: reader.rejections("acme", "upload", after=(0, 0), max_results=10)
        )
        assert [verdict.event_id for _, verdict in kept] == [""]
        assert b"'a'" not in kept[0][1].error

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
