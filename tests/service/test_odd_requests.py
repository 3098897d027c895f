"""Text and numbers that libraries stumble over are refused with a reason, not answered with INTERNAL."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from engagement import v1
from engagement.limits import START_OF_TIME_MS
from engagement_server.node import Server
from tests.support.calls import one
from tests.support.events import customer_event
from tests.support.raw_http2 import HEADERS, RawHttp2
from tests.support.refused_call import expect_refused

if TYPE_CHECKING:
    from engagement.v1.event_service_pb2_grpc import EventServiceAsyncStub
    from engagement.v1.ingest_service_pb2_grpc import IngestServiceAsyncStub

INVALID = grpc.StatusCode.INVALID_ARGUMENT
_START_SECONDS = START_OF_TIME_MS // 1000


@pytest.mark.parametrize("path", ["\0", "event\0x", "cursor\0", "event.customer_info\0y", "événement", " "])
async def test_a_mask_with_any_text_is_refused_by_its_path(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub, path: str
) -> None:
    await ingest.RecordEvent(one(customer_event("a")))
    mask = FieldMask(paths=[path])
    for refused in (
        await expect_refused(
            events.GetEvent(v1.GetEventRequest(account_id="acme", event_id="a", read_mask=mask))
        ),
        await expect_refused(events.ListEvents(v1.ListEventsRequest(account_id="acme", read_mask=mask))),
    ):
        assert (refused.code, refused.fields) == (INVALID, ["read_mask"])


@pytest.mark.parametrize("nanos", [-1, 1_000_000_000, 2**31 - 1])
async def test_nanoseconds_beyond_a_second_are_refused_by_their_field(
    events: EventServiceAsyncStub, nanos: int
) -> None:
    time = Timestamp(seconds=_START_SECONDS, nanos=nanos)
    for name, wanted in (
        ("filter.start_time", v1.EventFilter(start_time=time)),
        ("filter.end_time", v1.EventFilter(end_time=time)),
    ):
        listing = v1.ListEventsRequest(account_id="acme", filter=wanted)
        subscribing = v1.SubscribeEventsRequest(account_id="acme", earliest=True, filter=wanted)
        for refused in (
            await expect_refused(events.ListEvents(listing)),
            await expect_refused(events.SubscribeEvents(subscribing).read()),
        ):
            assert (refused.code, refused.fields) == (INVALID, [name])
    starting = v1.SubscribeEventsRequest(account_id="acme", start_time=time)
    refused = await expect_refused(events.SubscribeEvents(starting).read())
    assert (refused.code, refused.fields) == (INVALID, ["start_time"])


def status_of(address: str, request_id: str) -> bytes:
    """The header block with the status of a call that is refused, as it is on the wire."""
    with RawHttp2(address) as connection:
        headers = {"x-request-id": request_id}
        connection.call("/engagement.v1.EventService/ListEvents", v1.ListEventsRequest(), headers=headers)
        return next(
            frame.payload
            for frame in connection.frames()
            if frame.kind == HEADERS and b"grpc-status" in frame.payload
        )


@pytest.mark.parametrize("request_id", ["fine", "a\tb", "é", "a" * 65, "a" * 120, "\x7f", " a "])
async def test_no_request_id_hides_the_status_of_a_call(server: Server, request_id: str) -> None:
    block = await asyncio.to_thread(status_of, server.address, request_id)
    assert b"grpc-status\x013" in block  # INVALID_ARGUMENT
    assert b"grpc-status-details-bin" in block
    assert (b"x-request-id\x04fine" in block) == (request_id == "fine")
