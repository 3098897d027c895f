"""Streams that are idle or unread are bounded, and hold up no other."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from engagement import EngagementClient, v1
from engagement_server.api.grpc import call as grpc_call
from engagement_server.api.grpc import methods
from engagement_server.streams import upload
from tests.support.events import customer_event, customer_events
from tests.support.raw_http2 import DATA, END_STREAM, HEADERS, RST_STREAM, RawHttp2
from tests.support.raw_subscription import RawSubscription, ids, subscribing
from tests.support.raw_upload import RawUpload, chunk, finish, opening
from tests.support.rude_clients import (
    SUBSCRIBE,
    UPLOAD,
    StartServer,
    channel_to,
    fill,
    first_answer,
    refused_calls,
)
from tests.support.waiting import deadline

_MIB = 1024 * 1024


async def test_open_uploads_have_a_limit_and_leave_room_for_other_connections(start: StartServer) -> None:
    server = await start(max_memory="256M")
    async with channel_to(server) as rude, channel_to(server) as other:
        uploads = [RawUpload(v1.IngestServiceStub(rude)) for _ in range(45)]
        opened = [await first_answer(upload, f"rude-{number}") for number, upload in enumerate(uploads)]
        assert 0 < opened.count("OVERLOADED") < len(opened)
        modest = RawUpload(v1.IngestServiceStub(other))
        assert await first_answer(modest, "modest") == "opened"


async def test_idle_uploads_hold_up_no_other(start: StartServer) -> None:
    server = await start(max_memory="1G")
    async with channel_to(server) as channel:
        ingest = v1.IngestServiceStub(channel)
        idle = [RawUpload(ingest) for _ in range(50)]
        for number, upload in enumerate(idle):
            assert await first_answer(upload, f"idle-{number}") == "opened"
            await upload.send(chunk(1, customer_event(f"idle-{number}")))
            await upload.receive_acks(1)
        busy = RawUpload(ingest)
        await busy.open()
        await busy.send(*(chunk(number, customer_event(f"{number}")) for number in range(1, 21)), finish(20))
        await busy.receive_acks(20)
        assert (await busy.receive()).finished.upload.tally.accepted == 20
        for upload in idle:
            await upload.send(finish(1))
            assert (await upload.receive()).finished.upload.tally.accepted == 1


@pytest.mark.parametrize("method", [SUBSCRIBE, UPLOAD])
async def test_a_stream_whose_client_reads_nothing_for_too_long_is_reset_and_others_are_not(
    start: StartServer, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setattr(grpc_call, "UNREAD_SECONDS", 0.2)
    server = await start()
    async with EngagementClient(server.address, account_id="acme") as client, channel_to(server) as channel:
        await fill(client)
        reading = RawSubscription(v1.EventServiceStub(channel), subscribing())
        await reading.read_until("caught_up")
        with RawHttp2(server.address, window_bytes=0) as rude:
            rude.call(method, subscribing() if method == SUBSCRIBE else opening())
            async with deadline("the stream is reset"):
                assert await refused_calls(rude.frames(), calls=1) == 1
        await client.record_event(customer_event("after"))
        assert await reading.read_ids(1) == ["after"]
        reading.call.cancel()


async def test_a_subscription_that_was_reset_unread_is_resumed_without_a_gap(
    start: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await start()
    async with EngagementClient(server.address, account_id="acme") as client:
        await client.record_events(customer_events(3))
        # The window takes these, and not the page behind them.
        with RawHttp2(server.address) as rude, monkeypatch.context() as impatient:
            impatient.setattr(grpc_call, "UNREAD_SECONDS", 0.2)
            rude.call(SUBSCRIBE, subscribing())
            await fill(client)
            async with deadline("the stream is reset"):
                messages = await asyncio.to_thread(received_messages, rude)
        read = [v1.SubscribeEventsResponse.FromString(message) for message in messages]
        follower = client.follow(after_cursor=read[-1].cursor, stop_at_tail=True)
        followed = ids(read) + [stored.event.event_id async for stored in follower]
        assert len(ids(read)) >= 3
        assert followed == [stored.event.event_id async for stored in client.list_events()]


def received_messages(rude: RawHttp2) -> Sequence[bytes]:
    """All messages of the only call, once it has ended."""
    received = b""
    for frame in rude.frames():
        received += frame.payload if frame.kind == DATA else b""
        if frame.kind == RST_STREAM or (frame.kind == HEADERS and frame.flags & END_STREAM):
            break
    messages = []
    while len(received) >= 5 and len(received) >= (end := 5 + int.from_bytes(received[1:5], "big")):
        messages.append(received[5:end])
        received = received[end:]
    return messages


async def test_an_upload_whose_next_chunk_does_not_arrive_is_closed(
    start: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(methods, "SILENT_SECONDS", 0.1)
    monkeypatch.setattr(upload, "GRACE_SECONDS", 0.1)
    server = await start()
    with RawHttp2(server.address) as rude:
        message = opening().SerializeToString()
        chunk = b"\0" + _MIB.to_bytes(4, "big") + bytes(1000)
        rude.begin(UPLOAD, message_bytes=len(message), data=message + chunk)
        async with deadline("the stream ends"):
            assert await refused_calls(rude.frames(), calls=1) == 1
