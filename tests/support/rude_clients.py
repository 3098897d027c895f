"""What tests of rude clients share: connections of their own, pages that are large, and refusals."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

import grpc

from engagement import EngagementClient, v1
from engagement.errors import error_from_rpc
from engagement_server.node import Server
from tests.support.events import customer_event
from tests.support.raw_http2 import END_STREAM, HEADERS, RST_STREAM, Frame
from tests.support.raw_upload import RawUpload, opening

if TYPE_CHECKING:
    from engagement.v1.event_service_pb2_grpc import EventServiceAsyncStub

LIST = "/engagement.v1.EventService/ListEvents"
SUBSCRIBE = "/engagement.v1.EventService/SubscribeEvents"
RECORD = "/engagement.v1.IngestService/RecordEvent"
UPLOAD = "/engagement.v1.IngestService/UploadEvents"

StartServer = Callable[..., Any]


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


async def refused_calls(frames: Iterator[Frame], *, calls: int) -> int:
    """How many of the calls have got a status, though the client reads no answer."""
    return await _count(frames, calls, lambda frame: frame.kind == RST_STREAM or _has_status(frame))


async def begun_answers(frames: Iterator[Frame], *, calls: int) -> int:
    """How many of the calls have got headers of an answer, though the client reads no answer."""
    return await _count(frames, calls, lambda frame: frame.kind == HEADERS and not _has_status(frame))


async def _count(frames: Iterator[Frame], enough: int, is_counted: Callable[[Frame], bool]) -> int:
    def count() -> int:
        return sum(1 for _ in islice(filter(is_counted, frames), enough))

    return await asyncio.to_thread(count)


def _has_status(frame: Frame) -> bool:
    return frame.kind == HEADERS and bool(frame.flags & END_STREAM)


async def takes_calls(events: EventServiceAsyncStub) -> bool:
    """Whether the server answers."""
    try:
        await events.ListEvents(v1.ListEventsRequest(account_id="acme"))
    except grpc.aio.AioRpcError:
        return False
    return True


async def first_answer(upload: RawUpload, upload_id: str) -> str:
    """Opens an upload; returns "opened", or the reason why it is refused."""
    await upload.send(opening(upload_id=upload_id))
    try:
        response = await upload.receive()
    except grpc.aio.AioRpcError as error:
        return error_from_rpc(error).reason
    return response.WhichOneof("message") or ""
