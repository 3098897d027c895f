"""Recording events: accepted events are stored once and as sent, also under concurrency."""

from __future__ import annotations

import asyncio
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from engagement import v1
from engagement.limits import START_OF_TIME_MS
from tests.support.calls import ACCEPTED, DUPLICATE, REJECTED, one, some, stored
from tests.support.events import bad_event, customer_event, customer_events, text_fields, with_texts
from tests.support.refused_call import expect_refused
from tests.support.store_file import open_store
from tests.support.waiting import DEADLINE_SECONDS, eventually

if TYPE_CHECKING:
    from engagement.v1.event_service_pb2_grpc import EventServiceAsyncStub
    from engagement.v1.ingest_service_pb2_grpc import IngestServiceAsyncStub

SETS = ["customer_info", "personal_info"]


def full_event(set_name: str) -> v1.Event:
    """An event with a different value in every field."""
    event = with_texts(set_name, "")
    attributes = getattr(event, set_name)
    for name in text_fields(attributes):
        setattr(attributes, name, f" {name}: 'é' \U0001f600\r\n\t\u2028 ")
    attributes.server_time_stamp = 1_300_000_000_001
    event.consumer_id, event.conversation_id, event.source = "ada", "talk", "page tag"
    event.authenticated, event.original_time_stamp = True, 1_300_000_000_002
    event.additional_attributes.update({"age.month": "", "contacts[1].phoneType": "home"})
    if set_name == "customer_info":
        attributes.last_payment_date.CopyFrom(v1.Date(year=2014, month=10, day=15))
        attributes.registration_date.CopyFrom(v1.Date(year=2012, month=2, day=29))
    else:
        attributes.other_contacts.add(email="", phone="+1 212-788-8877")
        attributes.other_contacts.add()
    return event


# Stored events.


@pytest.mark.parametrize("set_name", SETS)
async def test_every_field_comes_out_as_it_was_sent(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub, set_name: str
) -> None:
    sent = full_event(set_name)
    result = (await ingest.RecordEvent(one(sent))).result
    assert {field.name for field, _ in getattr(sent, set_name).ListFields()} == {
        field.name for field in getattr(sent, set_name).DESCRIPTOR.fields
    }
    (found,) = await stored(events)
    assert found.event == sent
    assert (result.outcome, result.event_id, result.cursor) == (ACCEPTED, sent.event_id, found.cursor)


@pytest.mark.parametrize("set_name", SETS)
async def test_absent_and_empty_and_zero_are_three_things(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub, set_name: str
) -> None:
    absent, empty, zero = (with_texts(set_name, text) for text in ("", "", "0"))
    for name in text_fields(getattr(absent, set_name)):
        getattr(absent, set_name).ClearField(name)
    for number, event in enumerate((absent, empty, zero)):
        event.event_id = str(number)
        getattr(event, set_name).server_time_stamp = START_OF_TIME_MS
    await ingest.RecordEvents(some(absent, empty, zero))
    assert [each.event for each in await stored(events)] == [absent, empty, zero]
    assert not getattr(absent, set_name).HasField("company" if set_name == "personal_info" else "balance")


