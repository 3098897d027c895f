"""Under pressure on memory a server takes no calls, and ends streams of one connection after another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest

from engagement import v1
from engagement_server.api.grpc import running
from engagement_server.governor.memory import Pressure
from tests.support.calls import one
from tests.support.events import customer_event
from tests.support.raw_http2 import RawHttp2
from tests.support.raw_subscription import RawSubscription, kinds, subscribing
from tests.support.raw_upload import RawUpload, chunk, opening
from tests.support.refused_call import expect_refused
from tests.support.rude_clients import (
    SUBSCRIBE,
    UPLOAD,
    StartServer,
    begun_answers,
    channel_to,
    refused_calls,
    takes_calls,
)
from tests.support.waiting import deadline, eventually

if TYPE_CHECKING:
    from engagement.v1.event_service_pb2_grpc import EventServiceAsyncStub


async def test_under_pressure_no_call_begins_and_streams_come_back_later(
    start: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    pressure = Pressure.NONE
    monkeypatch.setattr("engagement_server.governor.memory.MemoryMeter.look", lambda _: pressure)
    server = await start()
    async with channel_to(server) as channel, channel_to(server) as followed:
        ingest, events = v1.IngestServiceStub(channel), v1.EventServiceStub(channel)
        upload = RawUpload(ingest)
        await upload.open()
        follower = RawSubscription(v1.EventServiceStub(followed), subscribing())
        await follower.read_until("caught_up")

        pressure = Pressure.SOFT
        await eventually(lambda: refuses_calls(events), "calls are refused")
        listing = events.ListEvents(v1.ListEventsRequest(account_id="acme"))
        recording = ingest.RecordEvent(one(customer_event("refused")))
        for refused in (await expect_refused(listing), await expect_refused(recording)):
            assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "OVERLOADED")
            assert refused.retry_delay_ms > 0
        # Those that run go on.
        await upload.send(chunk(1, customer_event("uploaded")))
        await upload.receive_acks(1)
        assert await follower.read_ids(1) == ["uploaded"]

        pressure = Pressure.HARD
        async with deadline("the streams are closed"):
            upload_closing = (await upload.receive()).closing
        assert upload_closing.reason == v1.UploadEventsResponse.Closing.REASON_OVERLOADED
        closing = (await follower.read_until("closing"))[-1]
        assert closing.closing.reason == v1.SubscribeEventsResponse.Closing.REASON_OVERLOADED
        assert closing.closing.reconnect_delay.ToMilliseconds() > 0
        assert closing.cursor

        pressure = Pressure.NONE
        await eventually(lambda: takes_calls(events), "calls are taken again")
        again = RawSubscription(events, subscribing(after_cursor=closing.cursor))
        assert kinds(await again.read_until("caught_up")) == ["started", "caught_up"]
        again.call.cancel()


async def refuses_calls(events: EventServiceAsyncStub) -> bool:
    """Whether the server takes no call."""
    return not await takes_calls(events)


async def test_under_hard_pressure_streams_that_do_not_end_are_reset_and_other_connections_have_their_turn(
    start: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    pressure = Pressure.NONE
    monkeypatch.setattr("engagement_server.governor.memory.MemoryMeter.look", lambda _: pressure)
    monkeypatch.setattr(running, "_CLOSING_SECONDS", 0.5)
    server = await start()
    async with channel_to(server) as modest:
        with RawHttp2(server.address, window_bytes=0) as rude:
            rude.call(SUBSCRIBE, subscribing())
            rude.call(SUBSCRIBE, subscribing())
            rude.begin(UPLOAD, message_bytes=opening().ByteSize(), data=opening().SerializeToString())
            frames = rude.frames()
            async with deadline("the streams send"):
                assert await begun_answers(frames, calls=3) == 3
            upload = RawUpload(v1.IngestServiceStub(modest))
            await upload.open()
            pressure = Pressure.HARD
            async with deadline("the streams are reset"):
                assert await refused_calls(frames, calls=3) == 3
            closing = (await upload.receive()).closing
    assert closing.reason == v1.UploadEventsResponse.Closing.REASON_OVERLOADED


class Process:
    """What the server takes, as the test says."""

    def __init__(self) -> None:
        self.resident_bytes = self.looks = 0

    def look(self) -> int:
        self.looks += 1
        return self.resident_bytes

    async def grow(self) -> None:
        """Takes 900 MiB; returns when the server has noticed, and has given back what it could."""
        self.resident_bytes, self.looks = 900 * 1024 * 1024, 0
        await eventually(lambda: self.looks > 4, "the process was looked at")


@pytest.fixture
async def process(monkeypatch: pytest.MonkeyPatch) -> Process:
    process = Process()
    monkeypatch.setattr("engagement_server.governor.memory.process_bytes", process.look)
    return process


async def test_a_follower_that_waits_is_no_reason_to_refuse_calls(
    start: StartServer, process: Process
) -> None:
    server = await start(max_memory="1G")
    async with channel_to(server) as followed, channel_to(server) as channel:
        follower = RawSubscription(v1.EventServiceStub(followed), subscribing())
        await follower.read_until("caught_up")
        await process.grow()
        assert await takes_calls(v1.EventServiceStub(channel))
        follower.call.cancel()


@pytest.mark.parametrize("method", [SUBSCRIBE, UPLOAD])
async def test_streams_that_may_hold_messages_are_under_way(
    start: StartServer, process: Process, method: str
) -> None:
    server = await start(max_memory="1G")
    async with channel_to(server) as channel:
        events = v1.EventServiceStub(channel)
        # The subscription has an unread message; the upload may have a part of its next one.
        window_bytes, request = (0, subscribing()) if method == SUBSCRIBE else (65_535, opening())
        with RawHttp2(server.address, window_bytes=window_bytes) as rude:
            rude.begin(method, message_bytes=request.ByteSize(), data=request.SerializeToString())
            async with deadline("the stream sends"):
                assert await begun_answers(rude.frames(), calls=1) == 1
            await process.grow()
            assert not await takes_calls(events)
        await eventually(lambda: takes_calls(events), "calls are taken without the stream")
