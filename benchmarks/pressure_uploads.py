"""Neighbours that upload: much, under many names, or only what is refused."""

from __future__ import annotations

import asyncio
import contextlib
from itertools import count
from typing import Final

import grpc

from benchmarks.events import EventSource
from benchmarks.load import chunk_message
from benchmarks.pressure_load import Load, connection, reason_of
from benchmarks.text_events import TextEvents, event_id
from engagement import v1
from engagement.uuid7 import uuid7

Request = v1.UploadEventsRequest
Response = v1.UploadEventsResponse
_METHOD: Final = "/engagement.v1.IngestService/UploadEvents"
_FAREWELL_SECONDS: Final = 10
_CROWD_EVENTS: Final = 20
_CROWD_ACCOUNTS: Final = 1_000
_INVALID_EVENTS: Final = 500
# Beside the events in the message of a chunk.
_ENVELOPE_BYTES: Final = 1_024


async def upload(load: Load) -> None:
    """Streams of events of a size, as many chunks on the way as the server allows, over one connection.

    Options: `streams`, `event_bytes`, `account`.
    """
    load.unit = "events"
    events = TextEvents(load.options["event_bytes"])
    async with connection(load.address) as channel:
        await load.begin()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(load.options["streams"]):
                tasks.create_task(_upload_on(load, channel, events))


async def crowd(load: Load) -> None:
    """Streams that each upload a few events in one account after another. Option: `streams`."""
    load.unit = "uploads"
    events = TextEvents(load.options["event_bytes"])
    numbers = count()
    async with connection(load.address) as channel:
        await load.begin()

        async def upload_one(_: int) -> None:
            account_id = f"crowd-{next(numbers) % _CROWD_ACCOUNTS}"
            stream = Stream(load, channel, account_id)
            message, events_sent = events.chunk(
                stream.upload_id, sequence=1, max_events=_CROWD_EVENTS, max_bytes=_ENVELOPE_BYTES * 1_000
            )
            await stream.upload_all(message, events_sent)

        await load.repeat(load.options["streams"], upload_one)


async def invalid(load: Load) -> None:
    """Streams whose events all break rules. Option: `streams`."""
    load.unit = "events"
    async with connection(load.address) as channel:
        # Serialized once: the server has to look at each copy all the same.
        message = chunk_message([_invalid_event(number) for number in range(_INVALID_EVENTS)], sequence=1)
        await load.begin()

        async def upload_many(number: int) -> None:
            stream = Stream(load, channel, "invalid", keeps_going=True)
            await stream.repeat(_InvalidChunks(message))
            load.done -= 1  # it counts events

        await load.repeat(load.options["streams"], upload_many)


class _InvalidChunks:
    """The same events again and again."""

    def __init__(self, message: bytes) -> None:
        self._chunk = Request.FromString(message).chunk

    def chunk(self, _: str, *, sequence: int, max_events: int, max_bytes: int) -> tuple[bytes, int]:
        self._chunk.sequence = sequence
        return Request(chunk=self._chunk).SerializeToString(), len(self._chunk.events)


