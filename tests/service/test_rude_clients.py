"""A client that reads nothing, sends nothing or opens too much is bounded; others are served meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from benchmarks.raw_connection import RawConnection, call_headers
from engagement import EngagementClient, v1
from engagement.v1 import event_service_pb2
from engagement_server import node
from engagement_server.api.events import EventHandlers
from engagement_server.api.grpc import answers, running
from engagement_server.api.grpc.methods import service_handler
from engagement_server.api.grpc.running import CallLimits, RunningCalls
from engagement_server.api.observers import Observers
from engagement_server.config import Config
from tests.support.events import customer_event
from tests.support.raw_http2 import END_STREAM, HEADERS, RST_STREAM, RawHttp2
from tests.support.raw_subscription import RawSubscription, subscribing
from tests.support.rude_clients import (
    LIST,
    RECORD,
    StartServer,
    channel_to,
    fill,
    refused_calls,
    takes_calls,
)
from tests.support.waiting import DEADLINE_SECONDS, deadline, eventually

if TYPE_CHECKING:
    from engagement_server.api.call import Call

_MIB = 1024 * 1024
# More than the library would hold by itself, and fewer than it does.
MANY_CALLS = 1_900
GET_SERVER_INFO = call_headers("/engagement.v1.ServerService/GetServerInfo")


async def test_answers_that_nobody_reads_are_bounded_and_others_get_theirs(start: StartServer) -> None:
    server = await start(max_memory="256M")
    async with EngagementClient(server.address, account_id="acme") as client:
        await fill(client)
        with RawHttp2(server.address, window_bytes=0) as rude:
            for _ in range(12):
                rude.call(LIST, v1.ListEventsRequest(account_id="acme"))
            # A quarter of what 256 MiB leave is 32 MiB; a lone caller gets a third, of 5 MiB an answer.
            async with deadline("what there is no room for is refused"):
                assert await refused_calls(rude.frames(), calls=8) == 8
            assert len([stored async for stored in client.list_events()]) == 50


async def test_a_connection_beyond_the_limit_is_not_taken(start: StartServer) -> None:
    server = await start(max_connections=2)
    async with channel_to(server) as first, channel_to(server) as second, channel_to(server) as third:
        assert await takes_calls(v1.EventServiceStub(first))
        assert await takes_calls(v1.EventServiceStub(second))
        assert not await takes_calls(v1.EventServiceStub(third))
        assert await takes_calls(v1.EventServiceStub(first))


class SlowPages(EventHandlers):
    """Lists of 3 MiB, whose reads last until the gate opens."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.reads = 0

    async def list_events(self, request: v1.ListEventsRequest, call: Call) -> bytes:
        self.reads += 1
        await self.gate.wait()
        return bytes(3 * _MIB)


@asynccontextmanager
async def fifty_lists(pages: SlowPages) -> AsyncIterator[RawHttp2]:
    """A client that begins fifty lists and reads nothing, of a server with 32 MiB for answers."""
    calls = RunningCalls(view_time_ms=lambda _: None, limits=CallLimits(1000, 1000, 10, 32 * _MIB))
    service = event_service_pb2.DESCRIPTOR.services_by_name["EventService"]
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([service_handler(service, pages, running=calls, observers=Observers())])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        with RawHttp2(f"127.0.0.1:{port}", window_bytes=0) as rude:
            for _ in range(50):
                rude.call(LIST, v1.ListEventsRequest(account_id="acme"))
            yield rude
    finally:
        await server.stop(None)


async def test_answers_without_room_are_refused_before_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "TURN_SECONDS", 60.0)
    pages = SlowPages()
    async with fifty_lists(pages) as rude:
        await eventually(lambda: pages.reads >= answers.MAX_READS_OF_CONNECTION, "the first reads run")
        pages.gate.set()
        async with deadline("what there is no room for is refused"):
            assert await refused_calls(rude.frames(), calls=48) == 48
        assert pages.reads == answers.MAX_READS_OF_CONNECTION


async def test_reads_that_take_long_do_not_hold_up_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "TURN_SECONDS", 0.05)
    pages = SlowPages()
    async with fifty_lists(pages):
        await eventually(lambda: pages.reads > 3 * answers.MAX_READS_OF_CONNECTION, "further reads run")


async def test_a_write_is_not_refused_for_lack_of_room_for_its_answer(start: StartServer) -> None:
    server = await start(max_memory="256M")
    async with EngagementClient(server.address, account_id="acme") as client, AsyncExitStack() as opened:
        await fill(client)
        # Together they take all 32 MiB: each connection may take as much as is left beside it.
        for unread in (3, 2, 1, 1):
            rude = opened.enter_context(RawHttp2(server.address, window_bytes=0))
            for _ in range(4):
                rude.call(LIST, v1.ListEventsRequest(account_id="acme"))
            async with deadline("those that there is no room for are refused"):
                assert await refused_calls(rude.frames(), calls=4 - unread) == 4 - unread
        channel = await opened.enter_async_context(channel_to(server))
        with pytest.raises(grpc.aio.AioRpcError, match="overloaded"):
            await v1.EventServiceStub(channel).ListEvents(v1.ListEventsRequest(account_id="acme"))
        new = [customer_event(f"new-{number}") for number in range(500)]
        request = v1.RecordEventsRequest(account_id="acme", events=new)
        response = await v1.IngestServiceStub(channel).RecordEvents(request)
        assert response.ByteSize() > 16 * 1024
        assert response.tally.accepted == 500


