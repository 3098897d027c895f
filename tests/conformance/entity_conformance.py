"""Lists of entities, and the events that are matched against them."""

from __future__ import annotations

import pytest

from engagement import v1
from engagement.limits import MAX_ENTITY_NAMES
from engagement_server.cursor import SEQUENCE_BITS
from engagement_server.errors import (
    EntityNotFoundError,
    EntityUnknownError,
    FieldInvalidError,
    StoreUnavailableError,
)
from engagement_server.model import EntityList, Outcome
from engagement_server.operations import (
    ChunkCommitted,
    DeleteEntity,
    OpenUpload,
    PutEntities,
    Recorded,
)
from tests.conformance.log_bench import LogBench, LogTests, chunk, outcomes, record
from tests.support.events import customer_event, noise

ACCEPTED, DUPLICATE, REJECTED = Outcome.ACCEPTED, Outcome.DUPLICATE, Outcome.REJECTED
STATUS = v1.EntityKind.ENTITY_KIND_CUSTOMER_STATUS
TYPE = v1.EntityKind.ENTITY_KIND_CUSTOMER_TYPE


def put(*names: str, kind: int = STATUS, is_closed: bool | None = None) -> PutEntities:
    """An operation that adds names."""
    return PutEntities("acme", kind, names, is_closed)


def with_status(event_id: str, status: str) -> v1.Event:
    """An event of a customer with this status."""
    return customer_event(event_id, customer_status=status)


async def matched_statuses(bench: LogBench) -> list[str | None]:
    """The matches of all events."""
    return [row.matched_status for row in await bench.stored()]


