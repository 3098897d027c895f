"""Events are stored once, compared by content, and kept apart by account."""

from __future__ import annotations

import pytest

from engagement import v1
from engagement.limits import START_OF_TIME_MS
from engagement_server.errors import EventIdConflictError
from engagement_server.model import Outcome, Subject
from engagement_server.operations import Applied, BeginErasure, PutEntities
from tests.conformance.log_bench import LogBench, LogTests, outcomes, record
from tests.support.events import bad_event, batch_of, customer_event

ACCEPTED, DUPLICATE, REJECTED = Outcome.ACCEPTED, Outcome.DUPLICATE, Outcome.REJECTED


def with_unknown_fields(*numbers: int) -> v1.Event:
    """The usual event and fields of a later contract, in this order on the wire."""
    tail = b"".join(bytes([0xC0, number, 1]) for number in numbers)  # numbers beyond the contract's, varints
    return v1.Event.FromString(customer_event().SerializeToString() + tail)


class EventConformance(LogTests):
    """New events, repeats and conflicts."""

    async def test_the_same_event_is_stored_once(self, bench: LogBench) -> None:
        first = await bench.record(customer_event("a"), customer_event("b"), customer_event("a"))
        assert outcomes(first) == [ACCEPTED, ACCEPTED, DUPLICATE]
        again = await bench.record(customer_event("b"), customer_event("c"), customer_event("a"))
        assert outcomes(again) == [DUPLICATE, ACCEPTED, DUPLICATE]
        assert [again[0].position, again[2].position] == [first[1].position, first[0].position]
        assert first[2].position == first[0].position
        assert await bench.stored_ids() == ["a", "b", "c"]

    async def test_other_content_under_the_same_id_is_rejected(self, bench: LogBench) -> None:
        other = customer_event("a", balance="1")
        first = await bench.record(customer_event("a"), other)
        again = await bench.record(other, customer_event("b"))
        assert (outcomes(first), outcomes(again)) == ([ACCEPTED, REJECTED], [REJECTED, ACCEPTED])
        for verdict in (first[1], again[0]):
            reason = v1.EventError.FromString(verdict.error).reason
            assert reason == v1.ErrorReason.ERROR_REASON_EVENT_ID_CONFLICT
            assert verdict.position == 0

    async def test_unknown_fields_in_another_order_are_the_same_content(self, bench: LogBench) -> None:
        first, second = with_unknown_fields(2, 3), with_unknown_fields(3, 2)
        assert batch_of([first]).records[0].payload != batch_of([second]).records[0].payload
        assert outcomes(await bench.record(first)) == [ACCEPTED]
        assert outcomes(await bench.record(second)) == [DUPLICATE]

    async def test_other_unknown_fields_are_other_content(self, bench: LogBench) -> None:
        await bench.record(with_unknown_fields(2, 3))
        assert outcomes(await bench.record(with_unknown_fields(2, 4))) == [REJECTED]
        assert outcomes(await bench.record(customer_event())) == [REJECTED]

    async def test_accounts_do_not_share_ids(self, bench: LogBench) -> None:
        await bench.record(customer_event("a"))
        verdicts = await bench.record(customer_event("a", balance="1"), account_id="other")
        assert outcomes(verdicts) == [ACCEPTED]
        assert await bench.stored_ids(account_id="other") == ["a"]

    async def test_an_event_without_time_has_that_of_its_commit_for_ever(self, bench: LogBench) -> None:
        await bench.record(customer_event("a"), customer_event("b", server_time_stamp=START_OF_TIME_MS))
        committed_ms = bench.time_ms
        assert outcomes(await bench.record(customer_event("a"))) == [DUPLICATE]
        times = [(row.server_time_ms, row.receive_time_ms) for row in await bench.stored()]
        assert times == [(committed_ms, committed_ms), (START_OF_TIME_MS, committed_ms)]

    async def test_an_event_as_it_is_read_back_is_the_same_content(self, bench: LogBench) -> None:
        """Exports have the time that the server filled in."""
        sent = customer_event("a", balance="1"), v1.Event(event_id="b", personal_info={"name": "Ada"})
        await bench.record(*sent)
        filled_in = bench.time_ms
        exported = [
            customer_event("a", balance="1", server_time_stamp=filled_in),
            v1.Event(event_id="b", personal_info={"name": "Ada", "server_time_stamp": filled_in}),
        ]
        other = customer_event("a", balance="1", server_time_stamp=filled_in + 1)
        assert outcomes(await bench.record(*exported, other)) == [DUPLICATE, DUPLICATE, REJECTED]

    @pytest.mark.parametrize("is_stored_before", [True, False])
    async def test_an_atomic_batch_with_a_conflict_stores_nothing(
        self, bench: LogBench, *, is_stored_before: bool
    ) -> None:
        taken = customer_event("taken")
        if is_stored_before:
            await bench.record(taken)
        batch = [customer_event("new"), taken, customer_event("taken", balance="1")]
        (refused,) = await bench.commit(record(*batch, is_atomic=True))
        assert isinstance(refused, EventIdConflictError)
        assert refused.metadata == {"eventId": "taken"}
        assert await bench.stored_ids() == ["taken"] * is_stored_before

    async def test_new_events_are_handed_over_as_they_are_stored(self, bench: LogBench) -> None:
        await bench.record(customer_event("before"))
        status = v1.EntityKind.ENTITY_KIND_CUSTOMER_STATUS
        await bench.commit(PutEntities("acme", status, ["Cancelled"], is_closed=None))
        subject = Subject(v1.SubjectKind.SUBJECT_KIND_CONSUMER_ID, "unwanted")
        await bench.commit(BeginErasure("acme", "request", "erasure", [subject], suppress=True))
        suppressed = customer_event("suppressed")
        suppressed.consumer_id = "unwanted"
        heard: list[Applied] = []
        bench.node.log.subscribe(heard.append)
        bench.node.log.want_events("acme", are_wanted=True)
        await bench.commit(
            record(customer_event("a"), customer_event("before"), suppressed, bad_event()),
            record(customer_event("other"), account_id="other"),
            record(customer_event("b", server_time_stamp=START_OF_TIME_MS), customer_event("a")),
        )
        await bench.record(customer_event("a"))
        stored = (await bench.stored())[1:]
        assert [row.matched_status for row in stored] == ["Cancelled", None]
        new, nothing_new = (applied.new_events["acme"] for applied in heard)
        assert [*new.read()] == stored
        assert (new.last_position, [*nothing_new.read()]) == (stored[-1].position, [])
        assert heard[0].tails["acme"] == heard[1].tails["acme"] == stored[-1].position
