"""A client that reads nothing, sends nothing or opens too much is bounded; others are served meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from engagement import EngagementClient, v1
from engagement_server.api.grpc import running
from engagement_server.config import Config
from engagement_server.governor.memory import Pressure
from engagement_server.node import Server
from tests.support.events import customer_event
from tests.support.raw_http2 import HEADERS, RST_STREAM, RawHttp2
from tests.support.raw_subscription import RawSubscription, subscribing
from tests.support.raw_upload import RawUpload
from tests.support.refused_call import RefusedCall
from tests.support.waiting import deadline, eventually

if TYPE_CHECKING:
    from engagement.v1.event_service_pb2_grpc import EventServiceAsyncStub

_LIST = "/engagement.v1.EventService/ListEvents"
_RECORD = "/engagement.v1.IngestService/RecordEvent"
_MIB = 1024 * 1024

StartServer = Callable[..., Any]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[StartServer]:
    """Starts a server in this process with some settings."""
    async with AsyncExitStack() as ending:

        async def started(**settings: object) -> Server:
            config = Config(listen="127.0.0.1:0", data=tmp_path / "data", **settings)  # type: ignore[arg-type]
            server = await Server.start(config)
            ending.push_async_callback(server.stop)
            return server

        yield started


@asynccontextmanager
async def channel_to(server: Server) -> AsyncIterator[grpc.aio.Channel]:
    """A connection of its own."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(server.address, options=options) as channel:
        yield channel


async def fill(client: EngagementClient) -> None:
    """Records a page of 2.5 MiB."""
    balances = ["x" * 50_000] * 50
    await client.record_events(
        [customer_event(f"{number:02}", balance=balance) for number, balance in enumerate(balances)]
    )


def refused_calls(connection: RawHttp2, *, calls: int) -> int:
    """How many of the calls have got a status, though the client reads no answer."""
    count = 0
    for frame in connection.frames():
        count += frame.kind == RST_STREAM or (frame.kind == HEADERS and frame.flags & 0x1)
        if count == calls:
            break
    return count


async def takes_calls(events: EventServiceAsyncStub) -> bool:
    """Whether the server answers."""
    try:
        await events.ListEvents(v1.ListEventsRequest(account_id="acme"))
    except grpc.aio.AioRpcError:
        return False
    return True


async def test_answers_that_nobody_reads_are_bounded_and_others_get_theirs(start: StartServer) -> None:
    server = await start(max_memory="256M")
    async with EngagementClient(server.address, account_id="acme") as client:
        await fill(client)
        with RawHttp2(server.address, window_bytes=0) as rude:
            for _ in range(12):
                rude.call(_LIST, v1.ListEventsRequest(account_id="acme"))
            # A quarter of what 256 MiB leave is 32 MiB; a lone caller gets a third, of 5 MiB an answer.
            async with deadline("what there is no room for is refused"):
                assert await asyncio.to_thread(refused_calls, rude, calls=8) == 8
            assert len([stored async for stored in client.list_events()]) == 50


async def test_a_client_that_goes_away_before_its_answer_is_no_news(
    start: StartServer, caplog: pytest.LogCaptureFixture
) -> None:
    server = await start()
    async with EngagementClient(server.address, account_id="acme") as client:
        await fill(client)
        with RawHttp2(server.address, window_bytes=0) as rude:
            rude.call(_LIST, v1.ListEventsRequest(account_id="acme"))
            await eventually(lambda: bool(server.unread_answers), "the answer waits")
        await eventually(lambda: not server.unread_answers, "the call has ended")
        await client.record_event(customer_event("after"))
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_an_answer_that_stays_unread_for_too_long_is_dropped(
    start: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "UNREAD_SECONDS", 0.1)
    server = await start()
    async with EngagementClient(server.address, account_id="acme") as client:
        await fill(client)
        with RawHttp2(server.address, window_bytes=0) as rude:
            rude.call(_LIST, v1.ListEventsRequest(account_id="acme"))
            async with deadline("the call ends without its answer"):
                assert await asyncio.to_thread(refused_calls, rude, calls=1) == 1


async def test_a_message_that_does_not_arrive_ends_its_call(
    start: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "MESSAGE_SECONDS", 0.1)
    server = await start()
    with RawHttp2(server.address) as rude:
        rude.begin(_RECORD, message_bytes=8 * _MIB, data=b"\n" * 1000)
        async with deadline("the call ends"):
            assert await asyncio.to_thread(refused_calls, rude, calls=1) == 1


async def test_of_slow_messages_those_of_the_greediest_connection_end(
    start: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "_SLOW_SECONDS", 0.0)
    server = await start(max_memory="256M")
    with RawHttp2(server.address) as greedy, RawHttp2(server.address) as modest:
        modest.begin(_RECORD, message_bytes=1000, data=b"")
        for _ in range(8):
            greedy.begin(_RECORD, message_bytes=8 * _MIB, data=b"")
        # Four may arrive slowly with so little memory.
        async with deadline("the oldest end"):
            assert await asyncio.to_thread(refused_calls, greedy, calls=5) == 5
        async with EngagementClient(server.address, account_id="acme") as client:
            await client.record_event(customer_event("kept"))


async def test_calls_of_a_connection_are_limited_and_another_connection_has_its_own(
    start: StartServer,
) -> None:
    server = await start(max_calls_per_connection=3)
    async with channel_to(server) as greedy, channel_to(server) as modest:
        events = v1.EventServiceStub(greedy)
        streams = [RawSubscription(events, subscribing()) for _ in range(3)]
        for stream in streams:
            await stream.read()
        with pytest.raises(grpc.aio.AioRpcError, match="overloaded"):
            await events.ListEvents(v1.ListEventsRequest(account_id="acme"))
        await v1.EventServiceStub(modest).ListEvents(v1.ListEventsRequest(account_id="acme"))
        streams[0].call.cancel()

        await eventually(lambda: takes_calls(events), "an ended stream makes room")
        for stream in streams[1:]:
            stream.call.cancel()


async def test_under_pressure_no_call_begins_and_streams_come_back_later(
    start: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    pressure = Pressure.NONE
    monkeypatch.setattr("engagement_server.governor.memory.MemoryMeter.look", lambda _: pressure)
    server = await start()
    async with channel_to(server) as channel:
        ingest, events = v1.IngestServiceStub(channel), v1.EventServiceStub(channel)
        upload = RawUpload(ingest)
        await upload.open()
        pressure = Pressure.HARD
        async with deadline("the stream is closed"):
            closing = (await upload.receive()).closing
        assert closing.reason == v1.UploadEventsResponse.Closing.REASON_OVERLOADED
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await events.ListEvents(v1.ListEventsRequest(account_id="acme"))
        refused = RefusedCall.of(error.value)
        assert (refused.reason, refused.retry_delay_ms > 0) == ("OVERLOADED", True)
        pressure = Pressure.NONE
        await eventually(lambda: takes_calls(events), "calls are taken again")


@pytest.mark.parametrize(("size_bytes", "has_reason"), [(8 * _MIB + 1, True), (9 * _MIB + 1, False)])
async def test_a_message_that_is_too_large_is_refused(
    start: StartServer, size_bytes: int, has_reason: bool
) -> None:
    server = await start()
    async with channel_to(server) as channel:
        send: Any = channel.unary_unary(_RECORD)
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await send(bytes(size_bytes))
    code = grpc.StatusCode.INVALID_ARGUMENT if has_reason else grpc.StatusCode.RESOURCE_EXHAUSTED
    assert error.value.code() is code
    details = "grpc-status-details-bin" in dict(error.value.trailing_metadata() or ())
    assert details is has_reason