class EntityConformance(LogTests):
    """Names, closed lists, and their order with events."""

    async def test_a_put_comes_before_the_events_behind_it_in_one_commit(self, bench: LogBench) -> None:
        _, recorded = await bench.commit(
            put("Gold", is_closed=True), record(with_status("a", "GOLD"), with_status("b", "tin"))
        )
        assert isinstance(recorded, Recorded)
        assert outcomes(recorded.verdicts) == [ACCEPTED, REJECTED]
        assert await matched_statuses(bench) == ["Gold"]

    async def test_a_closed_list_takes_its_names_in_every_spelling(self, bench: LogBench) -> None:
        await bench.commit(put("Zu\u0308rich", "\u1112\u1161\u11ab국", is_closed=True))
        spellings = "ZÜRICH", "zu\u0308rich", "한국", "Zurich"
        verdicts = await bench.record(*[with_status(spelling, spelling) for spelling in spellings])
        assert outcomes(verdicts) == [ACCEPTED, ACCEPTED, ACCEPTED, REJECTED]
        assert await matched_statuses(bench) == ["Zu\u0308rich", "Zu\u0308rich", "\u1112\u1161\u11ab국"]
        (listed,) = await bench.commit(put("Zürich"))
        assert listed == EntityList(["Zürich", "\u1112\u1161\u11ab국"], is_closed=True)

    async def test_a_put_comes_after_the_events_before_it_in_one_commit(self, bench: LogBench) -> None:
        recorded, _, _, committed, _, refused = await bench.commit(
            record(with_status("a", "gold")),
            put("Gold", is_closed=True),
            OpenUpload("acme", "upload", "first"),
            chunk(1, with_status("b", "gold"), with_status("c", "tin"), with_status("a", "gold")),
            DeleteEntity("acme", STATUS, "gold"),
            record(with_status("d", "gold"), is_atomic=True),
        )
        assert isinstance(recorded, Recorded)
        assert outcomes(recorded.verdicts) == [ACCEPTED]
        assert isinstance(committed, ChunkCommitted)
        assert outcomes(committed.not_accepted) == [REJECTED, DUPLICATE]
        assert isinstance(refused, EntityUnknownError)
        assert await bench.stored_ids() == ["a", "b"]
        assert await matched_statuses(bench) == [None, "Gold"]

    async def test_lists_and_matches_are_there_after_reopening(self, bench: LogBench) -> None:
        await bench.commit(put("Gold", "tin", is_closed=True), put("vip", kind=TYPE))
        await bench.record(customer_event("a", customer_status="gold", customer_type="VIP"))
        await bench.reopen()
        assert await bench.entities(STATUS) == EntityList(["Gold", "tin"], is_closed=True)
        assert await bench.entities(TYPE) == EntityList(["vip"])
        (row,) = await bench.stored()
        assert (row.matched_status, row.matched_type) == ("Gold", "vip")
        assert outcomes(await bench.record(with_status("b", "lead"))) == [REJECTED]

    async def test_an_atomic_batch_with_an_unknown_value_stores_nothing(self, bench: LogBench) -> None:
        await bench.commit(put("gold", is_closed=True))
        events = [with_status("a", "gold"), customer_event("b", role="broker"), with_status("c", "tin")]
        (refused,) = await bench.commit(record(*events, is_atomic=True))
        assert isinstance(refused, EntityUnknownError)
        assert (refused.index, refused.metadata["field"]) == (2, "customer_info.customer_status")
        assert await bench.stored_ids() == []

    async def test_a_repeat_is_a_duplicate_after_the_list_was_closed(self, bench: LogBench) -> None:
        (first,) = await bench.record(with_status("a", "tin"))
        await bench.commit(put("gold", is_closed=True))
        (again,) = await bench.record(with_status("a", "tin"))
        assert (again.outcome, again.position) == (DUPLICATE, first.position)
        assert await matched_statuses(bench) == [None]

    async def test_a_refused_put_leaves_the_list_as_it_was(self, bench: LogBench) -> None:
        names = [f"name {number}" for number in range(MAX_ENTITY_NAMES)]
        full, refused, same = await bench.commit(
            put(*names), put("NAME 0", "one more", is_closed=True), put("Name 1")
        )
        assert isinstance(refused, FieldInvalidError)
        assert full == EntityList(names)
        assert same == await bench.entities(STATUS) == EntityList([names[0], "Name 1", *names[2:]])

    async def test_a_failed_commit_leaves_the_lists_as_they_were(self, bench: LogBench) -> None:
        await bench.commit(put("Gold"))
        large = customer_event("large", **dict.fromkeys(("balance", "role", "imei"), noise(50_000)))
        await bench.node.fill_storage()
        with pytest.raises(StoreUnavailableError):
            await bench.commit(put("GOLD", is_closed=True), record(with_status("a", "gold")), record(large))
        await bench.node.free_storage()
        assert await bench.entities(STATUS) == EntityList(["Gold"])
        verdicts = await bench.record(with_status("a", "gold"), with_status("b", "tin"))
        assert outcomes(verdicts) == [ACCEPTED, ACCEPTED]
        assert await matched_statuses(bench) == ["Gold", None]

    async def test_a_name_that_is_put_again_after_it_was_taken_off_stands_last(self, bench: LogBench) -> None:
        await bench.commit(put("a", "b", "c"), DeleteEntity("acme", STATUS, "A"), put("a"))
        assert await bench.entities(STATUS) == EntityList(["b", "c", "a"])
        _, refused = await bench.commit(DeleteEntity("acme", STATUS, "c"), DeleteEntity("acme", STATUS, "c"))
        assert isinstance(refused, EntityNotFoundError)

    async def test_an_account_has_one_number_for_ever(self, bench: LogBench) -> None:
        await bench.commit(put("gold"))
        await bench.record(customer_event("a"), account_id="other")
        number, other = await bench.account_number(), await bench.account_number("other")
        await bench.reopen()
        assert number != other == await bench.account_number("other")
        (verdict,) = await bench.record(customer_event("b"))
        assert verdict.position >> SEQUENCE_BITS == number == await bench.account_number()

    async def test_lists_that_stay_empty_and_open_make_no_account(self, bench: LogBench) -> None:
        names = [f"name {number}" for number in range(MAX_ENTITY_NAMES + 1)]
        empty, opened, missing, refused = await bench.commit(
            put(), put(is_closed=False), DeleteEntity("acme", STATUS, "gold"), put(*names)
        )
        assert empty == opened == EntityList([])
        assert isinstance(missing, EntityNotFoundError)
        assert isinstance(refused, FieldInvalidError)
        assert await bench.account_number() is None
        (closed,) = await bench.commit(put(is_closed=True))
        assert closed == await bench.entities(STATUS) == EntityList([], is_closed=True)
