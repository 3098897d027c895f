"""Once an erasure is complete, no client gets any of its events, however it reads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING

import grpc
import pytest

from engagement import EngagementClient, EngagementError, UnavailableError, v1
from engagement_server.api.grpc import running
from engagement_server.node import Server
from tests.support.paused_call import PausedCall
from tests.support.raw_subscription import RawSubscription, ids, kinds, subscribing
from tests.support.waiting import deadline

if TYPE_CHECKING:
    from engagement.v1.event_service_pb2_grpc import EventServiceAsyncStub

# More than a window holds, and less than the largest batch.
_EVENT_BYTES = 1_000
_WINDOW_BYTES = 16 * 1024
_SUBSCRIBE = "/engagement.v1.EventService/SubscribeEvents"
_LIST = "/engagement.v1.EventService/ListEvents"


def _event(event_id: str, consumer_id: str, *, size_bytes: int = _EVENT_BYTES) -> v1.Event:
    """An event whose text names its consumer."""
    name = f"{consumer_id} " * (size_bytes // len(consumer_id))
    return v1.Event(event_id=event_id, consumer_id=consumer_id, personal_info=v1.PersonalInfo(name=name))


async def _record(client: EngagementClient, *consumer_ids: str, size_bytes: int = _EVENT_BYTES) -> list[str]:
    """Records an event for each, with the number of its place as its id; returns the cursors."""
    events = [
        _event(str(number), consumer_id, size_bytes=size_bytes)
        for number, consumer_id in enumerate(consumer_ids)
    ]
    cursors: list[str] = []
    for first in range(0, len(events), 500):
        cursors += [
            result.cursor for result in (await client.record_events(events[first : first + 500])).results
        ]
    return cursors


@asynccontextmanager
async def _small_channel(server: Server) -> AsyncIterator[grpc.aio.Channel]:
    """A connection of its own with the smallest window that the library offers."""
    options = [
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", _WINDOW_BYTES),
    ]
    async with grpc.aio.insecure_channel(server.address, options=options) as channel:
        yield channel


async def test_not_one_byte_is_sent_after_an_erasure_to_a_client_that_reads_again(
    server: Server, client: EngagementClient
) -> None:
    await _record(client, *["gone"] * 1000)
    with PausedCall(server.address, _SUBSCRIBE, subscribing(), window_bytes=_WINDOW_BYTES) as paused:
        assert len(await paused.read_window()) == _WINDOW_BYTES
        assert (await client.erase_consumer(consumer_id="gone")).erased_events == 1000
        assert await paused.read_rest() == b""


async def test_an_unread_page_is_not_sent_after_an_erasure(
    server: Server, client: EngagementClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "SETTLE_SECONDS", 0.2)
    await _record(client, *["gone"] * 100, "kept")
    request = v1.ListEventsRequest(account_id="acme")
    other = v1.ListEventsRequest(account_id="other")
    with (
        PausedCall(server.address, _LIST, request, window_bytes=_WINDOW_BYTES) as paused,
        PausedCall(server.address, _LIST, other, window_bytes=0) as elsewhere,
    ):
        assert len(await paused.read_window()) == _WINDOW_BYTES
        assert (await client.erase_consumer(consumer_id="gone")).erased_events == 100
        assert await paused.read_rest() == b""
        assert len(await elsewhere.read_rest()) == len(b"\0" + b"\0\0\0\0")  # an empty page


async def test_a_read_that_is_quick_enough_is_answered_beside_an_erasure(client: EngagementClient) -> None:
    await _record(client, *["gone", "kept"] * 300)
    has_ended = asyncio.Event()

    async def read_on() -> int:
        count = 0
        while not has_ended.is_set():
            page = [stored async for stored in client.list_events()]
            count += {stored.event.consumer_id for stored in page} in ({"gone", "kept"}, {"kept"})
        return count

    reading = [asyncio.create_task(read_on()) for _ in range(4)]
    await client.erase_consumer(consumer_id="gone")
    has_ended.set()
    assert min(await asyncio.gather(*reading)) > 0


async def test_a_client_that_paused_resumes_without_a_gap_or_a_repeat_and_gets_the_notices(
    server: Server, client: EngagementClient
) -> None:
    consumer_ids = ["gone", "kept", "kept"] * 700
    cursors = await _record(client, *consumer_ids)
    async with _small_channel(server) as channel:
        events = v1.EventServiceStub(channel)
        stream = RawSubscription(events, subscribing(max_batch_events=50))
        before = await stream.read_until("batch")
        await client.erase_consumer(consumer_id="gone")
        after, code = await _read_to_error(stream)
        assert code is grpc.StatusCode.UNAVAILABLE
        erased_bytes = sum(
            stored.ByteSize()
            for message in after
            for stored in message.batch.events
            if stored.event.consumer_id == "gone"
        )
        assert (
            erased_bytes <= 2 * 65_535
        )  # a window of HTTP/2's own size, and what the client had read of one
        seen = [*before, *after]
        again = RawSubscription(events, subscribing(after_cursor=seen[-1].cursor))
        rest = await again.read_until("caught_up")
        assert "gone" not in {stored.event.consumer_id for each in rest for stored in each.batch.events}
        got = [int(event_id) for event_id in ids([*seen, *rest])]
        assert got == sorted(set(got))
        kept = [number for number, consumer_id in enumerate(consumer_ids) if consumer_id == "kept"]
        assert [number for number in got if consumer_ids[number] == "kept"] == kept
        notices = [each.erasure_notice for each in rest if each.HasField("erasure_notice")]
        assert [cursor for notice in notices for cursor in notice.erased_cursors] == cursors[::3]
        again.call.cancel()


async def _read_to_error(stream: RawSubscription) -> tuple[list[v1.SubscribeEventsResponse], grpc.StatusCode]:
    messages: list[v1.SubscribeEventsResponse] = []
    try:
        while True:
            messages.append(await stream.read())
    except grpc.aio.AioRpcError as error:
        return messages, error.code()


async def test_streams_without_an_erased_event_on_its_way_go_on(
    server: Server, client: EngagementClient, events: EventServiceAsyncStub
) -> None:
    async with EngagementClient(server.address, account_id="other") as other:
        await _record(other, *["gone"] * 200)
    await _record(client, *["gone", "kept"] * 200)
    requests = {
        "another account": subscribing(account_id="other"),
        "another consumer": subscribing(wanted=v1.EventFilter(consumer_ids=["kept"])),
    }
    follower = RawSubscription(events, subscribing())
    await follower.read_until("caught_up")
    with PausedCall(server.address, _SUBSCRIBE, subscribing(), window_bytes=_WINDOW_BYTES) as holding:
        paused = {
            name: PausedCall(server.address, _SUBSCRIBE, request, window_bytes=_WINDOW_BYTES)
            for name, request in requests.items()
        }
        for each in (holding, *paused.values()):
            assert len(await each.read_window()) == _WINDOW_BYTES
        assert (await client.erase_consumer(consumer_id="gone")).erased_events == 200
        assert await holding.read_rest() == b""
        assert kinds(await follower.read_until("erasure_notice")) == ["erasure_notice"]
        follower.call.cancel()
        for name, each in paused.items():
            with each:
                rest = await each.read_rest(at_most=200 * _EVENT_BYTES - _WINDOW_BYTES)
                assert (len(rest) >= 200 * _EVENT_BYTES - _WINDOW_BYTES, each.has_ended) == (True, False), (
                    name
                )


async def test_a_follower_beside_erasures_misses_nothing_and_hears_of_all_that_is_gone(
    server: Server, client: EngagementClient
) -> None:
    random = Random(1)
    consumer_ids = [f"consumer-{random.randrange(20)}" for _ in range(2000)]
    gone = {f"consumer-{number}" for number in range(10)}
    told: list[str] = []
    seen: list[int] = []
    reconnects: list[EngagementError] = []

    # More than the client's window grows to.
    cursors = await _record(client, *consumer_ids, size_bytes=10_000)
    async with EngagementClient(server.address, account_id="acme") as reader:
        follower = reader.follow(
            earliest=True,
            on_erasure=lambda notice: told.extend(notice.erased_cursors),
            on_reconnect=reconnects.append,
        )
        async with deadline("the follower saw the last event"), follower:
            seen.append(int((await anext(follower)).event.event_id))
            for consumer_id in sorted(gone):  # while the next batches are on their way
                await client.erase_consumer(consumer_id=consumer_id)
            await client.record_event(_event("last", "end"))
            async for stored in follower:
                if stored.event.event_id == "last":
                    break
                seen.append(int(stored.event.event_id))
    assert seen == sorted(set(seen))
    kept = [number for number, consumer_id in enumerate(consumer_ids) if consumer_id not in gone]
    assert [number for number in seen if consumer_ids[number] not in gone] == kept
    erased = [
        cursor for cursor, consumer_id in zip(cursors, consumer_ids, strict=True) if consumer_id in gone
    ]
    assert sorted(told) == sorted(erased)
    # The stream was reset if an erasure met a batch on its way, which depends on the machine.
    assert {type(error) for error in reconnects} <= {UnavailableError}


async def test_many_erasures_beside_many_subscribers_end_soon_and_disturb_none_that_reads(
    server: Server, client: EngagementClient, events: EventServiceAsyncStub
) -> None:
    consumer_ids = [f"consumer-{number % 50}" for number in range(2000)]
    await _record(client, *consumer_ids)
    readers = [RawSubscription(events, subscribing()) for _ in range(50)]
    for reader in readers:
        await reader.read_until("caught_up")
    paused = [
        PausedCall(server.address, _SUBSCRIBE, subscribing(), window_bytes=_WINDOW_BYTES) for _ in range(20)
    ]
    for each in paused:
        await each.read_window()
    began = time.monotonic()
    erasures = await asyncio.gather(
        *(client.erase_consumer(consumer_id=f"consumer-{number}") for number in range(50))
    )
    assert time.monotonic() - began < 30
    assert [erasure.erased_events for erasure in erasures] == [40] * 50
    for each in paused:
        with each:
            assert await each.read_rest() == b""
    await client.record_event(_event("last", "end"))
    for reader in readers:
        messages: Sequence[v1.SubscribeEventsResponse] = await reader.read_until("batch")
        assert kinds([*messages]) == [*["erasure_notice"] * 50, "batch"]
        reader.call.cancel()
