"""While one caller sends messages with very many broken rules, another's calls go on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import protovalidate
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from engagement import v1
from tests.support.calls import one, some
from tests.support.events import customer_event
from tests.support.raw_upload import RawUpload, chunk, opening
from tests.support.refused_call import expect_refused

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from engagement.v1.event_service_pb2_grpc import EventServiceAsyncStub
    from engagement.v1.ingest_service_pb2_grpc import IngestServiceAsyncStub

_MANY = 100_000
_MAX_BUILT = 1_000


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many violations protovalidate has built, check by check."""
    counts: list[int] = []
    collect = protovalidate.collect_violations

    def counting(message: Message, *, fail_fast: bool = False) -> list[protovalidate.Violation]:
        found = collect(message, fail_fast=fail_fast)
        counts.append(len(found))
        return found

    monkeypatch.setattr(protovalidate, "collect_violations", counting)
    return counts


def contacts(count: int) -> v1.Event:
    return v1.Event(personal_info=v1.PersonalInfo(other_contacts=[v1.PersonalContact(email="\0")] * count))


def filtered() -> v1.EventFilter:
    wanted = v1.EventFilter()
    wanted.attribute_sets.extend([v1.AttributeSet.ATTRIBUTE_SET_UNSPECIFIED] * _MANY)
    return wanted


# Method and request; the last ones have as many items as are allowed, all of them wrong.
RUDE: dict[str, tuple[str, Message]] = {
    "a filter": ("EventService/ListEvents", v1.ListEventsRequest(account_id="acme", filter=filtered())),
    "a mask": (
        "EventService/GetEvent",
        v1.GetEventRequest(account_id="acme", event_id="a", read_mask=FieldMask(paths=["x"] * _MANY)),
    ),
    "names": (
        "EntityService/PutEntities",
        v1.PutEntitiesRequest(account_id="acme", kind="ENTITY_KIND_CUSTOMER_TYPE", names=[""] * _MANY),
    ),
    "an event": ("IngestService/RecordEvent", one(contacts(_MANY))),
    "events": ("IngestService/RecordEvents", some(*[contacts(1000)] * 400)),
    "events with as many contacts as may be": ("IngestService/RecordEvents", some(*[contacts(100)] * 500)),
    "an event with as many attributes as may be": (
        "IngestService/RecordEvent",
        one(customer_event("a")),
    ),
}
RUDE["an event with as many attributes as may be"][1].event.additional_attributes.update(  # type: ignore[attr-defined]
    {f"\0{number}": "\0" for number in range(1000)}
)


@pytest.mark.parametrize("rude", RUDE)
async def test_a_message_with_very_many_broken_rules_is_refused_for_a_few(
    channel: grpc.aio.Channel, events: EventServiceAsyncStub, ingest: IngestServiceAsyncStub,
    built: list[int], rude: str,
) -> None:  # fmt: skip
    await ingest.RecordEvent(one(customer_event("beside")))
    method, request = RUDE[rude]
    call: Any = channel.unary_unary(
        f"/engagement.v1.{method}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=lambda data: data,
    )
    refused, beside = await asyncio.gather(
        expect_refused(call(request)),
        events.GetEvent(v1.GetEventRequest(account_id="acme", event_id="beside")),
    )
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")
    assert beside.event.event.event_id == "beside"
    assert sum(built) < _MAX_BUILT


async def test_reads_are_answered_between_the_events_of_a_rude_upload(
    events: EventServiceAsyncStub, ingest: IngestServiceAsyncStub, built: list[int]
) -> None:
    await ingest.RecordEvent(one(customer_event("beside")))
    upload = RawUpload(ingest)
    request = opening()
    request.open.keep_going = True
    chunks = [chunk(sequence, *[contacts(32)] * 500) for sequence in range(1, 6)]
    checks_at_reads = []

    async def read() -> None:
        while True:
            await events.GetEvent(v1.GetEventRequest(account_id="acme", event_id="beside"))
            checks_at_reads.append(len(built))

    await upload.send(request)
    assert (await upload.receive()).HasField("opened")
    reading = asyncio.create_task(read())
    await upload.send(*chunks)
    assert (await upload.receive_acks(5))[-1].tally.rejected == 2500
    reading.cancel()
    # Each of the 2,500 events is checked at least once.
    assert min(checks_at_reads) < 2500, "no read was answered before all events were checked"


async def test_events_with_too_many_items_are_rejected_and_never_checked(
    ingest: IngestServiceAsyncStub, built: list[int]
) -> None:
    response = await ingest.RecordEvents(some(*[contacts(1000)] * 300, allow_partial=True))
    assert response.tally.rejected == 300
    rules = {violation.rule for result in response.results for violation in result.error.violations}
    assert rules == {"repeated.max_items"}
    assert sum(built) == 0