async def test_a_field_of_a_later_contract_is_kept(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    unknown = bytes([0xC2, 0x3E, 3]) + b"new"
    customer_info = v1.CustomerInfo.FromString(b"\x22\x011" + unknown)
    sent = v1.Event.FromString(
        v1.Event(event_id="a", customer_info=customer_info).SerializeToString() + unknown
    )
    await ingest.RecordEvent(one(sent))
    (found,) = await stored(events)
    assert found.SerializeToString().count(unknown) == 2
    found.event.customer_info.ClearField("server_time_stamp")
    assert found.event == sent


async def test_what_the_producer_leaves_out_the_server_fills_in(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    before_ms = int(time.time() * 1000)
    result = (await ingest.RecordEvent(one(v1.Event(personal_info=v1.PersonalInfo())))).result
    (found,) = await stored(events)
    assert uuid.UUID(result.event_id).version == 7
    assert found.event.event_id == result.event_id
    assert before_ms <= found.event.personal_info.server_time_stamp <= time.time() * 1000
    assert found.receive_time.ToMilliseconds() == found.event.personal_info.server_time_stamp


async def test_accounts_do_not_see_each_other(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    for account_id, balance in (("acme", "1"), ("other", "2")):
        result = (
            await ingest.RecordEvent(one(customer_event(balance=balance), account_id=account_id))
        ).result
        assert result.outcome == ACCEPTED
    for account_id, balances in (("acme", ["1"]), ("other", ["2"]), ("nobody", [])):
        found = await stored(events, account_id=account_id)
        assert [each.event.customer_info.balance for each in found] == balances


# Ids.


async def test_sending_again_adds_nothing(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    first = (await ingest.RecordEvent(one(customer_event("a")))).result
    again = (await ingest.RecordEvent(one(customer_event("a")))).result
    assert (again.outcome, again.cursor) == (DUPLICATE, first.cursor)
    refused = await expect_refused(ingest.RecordEvent(one(customer_event("a", balance="1"))))
    assert (refused.code, refused.reason) == (grpc.StatusCode.ALREADY_EXISTS, "EVENT_ID_CONFLICT")
    assert refused.metadata == {"eventId": "a"}
    assert len(await stored(events)) == 1


async def test_validate_only_finds_what_is_stored_and_leaves_no_trace(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    first = (await ingest.RecordEvent(one(customer_event("a")))).result
    checked = await ingest.RecordEvents(
        some(
            customer_event("a"),
            customer_event("a", balance="1"),
            customer_event("b"),
            customer_event("c"),
            customer_event("c"),
            bad_event("d"),
            allow_partial=True,
            validate_only=True,
        )
    )
    assert [result.outcome for result in checked.results] == [
        DUPLICATE,
        REJECTED,
        ACCEPTED,
        ACCEPTED,
        DUPLICATE,
        REJECTED,
    ]
    assert [result.cursor for result in checked.results] == [first.cursor, "", "", "", "", ""]
    assert checked.tally == v1.Tally(accepted=2, duplicate=2, rejected=2)
    conflict = one(customer_event("a", balance="1"), validate_only=True)
    assert (await expect_refused(ingest.RecordEvent(conflict))).reason == "EVENT_ID_CONFLICT"
    assert [each.event.event_id for each in await stored(events)] == ["a"]
    assert (await ingest.RecordEvent(one(customer_event("b")))).result.outcome == ACCEPTED


# Batches.


async def test_one_bad_event_refuses_the_call_with_its_path_from_the_request(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    refused = await expect_refused(
        ingest.RecordEvents(some(*customer_events(3), bad_event("b"), bad_event("c")))
    )
    assert refused.fields == [f"events[{n}].customer_info.last_payment_date.month" for n in (3, 4)]
    assert await stored(events) == []


async def test_one_conflict_refuses_the_call(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    batch = some(customer_event("a"), customer_event("b"), customer_event("a", balance="1"))
    refused = await expect_refused(ingest.RecordEvents(batch))
    assert (refused.reason, refused.metadata) == ("EVENT_ID_CONFLICT", {"eventId": "a"})
    assert await stored(events) == []


async def test_a_partial_call_answers_in_order_with_paths_from_the_event(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    await ingest.RecordEvent(one(customer_event("old")))
    nameless = v1.Event(customer_info=v1.CustomerInfo(balance="1"))
    batch = [
        bad_event("a"),
        customer_event("old"),
        nameless,
        customer_event("old", balance="1"),
        customer_event("new"),
        nameless,
        customer_event("new"),
        v1.Event(event_id="b"),
    ]
    response = await ingest.RecordEvents(some(*batch, allow_partial=True))
    results = response.results
    assert [result.index for result in results] == list(range(8))
    assert [result.outcome for result in results] == [
        REJECTED, DUPLICATE, ACCEPTED, REJECTED, ACCEPTED, ACCEPTED, DUPLICATE, REJECTED,
    ]  # fmt: skip
    assert response.tally == v1.Tally(accepted=3, duplicate=2, rejected=3)
    assert [bool(result.cursor) for result in results] == [
        result.outcome in (ACCEPTED, DUPLICATE) for result in results
    ]
    assert results[6].cursor == results[4].cursor
    assert [violation.field for violation in results[0].error.violations] == [
        "customer_info.last_payment_date.month"
    ]
    assert results[3].error.reason == v1.ErrorReason.ERROR_REASON_EVENT_ID_CONFLICT
    assert results[7].error.violations[0].field == "attributes"
    assert [each.event.event_id for each in await stored(events)] == [
        "old", results[2].event_id, "new", results[5].event_id,
    ]  # fmt: skip


# Many at once.


async def test_a_call_that_is_cancelled_while_it_commits_is_stored(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub, tmp_path: Path
) -> None:
    lock = open_store(tmp_path / "data")
    lock.set_busy_timeout(int(DEADLINE_SECONDS * 1000))  # a starting server commits too
    lock.execute("BEGIN IMMEDIATE")
    call = ingest.RecordEvent(one(customer_event("a")))
    for _ in range(3):  # behind the call on the same connection
        assert await stored(events) == []
    call.cancel()
    lock.execute("ROLLBACK")
    lock.close()

    async def is_stored() -> bool:
        return bool(await stored(events))

    await eventually(is_stored, "the event is stored")
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_of_many_equal_calls_one_is_accepted(ingest: IngestServiceAsyncStub) -> None:
    responses = await asyncio.gather(*(ingest.RecordEvent(one(customer_event())) for _ in range(100)))
    assert sorted(response.result.outcome for response in responses) == [ACCEPTED] + [DUPLICATE] * 99
    assert len({response.result.cursor for response in responses}) == 1


async def test_many_callers_are_all_served(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    responses = await asyncio.gather(*(ingest.RecordEvent(one(event)) for event in customer_events(100)))
    cursors = {response.result.event_id: response.result.cursor for response in responses}
    assert {each.event.event_id: each.cursor for each in await stored(events)} == cursors
    assert len(set(cursors.values())) == 100


@pytest.mark.parametrize("validate_only", [False, True])
async def test_two_contents_under_one_id_in_one_call_are_a_conflict(
    ingest: IngestServiceAsyncStub, *, validate_only: bool
) -> None:
    twice = customer_event("a"), customer_event("a", balance="1")
    refused = await expect_refused(ingest.RecordEvents(some(*twice, validate_only=validate_only)))
    assert refused.reason == "EVENT_ID_CONFLICT"
    response = await ingest.RecordEvents(some(*twice, allow_partial=True, validate_only=validate_only))
    assert [result.outcome for result in response.results] == [ACCEPTED, REJECTED]
