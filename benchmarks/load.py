"""The load generator: sends ready-made messages as fast as the server takes them, and times that.

Messages are serialized beforehand to keep the client's share of the work small.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, TypeVar

import grpc

from benchmarks.echo_server import SERVICE as ECHO_SERVICE
from engagement import v1
from engagement.uuid7 import uuid7
from engagement_server.streams.upload_answers import MAX_UNACKED_CHUNKS

ACCOUNT_ID = "benchmark"
_UPLOAD_METHOD = "/engagement.v1.IngestService/UploadEvents"

T = TypeVar("T")
if TYPE_CHECKING:
    StreamCall = grpc.aio.StreamStreamCall[bytes, T]


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls that were made by several callers at once."""

    elapsed_seconds: float
    latencies_seconds: Sequence[float]

    @property
    def per_second(self) -> float:
        """Finished calls a second."""
        return len(self.latencies_seconds) / self.elapsed_seconds


@dataclass(frozen=True, slots=True)
class Upload:
    """A finished upload."""

    elapsed_seconds: float
    """From the first chunk to the ack of the last one."""
    tally: v1.Tally


@contextmanager
def without_collections() -> Iterator[None]:
    """Keeps this process from looking for garbage among its ready-made messages while it measures."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def chunk_message(events: Sequence[v1.Event], *, sequence: int) -> bytes:
    """A chunk of an upload, ready to be sent."""
    chunk = v1.UploadEventsRequest.Chunk(sequence=sequence, events=events)
    return v1.UploadEventsRequest(chunk=chunk).SerializeToString()


def require_all_accepted(accepted: int, *, events: int) -> None:
    """Ends the run where a rate would count events that were not stored."""
    if accepted != events:
        raise RuntimeError(f"only {accepted} of {events} events were accepted")


async def time_upload(
    channel: grpc.aio.Channel, chunks: Sequence[bytes], *, events: int, account_id: str = ACCOUNT_ID
) -> float:
    """Seconds from the first chunk of an upload of its own to the ack of the last one.

    As many chunks are on the way as the server allows. Opening and finishing are not timed.
    """
    sent = await upload(channel, chunks, account_id=account_id)
    require_all_accepted(sent.tally.accepted, events=events)
    return sent.elapsed_seconds


async def upload(
    channel: grpc.aio.Channel, chunks: Sequence[bytes], *, account_id: str, keep_going: bool = False
) -> Upload:
    """Sends the chunks of an upload of its own, as many at a time as the server allows.

    With `keep_going` it goes on though every event is rejected.
    """
    call = _open_stream(channel, _UPLOAD_METHOD, read=v1.UploadEventsResponse.FromString)
    open_request = v1.UploadEventsRequest.Open(
        account_id=account_id, upload_id=uuid7(), keep_going=keep_going
    )
    await call.write(v1.UploadEventsRequest(open=open_request).SerializeToString())
    answers = aiter(call)
    opened = (await anext(answers)).opened
    with without_collections():
        start = time.perf_counter()
        await _send_through(
            call,
            chunks,
            max_unanswered=opened.max_unacked_chunks,
            answered_through=lambda _, answer: answer.ack.committed_through,
        )
        elapsed_seconds = time.perf_counter() - start
    finish = v1.UploadEventsRequest.Finish(last_sequence=len(chunks))
    await call.write(v1.UploadEventsRequest(finish=finish).SerializeToString())
    finished = (await anext(answers)).finished
    await call.done_writing()
    async for _ in answers:  # to the end of the stream, so that nothing of it is left
        pass
    return Upload(elapsed_seconds, finished.upload.tally)


async def time_echo(channel: grpc.aio.Channel, chunks: Sequence[bytes]) -> float:
    """Seconds until all chunks came back, with as many on the way as in an upload."""
    call = _open_stream(channel, f"/{ECHO_SERVICE}/Stream", read=bytes)
    with without_collections():
        start = time.perf_counter()
        await _send_through(
            call,
            chunks,
            max_unanswered=MAX_UNACKED_CHUNKS,
            answered_through=lambda through, _: through + 1,
        )
        elapsed_seconds = time.perf_counter() - start
    await call.done_writing()
    return elapsed_seconds


def _open_stream(channel: grpc.aio.Channel, method: str, *, read: Callable[[bytes], T]) -> StreamCall[T]:
    """A stream that sends bytes as they are."""
    multicallable: grpc.aio.StreamStreamMultiCallable[bytes, T] = channel.stream_stream(
        method, response_deserializer=read
    )
    return multicallable()


async def _send_through(
    call: StreamCall[T],
    messages: Sequence[bytes],
    *,
    max_unanswered: int,
    answered_through: Callable[[int, T], int],
) -> None:
    """Sends all messages and waits until the answers cover them, at most so many ahead of the answers."""
    slots = asyncio.Semaphore(max_unanswered)

    async def write() -> None:
        for message in messages:
            await slots.acquire()
            await call.write(message)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(write())
        through = 0
        while through < len(messages):
            now_through = answered_through(through, await anext(aiter(call)))
            for _ in range(now_through - through):
                slots.release()
            through = now_through


async def time_calls(
    channel: grpc.aio.Channel, method: str, *, requests: Sequence[bytes], callers: int
) -> Calls:
    """Makes one call a request, each caller one after the other, all callers at once."""
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
    numbers = count()
    latencies_seconds: list[float] = []

    async def call_repeatedly() -> None:
        while (number := next(numbers)) < len(requests):
            start = time.perf_counter()
            await call(requests[number])
            latencies_seconds.append(time.perf_counter() - start)

    with without_collections():
        start = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(callers):
                tasks.create_task(call_repeatedly())
        return Calls(time.perf_counter() - start, latencies_seconds)