async def test_a_client_that_goes_away_before_its_answer_is_no_news(
    start: StartServer, caplog: pytest.LogCaptureFixture
) -> None:
    server = await start()
    async with EngagementClient(server.address, account_id="acme") as client:
        await fill(client)
        with RawHttp2(server.address, window_bytes=0) as rude:
            rude.call(LIST, v1.ListEventsRequest(account_id="acme"))
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
            rude.call(LIST, v1.ListEventsRequest(account_id="acme"))
            async with deadline("the call ends without its answer"):
                assert await refused_calls(rude.frames(), calls=1) == 1


async def test_a_message_that_does_not_arrive_ends_its_call(
    start: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "MESSAGE_SECONDS", 0.1)
    server = await start()
    with RawHttp2(server.address) as rude:
        rude.begin(RECORD, message_bytes=8 * _MIB, data=b"\n" * 1000)
        async with deadline("the call ends"):
            assert await refused_calls(rude.frames(), calls=1) == 1


async def test_of_slow_messages_those_of_the_greediest_connection_end(
    start: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "_SLOW_SECONDS", 0.0)
    server = await start(max_memory="256M")
    with RawHttp2(server.address) as greedy, RawHttp2(server.address) as modest:
        modest.begin(RECORD, message_bytes=1000, data=b"")
        for _ in range(8):
            greedy.begin(RECORD, message_bytes=8 * _MIB, data=b"")
        # Four may arrive slowly with so little memory.
        async with deadline("the oldest end"):
            assert await refused_calls(greedy.frames(), calls=5) == 5
        async with EngagementClient(server.address, account_id="acme") as client:
            await client.record_event(customer_event("kept"))


async def test_calls_whose_message_has_not_come_count_for_their_connection(start: StartServer) -> None:
    server = await start(max_calls_per_connection=3)
    async with channel_to(server) as channel:
        with RawHttp2(server.address) as rude:
            for _ in range(10):
                rude.begin(RECORD, message_bytes=1000, data=b"")
            async with deadline("those beyond the limit are refused"):
                assert await refused_calls(rude.frames(), calls=7) == 7
            assert await takes_calls(v1.EventServiceStub(channel))


async def test_calls_without_a_message_leave_room_for_those_of_others(
    start: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node, "_MAX_UNARY_CALLS", 20)
    server = await start()
    async with channel_to(server) as channel:
        with RawHttp2(server.address) as rude:
            for _ in range(30):
                rude.begin(RECORD, message_bytes=1000, data=b"")
            # A connection may have as many calls as are left beside it.
            async with deadline("those beyond half of the limit are refused"):
                assert await refused_calls(rude.frames(), calls=20) == 20
            assert await takes_calls(v1.EventServiceStub(channel))


async def test_calls_that_come_faster_than_they_begin_are_answered_or_refused_with_a_delay(
    start: StartServer,
) -> None:
    server = await start()
    ends: list[bytes] = []

    def on_frame(kind: int, flags: int, _stream: int, payload: bytes) -> None:
        if kind == RST_STREAM or (kind == HEADERS and flags & END_STREAM):
            ends.append(payload)

    connection = await RawConnection.connected(server.address, on_frame)
    await eventually(lambda: connection.is_open, "the connection is open")
    for _ in range(MANY_CALLS):  # without a pause: the server begins none of them meanwhile
        connection.request(GET_SERVER_INFO, b"")
    await eventually(lambda: len(ends) == MANY_CALLS, "all calls have ended")
    connection.close()
    refused = [end for end in ends if b"grpc-status\x010" not in end]
    assert [end for end in refused if b"grpc-retry-pushback-ms" not in end] == []


async def test_a_call_without_a_message_does_not_hold_up_a_stop(tmp_path: Path) -> None:
    config = Config(listen="127.0.0.1:0", data=tmp_path / "data", stop_grace_seconds=60.0)
    server = await node.Server.start(config)
    async with channel_to(server) as channel:
        with RawHttp2(server.address) as rude:
            rude.begin(RECORD, message_bytes=1000, data=b"")
            assert await takes_calls(v1.EventServiceStub(channel))
            stopping = asyncio.create_task(server.stop())
            done, _ = await asyncio.wait([stopping], timeout=DEADLINE_SECONDS)
        await stopping
        assert done


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


@pytest.mark.parametrize(("size_bytes", "has_reason"), [(8 * _MIB + 1, True), (9 * _MIB + 1, False)])
async def test_a_message_that_is_too_large_is_refused(
    start: StartServer, size_bytes: int, has_reason: bool
) -> None:
    server = await start()
    async with channel_to(server) as channel:
        send: Any = channel.unary_unary(RECORD)
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await send(bytes(size_bytes))
    code = grpc.StatusCode.INVALID_ARGUMENT if has_reason else grpc.StatusCode.RESOURCE_EXHAUSTED
    assert error.value.code() is code
    details = "grpc-status-details-bin" in dict(error.value.trailing_metadata() or ())
    assert details is has_reason
