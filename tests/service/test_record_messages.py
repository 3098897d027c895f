"""Requests as bytes: unreadable ones, too large ones, and errors that every client can receive."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import pytest

from engagement import v1
from engagement.limits import MAX_EVENT_BYTES, MAX_MESSAGE_BYTES
from engagement.wire import length_delimited
from tests.support.calls import ACCEPTED, REJECTED, one, some, stored
from tests.support.events import customer_event, customer_events, very_bad_event
from tests.support.refused_call import assert_receivable, expect_refused

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from engagement.v1.event_service_pb2_grpc import EventServiceAsyncStub
    from engagement.v1.ingest_service_pb2_grpc import IngestServiceAsyncStub

WIDE = "\U0001f600"

T = TypeVar("T")


def as_it_is(value: T) -> T:
    return value


def event_of(size_bytes: int) -> v1.Event:
    """An event of exactly this size."""
    event = customer_event("large")
    for number in range(size_bytes // 50_100):
        event.additional_attributes[f"{number:04}"] = "x" * 50_000
    event.additional_attributes["rest"] = ""
    rest = size_bytes - event.ByteSize()
    for overhead in range(16):  # of the lengths, which grow with the text
        event.additional_attributes["rest"] = "x" * (rest - overhead)
        if event.ByteSize() == size_bytes:
            break
    return event


@pytest.mark.parametrize(
    "request_bytes",
    [
        one(customer_event()).SerializeToString()[:-1],
        b"\xff\xff\xff",
        b"\x0a\x04acme\x12\x04\x0a\x02\xc3\x28",  # event.event_id is not UTF-8
    ],
    ids=["truncated", "malformed", "not UTF-8"],
)
@pytest.mark.parametrize("method", ["RecordEvent", "RecordEvents"])
async def test_what_is_no_message_of_the_contract_is_refused_with_a_reason(
    channel: grpc.aio.Channel, method: str, request_bytes: bytes
) -> None:
    call = channel.unary_unary(
        f"/engagement.v1.IngestService/{method}",
        request_serializer=as_it_is,
        response_deserializer=as_it_is,
    )
    refused = await expect_refused(call(request_bytes))
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")
    assert [violation[:2] for violation in refused.violations] == [("", "server.message.malformed")]


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
async def test_a_message_over_8_mib_is_refused_however_small_it_was_packed(
    ingest: IngestServiceAsyncStub, compression: grpc.Compression
) -> None:
    event = customer_event(balance="x" * MAX_MESSAGE_BYTES)
    assert len(zlib.compress(event.SerializeToString())) < 20_000
    refused = await expect_refused(ingest.RecordEvent(one(event), compression=compression))
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "BATCH_TOO_LARGE")
    assert refused.metadata["unit"] == "bytes"
    assert refused.metadata["limit"] == str(MAX_MESSAGE_BYTES)
    assert refused.metadata["count"] == str(one(event).ByteSize())


async def test_very_many_tiny_items_are_refused_by_the_same_rules_as_a_few_too_many(
    channel: grpc.aio.Channel,
) -> None:
    def call(method: str, message: bytes) -> Awaitable[object]:
        rpc: Any = channel.unary_unary(
            f"/engagement.v1.IngestService/{method}",
            request_serializer=as_it_is,
            response_deserializer=as_it_is,
        )
        return rpc(message)  # type: ignore[no-any-return]

    account = one(v1.Event()).SerializeToString().removesuffix(b"\x12\x00")
    refused = await expect_refused(call("RecordEvents", account + b"\x12\x00" * 4_000_000))
    assert (refused.reason, refused.metadata["count"]) == ("BATCH_TOO_LARGE", "2001")
    assert "at most 500 events are allowed in one message, got more than 2000" in refused.message
    person = length_delimited(11, b"\xa2\x01\x00" * 1_000_000)
    refused = await expect_refused(call("RecordEvent", account + length_delimited(2, person)))
    expected = ("event.personal_info.other_contacts", "repeated.max_items", "must have at most 100 items")
    assert refused.violations == [expected]


async def test_a_large_message_that_is_malformed_is_refused_with_a_reason(
    channel: grpc.aio.Channel,
) -> None:
    rpc: Any = channel.unary_unary(
        "/engagement.v1.IngestService/RecordEvents",
        request_serializer=as_it_is,
        response_deserializer=as_it_is,
    )
    whole = some(customer_event("a", balance="x" * 300_000)).SerializeToString()
    refused = await expect_refused(rpc(whole[:-1]))
    assert [violation[:2] for violation in refused.violations] == [("", "server.message.malformed")]


async def test_a_message_of_nearly_8_mib_is_accepted_packed_or_not(ingest: IngestServiceAsyncStub) -> None:
    events = [event_of(MAX_EVENT_BYTES - 1000) for _ in range(2)]
    events[1].event_id = "other"
    for compression in (grpc.Compression.Gzip, grpc.Compression.NoCompression):
        response = await ingest.RecordEvents(some(*events), compression=compression)
        assert response.tally.rejected == 0


async def test_an_event_takes_at_most_its_limit(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    largest, too_large = event_of(MAX_EVENT_BYTES), event_of(MAX_EVENT_BYTES + 1)
    assert (largest.ByteSize(), too_large.ByteSize()) == (MAX_EVENT_BYTES, MAX_EVENT_BYTES + 1)
    refused = await expect_refused(ingest.RecordEvent(one(too_large)))
    assert [violation[:2] for violation in refused.violations] == [("event", "server.event.max_bytes")]
    assert str(MAX_EVENT_BYTES) in refused.violations[0][2]
    refused = await expect_refused(ingest.RecordEvents(some(customer_event(), too_large)))
    assert refused.fields == ["events[1]"]
    assert await stored(events) == []
    assert (await ingest.RecordEvent(one(largest))).result.outcome == ACCEPTED


async def test_a_call_takes_at_most_500_events(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    for allow_partial in (False, True):
        refused = await expect_refused(
            ingest.RecordEvents(some(*customer_events(501), allow_partial=allow_partial))
        )
        assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "BATCH_TOO_LARGE")
        assert refused.metadata == {"count": "501", "limit": "500", "unit": "events"}
    assert await stored(events) == []
    response = await ingest.RecordEvents(some(*customer_events(500)))
    assert response.tally == v1.Tally(accepted=500)


async def test_500_very_bad_events_make_a_small_error_that_says_there_are_more(
    ingest: IngestServiceAsyncStub,
) -> None:
    refused = await expect_refused(ingest.RecordEvents(some(*(very_bad_event(str(n)) for n in range(500)))))
    assert refused.metadata["violationsTotal"] == "33"
    assert "and at least 32 more" in refused.message
    assert 1 <= len(refused.violations) <= 32
    assert_receivable(refused)


async def test_a_partial_call_lists_at_most_32_violations_an_event_and_says_that_there_are_more(
    ingest: IngestServiceAsyncStub,
) -> None:
    wordy = very_bad_event()
    brief = customer_event("brief")
    brief.additional_attributes.update({str(number): "\0" for number in range(40)})
    response = await ingest.RecordEvents(some(wordy, brief, allow_partial=True))
    assert [result.error.violations_total for result in response.results] == [33, 33]
    assert [len(result.error.violations) for result in response.results][1] <= 32
    assert all(result.error.ByteSize() < 4096 for result in response.results)


async def test_errors_with_wide_characters_can_be_received(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    event = very_bad_event()
    event.additional_attributes.update({WIDE * 300 + str(number): "\0" for number in range(40)})
    assert_receivable(await expect_refused(ingest.RecordEvent(one(event))))
    taken = customer_event(WIDE * 128)
    await ingest.RecordEvent(one(taken))
    taken.customer_info.balance = "1"
    refused = await expect_refused(ingest.RecordEvent(one(taken)))
    assert refused.metadata == {"eventId": WIDE * 128}
    assert_receivable(refused)
    mask = {"paths": [WIDE * 1000]}
    request = v1.ListEventsRequest(account_id="acme", read_mask=mask)
    assert_receivable(await expect_refused(events.ListEvents(request)))
    no_words = v1.EventFilter(text="\U000e0001" * 1000)
    request = v1.ListEventsRequest(account_id="acme", filter=no_words)
    assert_receivable(await expect_refused(events.ListEvents(request)))


async def test_the_answer_about_an_endless_id_is_small(ingest: IngestServiceAsyncStub) -> None:
    endless = customer_event("x" * 5_000_000)
    (result,) = (await ingest.RecordEvents(some(endless, allow_partial=True))).results
    assert result.outcome == REJECTED
    assert result.error.violations[0].field == "event_id"
    assert result.ByteSize() < 4096
