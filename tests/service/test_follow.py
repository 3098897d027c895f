"""Following through lost connections, restarts and silence: no gap, no repeat, and an exact cursor."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from engagement import (
    EngagementClient,
    Follower,
    InvalidArgumentError,
    PreconditionError,
    UnavailableError,
    v1,
)
from engagement_server.config import Config
from engagement_server.node import Server
from tests.support.event_samples import good_event
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import deadline, eventually

Notice = v1.SubscribeEventsResponse.ErasureNotice


@asynccontextmanager
async def proxied(server: Server) -> AsyncIterator[tuple[TcpProxy, EngagementClient]]:
    """A proxy, and a client behind it."""
    async with (
        TcpProxy(server.address) as proxy,
        EngagementClient(proxy.address, account_id="acme") as distant,
    ):
        yield proxy, distant


async def record(client: EngagementClient, numbers: range) -> None:
    events = [good_event(number) for number in numbers]
    for first in range(0, len(events), 500):
        await client.record_events(events[first : first + 500])


async def take(follower: Follower, count: int) -> list[v1.StoredEvent]:
    async with deadline(f"{count} events came"):
        return [await anext(follower) for _ in range(count)]


def numbers_of(events: Sequence[v1.StoredEvent]) -> list[int]:
    return [int(stored.event.event_id.removeprefix("event-")) for stored in events]


async def follow_to_tail(client: EngagementClient, *, after_cursor: str) -> list[int]:
    follower = client.follow(after_cursor=after_cursor, stop_at_tail=True)
    async with deadline("the tail was reached"):
        return numbers_of([stored async for stored in follower])


async def test_stored_events_come_first_and_then_each_new_one(client: EngagementClient) -> None:
    await record(client, range(1200))
    async with client.follow(earliest=True) as follower:
        assert numbers_of(await take(follower, 1200)) == list(range(1200))
        waiting = asyncio.create_task(take(follower, 1))
        await eventually(lambda: follower.is_caught_up, "the follower has caught up")
        assert follower.lag_events == 0
        await record(client, range(1200, 1201))
        assert numbers_of(await waiting) == [1200]


async def test_the_cursor_after_each_event_covers_exactly_what_was_handed_out(
    client: EngagementClient,
) -> None:
    await record(client, range(40))
    async with client.follow(earliest=True, max_batch_events=7) as follower:
        for number in range(39):
            await anext(follower)
            if number % 5 == 0:
                assert await follow_to_tail(client, after_cursor=follower.cursor) == list(
                    range(number + 1, 40)
                )


async def test_batches_and_single_events_go_on_where_the_other_stopped(client: EngagementClient) -> None:
    await record(client, range(30))
    async with (
        deadline("the tail was reached"),
        client.follow(earliest=True, max_batch_events=10, stop_at_tail=True) as follower,
    ):
        single = await take(follower, 4)
        batches = [batch async for batch in follower.batches()]
        assert follower.cursor == batches[-1].cursor
    assert [len(batch.events) for batch in batches] == [6, 10, 10]
    assert numbers_of([*single, *(stored for batch in batches for stored in batch.events)]) == list(range(30))
    assert await follow_to_tail(client, after_cursor=batches[0].cursor) == list(range(10, 30))


async def test_stopping_at_the_tail_ends_the_iteration_even_of_an_account_without_events(
    client: EngagementClient,
) -> None:
    assert [stored async for stored in client.follow(earliest=True, stop_at_tail=True)] == []


async def test_latest_that_is_cut_before_its_first_event_misses_nothing(
    server: Server, client: EngagementClient
) -> None:
    await record(client, range(5))
    async with proxied(server) as (proxy, distant), distant.follow(latest=True) as follower:
        waiting = asyncio.create_task(take(follower, 10))
        await eventually(lambda: follower.is_caught_up, "the follower has caught up")
        proxy.cut()
        await record(client, range(5, 15))
        assert numbers_of(await waiting) == list(range(5, 15))
    assert proxy.connections > 1


async def test_connections_that_are_cut_again_and_again_leave_no_gap_and_no_repeat(
    server: Server, client: EngagementClient
) -> None:
    await record(client, range(3000))
    chance = random.Random(7)
    errors: list[Exception] = []
    async with (
        proxied(server) as (proxy, distant),
        distant.follow(earliest=True, max_batch_events=50, on_reconnect=errors.append) as follower,
    ):
        seen: list[v1.StoredEvent] = []
        while len(seen) < 3000:
            seen += await take(follower, min(3000 - len(seen), chance.randint(1, 400)))
            proxy.cut()
        await record(client, range(3000, 3010))
        seen += await take(follower, 10)
    assert numbers_of(seen) == list(range(3010))
    assert errors
    assert all(isinstance(error, UnavailableError) for error in errors)


async def test_silence_of_two_intervals_is_a_lost_connection(tmp_path: Path) -> None:
    server = await Server.start(Config(listen="127.0.0.1:0", data=tmp_path / "data", heartbeat_seconds=0.2))
    errors: list[Exception] = []
    async with (
        EngagementClient(server.address, account_id="acme") as direct,
        proxied(server) as (proxy, distant),
        distant.follow(latest=True, on_reconnect=errors.append) as follower,
    ):
        waiting = asyncio.create_task(take(follower, 1))
        await eventually(lambda: follower.is_caught_up, "the follower has caught up")
        proxy.hold_replies()
        await record(direct, range(1))
        await eventually(lambda: bool(errors), "the follower reconnects")
        proxy.cut()
        assert numbers_of(await waiting) == [0]
    assert "no message from the server for 0.4 seconds" in str(errors[0])
    await server.stop()


async def test_a_stream_that_the_server_closes_is_opened_again_after_its_delay(tmp_path: Path) -> None:
    config = Config(listen="127.0.0.1:0", data=tmp_path / "data", max_stream_age_seconds=0.2)
    server = await Server.start(config)
    errors: list[UnavailableError] = []

    def note(error: Exception) -> None:
        assert isinstance(error, UnavailableError)
        errors.append(error)

    async with (
        EngagementClient(server.address, account_id="acme") as direct,
        direct.follow(latest=True, on_reconnect=note) as follower,
    ):
        waiting = asyncio.create_task(take(follower, 3))
        await eventually(lambda: bool(errors), "the follower reconnects")
        await record(direct, range(3))
        assert numbers_of(await waiting) == [0, 1, 2]
    assert errors[0].retry_delay_seconds == 1
    await server.stop()


async def test_follow_after_restart_misses_nothing(tmp_path: Path) -> None:
    config = Config(listen="127.0.0.1:0", data=tmp_path / "data")
    server = await Server.start(config)
    async with (
        EngagementClient(server.address, account_id="acme") as client,
        client.follow(earliest=True) as follower,
    ):
        await record(client, range(10))
        seen = await take(follower, 10)
        await server.stop()
        server = await Server.start(Config(listen=server.address, data=tmp_path / "data"))
        async with EngagementClient(server.address, account_id="acme") as other:
            await record(other, range(10, 20))
        seen += await take(follower, 10)
    assert numbers_of(seen) == list(range(20))
    await server.stop()


async def test_an_outage_that_lasts_too_long_raises_what_explains_it() -> None:
    async with (
        EngagementClient("127.0.0.1:1", account_id="acme") as client,
        client.follow(earliest=True, max_outage_seconds=0.3) as follower,
    ):
        with pytest.raises(UnavailableError):
            await anext(follower)


async def test_a_wait_that_is_cancelled_loses_nothing(client: EngagementClient) -> None:
    await record(client, range(3))
    async with client.follow(earliest=True) as follower:
        seen = await take(follower, 3)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await anext(follower)
        await record(client, range(3, 6))
        seen += await take(follower, 3)
    assert numbers_of(seen) == list(range(6))


async def test_leaving_the_context_ends_the_call_and_the_iteration(client: EngagementClient) -> None:
    await record(client, range(10))
    async with client.follow(earliest=True) as follower:
        await take(follower, 1)
    assert [stored async for stored in follower] == []


async def test_a_filter_takes_its_events_and_the_cursor_moves_past_the_others(tmp_path: Path) -> None:
    server = await Server.start(Config(listen="127.0.0.1:0", data=tmp_path / "data", heartbeat_seconds=0.1))
    wanted = v1.EventFilter(consumer_ids=["consumer-3"])
    async with (
        EngagementClient(server.address, account_id="acme") as client,
        client.follow(wanted, earliest=True) as follower,
    ):
        await record(client, range(100))
        assert numbers_of(await take(follower, 10)) == list(range(3, 100, 10))
        waiting = asyncio.create_task(take(follower, 1))
        await eventually(lambda: follower.is_caught_up, "the follower has caught up")
        behind_all = follower.cursor
        assert await follow_to_tail(client, after_cursor=behind_all) == []
        await record(client, range(104, 106))
        await eventually(lambda: follower.cursor != behind_all, "the cursor moves on")
        assert not waiting.done()
        waiting.cancel()
    await server.stop()


async def test_erasures_are_told_in_their_place_and_again_if_the_callback_fails(
    client: EngagementClient,
) -> None:
    await record(client, range(20))
    first = await anext(client.follow(earliest=True))
    await client.erase_consumer(request_id="r-1", consumer_id="consumer-0")
    await record(client, range(21, 22))
    told: list[tuple[Notice, str]] = []

    async def note(notice: Notice) -> None:
        told.append((notice, follower.cursor))
        if len(told) == 1:
            raise ZeroDivisionError

    async with client.follow(after_cursor=first.cursor, on_erasure=note) as follower:
        seen = await take(follower, 18)
        with pytest.raises(ZeroDivisionError):
            await anext(follower)
        seen += await take(follower, 1)
    assert numbers_of(seen) == [*(number for number in range(20) if number % 10), 21]
    assert len(told) == 2
    for notice, cursor in told:
        assert first.cursor in notice.erased_cursors
        assert len(notice.erased_cursors) == 2
        assert cursor == seen[-2].cursor


async def test_what_another_request_would_mend_is_raised_at_once(client: EngagementClient) -> None:
    await record(client, range(1))
    with pytest.raises(InvalidArgumentError) as caught:
        await anext(client.follow(after_cursor="nonsense"))
    assert caught.value.reason == "CURSOR_MALFORMED"
    with pytest.raises(InvalidArgumentError) as caught:
        await anext(client.follow(v1.EventFilter(text='"'), earliest=True))
    assert caught.value.reason == "FILTER_INVALID"


async def test_a_cursor_of_another_log_is_raised_at_once(tmp_path: Path, client: EngagementClient) -> None:
    await record(client, range(1))
    other = await Server.start(Config(listen="127.0.0.1:0", data=tmp_path / "other"))
    async with EngagementClient(other.address, account_id="acme") as foreign:
        await record(foreign, range(1))
        cursor = (await anext(foreign.follow(earliest=True))).cursor
    await other.stop()
    with pytest.raises(PreconditionError) as caught:
        await anext(client.follow(after_cursor=cursor))
    assert caught.value.reason == "LOG_EPOCH_CHANGED"


async def test_exactly_one_start_is_wanted(client: EngagementClient) -> None:
    with pytest.raises(TypeError):
        client.follow()
    with pytest.raises(TypeError):
        client.follow(earliest=True, after_cursor="c")


async def test_a_follower_does_not_read_ahead_of_a_slow_reader(
    server: Server, client: EngagementClient
) -> None:
    large = "x" * 40_000
    events = [good_event(number, balance=large) for number in range(600)]
    for first in range(0, len(events), 100):
        await client.record_events(events[first : first + 100])
    async with client.follow(earliest=True) as follower:
        await anext(follower)
        # It holds the rest of one batch, whose bytes are bounded; later events wait in the server.
        assert follower.lag_events == 599
        assert numbers_of(await take(follower, 599)) == list(range(1, 600))