class Stream:
    """One upload over one stream."""

    def __init__(
        self, load: Load, channel: grpc.aio.Channel, account_id: str, *, keeps_going: bool = False
    ) -> None:
        self.upload_id = uuid7()
        self._load = load
        self._account_id = account_id
        self._opening = Request.Open(account_id=account_id, upload_id=self.upload_id, keep_going=keeps_going)
        open_stream: grpc.aio.StreamStreamMultiCallable[bytes, Response] = channel.stream_stream(
            _METHOD, response_deserializer=Response.FromString
        )
        self._call = open_stream()
        self._acked_through = 0
        self._accepted = 0
        self._answered = 0
        self._ended = asyncio.Event()

    async def repeat(self, events: TextEvents | _InvalidChunks) -> None:
        """Uploads until the measurement or the stream ends. Raises AioRpcError if the server refuses."""
        opened = await self._open()
        slots = asyncio.Semaphore(opened.max_unacked_chunks)
        writer = asyncio.create_task(self._write(events, opened, slots))
        try:
            await self._read(slots)
        finally:
            writer.cancel()
            await asyncio.wait([writer])
            self._call.cancel()
            self._note()

    async def upload_all(self, message: bytes, events: int) -> None:
        """Uploads one chunk and finishes. Raises AioRpcError if the server refuses."""
        await self._open()
        finish = Request(finish=Request.Finish(last_sequence=1)).SerializeToString()
        with contextlib.suppress(asyncio.InvalidStateError):  # reading tells why the stream has ended
            await self._call.write(message)
            await self._call.write(finish)
            await self._call.done_writing()
        async for answer in self._call:
            if answer.HasField("finished"):
                self._accepted = answer.finished.upload.tally.accepted
                self._acked_through = 1
                if self._accepted != events:
                    raise RuntimeError(f"only {self._accepted} of {events} events were accepted")
        self._note()

    async def _open(self) -> Response.Opened:
        with contextlib.suppress(asyncio.InvalidStateError):  # reading tells why the stream has ended
            await self._call.write(Request(open=self._opening).SerializeToString())
        return (await anext(aiter(self._call))).opened

    async def _write(
        self, events: TextEvents | _InvalidChunks, opened: Response.Opened, slots: asyncio.Semaphore
    ) -> None:
        """Sends chunks until the end, and half-closes."""
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):  # reading tells why
            for sequence in count(1):
                await slots.acquire()
                if self._load.is_over or self._ended.is_set():
                    break
                message, _ = events.chunk(
                    self.upload_id,
                    sequence=sequence,
                    max_events=opened.max_chunk_events,
                    max_bytes=opened.max_chunk_bytes - _ENVELOPE_BYTES,
                )
                await self._call.write(message)
            await self._call.done_writing()

    async def _read(self, slots: asyncio.Semaphore) -> None:
        """Reads to the end of the stream."""
        watching = asyncio.create_task(self._cut_off())
        try:
            async for answer in self._call:
                if answer.HasField("ack"):
                    self._take_in(answer.ack, slots)
                elif answer.HasField("closing"):
                    reason = Response.Closing.Reason.Name(answer.closing.reason)
                    self._load.refused[f"closing {reason}"] += 1
                    self._ended.set()
                    slots.release()
        except asyncio.CancelledError:
            if not self._load.is_over:
                raise
        finally:
            watching.cancel()

    async def _cut_off(self) -> None:
        """Ends the stream if the server takes too long for what was sent before the end."""
        await self._load.end()
        await asyncio.sleep(_FAREWELL_SECONDS)
        self._call.cancel()

    def _take_in(self, ack: Response.Ack, slots: asyncio.Semaphore) -> None:
        for _ in range(ack.committed_through - self._acked_through):
            slots.release()
        self._acked_through = ack.committed_through
        answered = ack.tally.accepted + ack.tally.rejected
        if not self._load.is_over:
            self._load.done += answered - self._answered
        self._answered = answered
        self._accepted = ack.tally.accepted

    def _note(self) -> None:
        if not self._acked_through:
            return
        self._load.uploads.append((self._account_id, self.upload_id, self._accepted))
        if self._accepted:
            for sequence in (1, self._acked_through):
                self._load.sample(self._account_id, event_id(self.upload_id, sequence, 0))


async def _upload_on(load: Load, channel: grpc.aio.Channel, events: TextEvents) -> None:
    """Uploads until the end; opens the next upload if one is refused or closed."""
    while not load.is_over:
        try:
            await Stream(load, channel, load.options["account"]).repeat(events)
        except grpc.aio.AioRpcError as error:
            load.refused[reason_of(error)] += 1
            await load.pause()


def _invalid_event(number: int) -> v1.Event:
    """An event with several faults, each of another kind."""
    (event,) = EventSource().take(1)
    event.event_id = ""
    event.consumer_id = "\0"
    event.source = "s" * 65
    event.customer_info.last_payment_date.month = 13
    event.customer_info.server_time_stamp = number + 1
    return event
