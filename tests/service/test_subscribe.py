"""Subscriptions: all starts, filters, resuming after any cursor, and requests that are refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from engagement import v1
from engagement.limits import START_OF_TIME_MS as START_MS
from engagement_server.config import Config
from engagement_server.cursor import Cursors, first_position
from engagement_server.node import Server
from engagement_server.store.database import DatabaseFile, read_cursors
from tests.support.calls import one, some, stored
from tests.support.events import customer_event, customer_events, personal_event
from tests.support.raw_subscription import (
    RawSubscription,
    Request,
    Response,
    ids,
    kinds,
    subscribing,
)
from tests.support.refused_call import RefusedCall, expect_refused
from tests.support.waiting import deadline

if TYPE_CHECKING:
    from engagement.v1.event_service_pb2_grpc import EventServiceAsyncStub
    from engagement.v1.ingest_service_pb2_grpc import IngestServiceAsyncStub

Closing = Response.Closing
FAR_BEHIND_EVENTS = 17_000


async def record_many(ingest: IngestServiceAsyncStub, count: int, *, start: int = 0) -> list[str]:
    """Records events in calls of 500; their ids."""
    events = customer_events(count, start=start)
    for first in range(0, count, 500):
        await ingest.RecordEvents(some(*events[first : first + 500]))
    return [event.event_id for event in events]


async def refused(events: EventServiceAsyncStub, request: Request) -> RefusedCall:
    return await expect_refused(events.SubscribeEvents(request).read())


@pytest.fixture
async def restless(tmp_path: Path) -> AsyncIterator[Server]:
    """A server with frequent heartbeats."""
    config = Config(listen="127.0.0.1:0", data=tmp_path / "restless", heartbeat_seconds=0.1)
    server = await Server.start(config)
    yield server
    await server.stop()


# Order and resuming.


async def test_stored_events_come_first_and_then_each_new_one(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    await ingest.RecordEvents(some(customer_event("a"), personal_event("b")))
    subscription = RawSubscription(events, subscribing())
    messages = await subscription.read_until("caught_up")
    assert kinds(messages) == ["started", "batch", "caught_up"]
    assert ids(messages) == ["a", "b"]
    for number in range(5):
        await ingest.RecordEvent(one(customer_event(f"new-{number}")))
        assert await subscription.read_ids(1) == [f"new-{number}"]
    subscription.call.cancel()


async def test_a_subscriber_sees_what_a_list_shows(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    await ingest.RecordEvents(some(customer_event("a"), personal_event("b", server_time_stamp=START_MS)))
    messages = await RawSubscription(events, subscribing(stop_at_tail=True)).rest()
    assert [each for message in messages for each in message.batch.events] == await stored(events)


async def test_behind_the_cursor_of_any_message_comes_exactly_the_rest(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    all_ids = await record_many(ingest, 40)
    messages = await RawSubscription(events, subscribing(stop_at_tail=True, max_batch_events=7)).rest()
    assert kinds(messages) == ["started", *["batch"] * 6, "caught_up"]
    seen: list[str] = []
    for message in messages:
        seen += ids([message])
        again = subscribing(after_cursor=message.cursor, stop_at_tail=True)
        assert ids(await RawSubscription(events, again).rest()) == all_ids[len(seen) :]


async def test_a_batch_holds_no_more_than_asked_and_a_thousand_at_the_most(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    all_ids = await record_many(ingest, 2500)
    for asked, most in ((0, 500), (3, 3), (1_000_000, 1000)):
        messages = await RawSubscription(
            events, subscribing(stop_at_tail=True, max_batch_events=asked)
        ).rest()
        assert messages[0].started.max_batch_events == most
        assert max(len(message.batch.events) for message in messages) == most
        assert ids(messages) == all_ids


async def test_large_events_come_one_by_one_and_in_order(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    large = [
        customer_event(str(number), **dict.fromkeys(("role", "imei", "balance", "currency"), "€" * 50_000))
        for number in range(6)
    ]
    for event in [*large[:3], customer_event("small"), *large[3:]]:
        await ingest.RecordEvent(one(event))
    messages = await RawSubscription(events, subscribing(stop_at_tail=True)).rest()
    assert ids(messages) == ["0", "1", "2", "small", "3", "4", "5"]
    assert {len(message.batch.events) for message in messages if message.HasField("batch")} <= {1}


async def test_many_subscribers_with_different_filters_each_get_their_own(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    filters = [v1.EventFilter(customer_ids=[str(number)]) for number in range(10)] * 2 + [
        v1.EventFilter()
    ] * 3
    subscriptions = [RawSubscription(events, subscribing(wanted=wanted, latest=True)) for wanted in filters]
    for subscription in subscriptions:
        await subscription.read_until("caught_up")
    sent = [customer_event(f"{number:03}", customer_id=str(number % 10)) for number in range(200)]
    for first in range(0, 200, 20):
        await ingest.RecordEvents(some(*sent[first : first + 20]))
    for subscription, wanted in zip(subscriptions, filters, strict=True):
        expected = [
            event.event_id
            for event in sent
            if not wanted.customer_ids or event.customer_info.customer_id in wanted.customer_ids
        ]
        assert await subscription.read_ids(len(expected)) == expected
        subscription.call.cancel()


# Starts.


async def test_latest_skips_what_is_stored(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    await ingest.RecordEvent(one(customer_event("old")))
    subscription = RawSubscription(events, subscribing(latest=True))
    assert kinds(await subscription.read_until("caught_up")) == ["started", "caught_up"]
    await ingest.RecordEvent(one(customer_event("new")))
    assert await subscription.read_ids(1) == ["new"]
    subscription.call.cancel()


async def test_a_start_time_means_the_time_of_acceptance(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    for number in range(5):
        await ingest.RecordEvent(one(customer_event(str(number), server_time_stamp=START_MS + number)))
        await asyncio.sleep(0.005)  # the times of acceptance must differ
    for each in await stored(events):
        request = Request(account_id="acme", start_time=each.receive_time, stop_at_tail=True)
        messages = await RawSubscription(events, request).rest()
        assert ids(messages) == [str(number) for number in range(int(each.event.event_id), 5)]
    future = Request(account_id="acme", start_time=Timestamp(seconds=4_000_000_000), stop_at_tail=True)
    assert kinds(await RawSubscription(events, future).rest()) == ["started", "caught_up"]


@pytest.mark.parametrize("is_latest", [True, False])
async def test_a_subscriber_of_a_new_account_gets_its_first_event(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub, *, is_latest: bool
) -> None:
    subscription = RawSubscription(events, subscribing(account_id="new", latest=is_latest))
    started = (await subscription.read_until("caught_up"))[0]
    await ingest.RecordEvent(one(customer_event("first"), account_id="new"))
    assert await subscription.read_ids(1) == ["first"]
    subscription.call.cancel()
    again = subscribing(account_id="new", after_cursor=started.cursor, stop_at_tail=True)
    assert ids(await RawSubscription(events, again).rest()) == ["first"]


async def test_an_export_ends_at_the_tail_that_it_found(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    all_ids = await record_many(ingest, 600)
    export = RawSubscription(events, subscribing(stop_at_tail=True, max_batch_events=1))
    await export.read()
    await ingest.RecordEvent(one(customer_event("late")))
    assert ids(await export.rest()) == all_ids
    empty = await RawSubscription(events, subscribing(account_id="empty", stop_at_tail=True)).rest()
    assert kinds(empty) == ["started", "caught_up"]


# Filters.


async def test_a_filter_takes_the_same_far_behind_and_at_the_tail(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    await ingest.RecordEvents(some(customer_event("first", customer_type="VIP"), personal_event("person")))
    await record_many(ingest, FAR_BEHIND_EVENTS)
    await ingest.RecordEvents(
        some(customer_event("near", customer_type="vip", server_time_stamp=START_MS + 7))
    )
    filters = {
        "type": v1.EventFilter(customer_types=["vIp"]),
        "set": v1.EventFilter(attribute_sets=[v1.AttributeSet.ATTRIBUTE_SET_PERSONAL_INFO]),
        "text": v1.EventFilter(text='"16999"'),
        "time": v1.EventFilter(end_time=Timestamp(seconds=START_MS // 1000 + 1)),
        "nothing": v1.EventFilter(consumer_ids=["nobody"]),
    }
    expected = {"type": ["first", "near"], "set": ["person"], "text": ["event-016999"], "time": ["near"]}
    for name, wanted in filters.items():
        messages = await RawSubscription(events, subscribing(wanted=wanted, stop_at_tail=True)).rest()
        assert ids(messages) == expected.get(name, []), name
        # The cursor moves past events that do not match.
        again = subscribing(after_cursor=messages[-1].cursor, stop_at_tail=True)
        assert kinds(await RawSubscription(events, again).rest()) == ["started", "caught_up"]


async def test_a_filter_that_takes_nothing_still_makes_progress(restless: Server) -> None:
    async with grpc.aio.insecure_channel(restless.address) as channel:
        ingest, events = v1.IngestServiceStub(channel), v1.EventServiceStub(channel)
        wanted = v1.EventFilter(consumer_ids=["nobody"])
        subscription = RawSubscription(events, subscribing(wanted=wanted))
        before = (await subscription.read_until("caught_up"))[-1]
        await ingest.RecordEvent(one(customer_event("other")))
        progress = await subscription.read()
        while progress.cursor == before.cursor:
            progress = await subscription.read()
        assert progress.HasField("progress")
        assert progress.progress.lag_events == 0
        subscription.call.cancel()
        again = subscribing(after_cursor=progress.cursor, stop_at_tail=True)
        assert ids(await RawSubscription(events, again).rest()) == []


# Ends.


async def test_an_old_stream_says_closing_and_the_next_one_goes_on(tmp_path: Path) -> None:
    config = Config(listen="127.0.0.1:0", data=tmp_path / "data", max_stream_age_seconds=0.3)
    server = await Server.start(config)
    async with grpc.aio.insecure_channel(server.address) as channel:
        ingest, events = v1.IngestServiceStub(channel), v1.EventServiceStub(channel)
        await ingest.RecordEvent(one(customer_event("a")))
        messages = await RawSubscription(events, subscribing()).rest()
        assert messages[-1].closing.reason == Closing.REASON_MAX_AGE
        assert messages[-1].closing.reconnect_delay.seconds == 1
        await ingest.RecordEvent(one(customer_event("b")))
        again = RawSubscription(events, subscribing(after_cursor=messages[-1].cursor))
        seen = ids(messages)
        assert [*seen, *await again.read_ids(2 - len(seen))] == ["a", "b"]
        again.call.cancel()
    await server.stop()


async def test_a_stopping_server_says_closing_and_does_not_wait_for_stalled_readers(
    tmp_path: Path,
) -> None:
    server = await Server.start(Config(listen="127.0.0.1:0", data=tmp_path / "data"))
    large = dict.fromkeys(("role", "imei", "balance", "currency"), "x" * 50_000)
    async with grpc.aio.insecure_channel(server.address) as channel:
        ingest, events = v1.IngestServiceStub(channel), v1.EventServiceStub(channel)
        reading = RawSubscription(events, subscribing(latest=True))
        await reading.read_until("caught_up")
        stopped = RawSubscription(events, subscribing(latest=True))
        await stopped.read_until("caught_up")
        for number in range(100):  # more than the transport buffers for a client that does not read
            await ingest.RecordEvent(one(customer_event(str(number), **large)))
        assert len(await reading.read_ids(100)) == 100
        async with deadline("the server stopped"):
            await server.stop()
        assert (await reading.rest())[-1].closing.reason == Closing.REASON_DRAINING


# Requests that are refused.


async def test_a_request_without_a_start_is_refused(events: EventServiceAsyncStub) -> None:
    refusing = await refused(events, Request(account_id="acme"))
    assert (refusing.code, refusing.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")
    assert refusing.fields == ["start"]


@pytest.mark.parametrize("seconds", [4, 61])
async def test_a_heartbeat_out_of_range_is_refused(events: EventServiceAsyncStub, seconds: int) -> None:
    request = subscribing()
    request.heartbeat_interval.CopyFrom(Duration(seconds=seconds))
    assert (await refused(events, request)).fields == ["heartbeat_interval"]


async def test_a_filter_that_cannot_be_understood_is_refused(events: EventServiceAsyncStub) -> None:
    refusing = await refused(events, subscribing(wanted=v1.EventFilter(text='"open')))
    assert (refusing.code, refusing.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FILTER_INVALID")


async def test_cursors_that_are_not_of_this_log_are_refused(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    await ingest.RecordEvent(one(customer_event("a")))
    await ingest.RecordEvent(one(customer_event("a"), account_id="other"))
    (foreign,) = await stored(events, account_id="other")
    damaged = "A" + foreign.cursor[:-1]
    elsewhere = Cursors(epoch=1, key=b"").encode(first_position(1) + 1)
    for cursor, code, reason in (
        (damaged, grpc.StatusCode.INVALID_ARGUMENT, "CURSOR_MALFORMED"),
        (foreign.cursor, grpc.StatusCode.INVALID_ARGUMENT, "CURSOR_MISMATCH"),
        (elsewhere, grpc.StatusCode.FAILED_PRECONDITION, "LOG_EPOCH_CHANGED"),
    ):
        refusing = await refused(events, subscribing(after_cursor=cursor))
        assert (refusing.code, refusing.reason) == (code, reason)
    refusing = await refused(events, subscribing(account_id="nobody", after_cursor=foreign.cursor))
    assert refusing.reason == "CURSOR_MISMATCH"


async def test_a_cursor_ahead_of_the_log_tells_that_the_log_was_replaced(tmp_path: Path) -> None:
    config = Config(listen="127.0.0.1:0", data=tmp_path / "data")
    server = await Server.start(config)
    async with grpc.aio.insecure_channel(server.address) as channel:
        await v1.IngestServiceStub(channel).RecordEvent(one(customer_event("a")))
    await server.stop()
    database = DatabaseFile(config.data)
    connection = database.open_reader()
    ahead = read_cursors(connection).encode(first_position(1) + 9)
    connection.close()
    database.close()
    server = await Server.start(config)
    async with grpc.aio.insecure_channel(server.address) as channel:
        refusing = await refused(v1.EventServiceStub(channel), subscribing(after_cursor=ahead))
        assert (refusing.code, refusing.reason) == (
            grpc.StatusCode.FAILED_PRECONDITION,
            "LOG_EPOCH_CHANGED",
        )
    await server.stop()
