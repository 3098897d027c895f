"""The server's side of one upload stream: reads chunks, has them committed in order, acks them.

It knows nothing of gRPC: messages come from an iterator and go to a function.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from engagement import v1
from engagement.limits import MAX_CHUNK_EVENTS, MAX_MESSAGE_BYTES
from engagement.rules import Violation
from engagement_server.errors import ChunkTooLargeError, FieldInvalidError, RequestError, UploadTakenOverError
from engagement_server.messages import tally_message, upload_message, verdict_message
from engagement_server.model import Tally, UploadState
from engagement_server.operations import ChunkCommitted, CommitChunk, FinishUpload, OpenUpload
from engagement_server.validation import admit_partly, require_valid

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from engagement_server.cursor import Cursors
    from engagement_server.log.base import CommitLog
    from engagement_server.log.committer import Committer
    from engagement_server.operations import Applied, Opening, Result

MAX_UNACKED_CHUNKS = 8
# Room for other fields beside the events of a chunk, whose message may not exceed the limit.
MAX_CHUNK_BYTES = MAX_MESSAGE_BYTES - 64 * 1024
_MAX_ACK_BYTES = 1024 * 1024
_RECONNECT_DELAY_SECONDS = 1
_CLOSING_GRACE_SECONDS = 2.0
_FAREWELL_SECONDS = 0.5

Closing = v1.UploadEventsResponse.Closing
Send = Callable[[v1.UploadEventsResponse], Awaitable[None]]


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _End:
    """No more messages come, or none is wanted; `error` says what ends the stream, if anything does."""

    error: BaseException | None = None


_Item: TypeAlias = "asyncio.Future[Result] | Closing.Reason | _End"
"""What the acks wait for, in order: a commit, a reason to close, or the end."""


class Uploads:
    """All upload streams of this server: one owner an upload, and closing them together."""

    def __init__(
        self,
        *,
        log: CommitLog,
        committer: Committer,
        cursors: Cursors,
        heartbeat_seconds: float,
        max_age_seconds: float,
    ) -> None:
        self.committer = committer
        self.cursors = cursors
        self.heartbeat_seconds = heartbeat_seconds
        self._max_age_seconds = max_age_seconds
        self._sessions: dict[tuple[str, str], UploadSession] = {}
        log.subscribe(self._take_in)

    async def serve(
        self,
        opening: v1.UploadEventsRequest.Open,
        incoming: AsyncIterator[v1.UploadEventsRequest],
        send: Send,
    ) -> None:
        """Serves one stream to its end. Raises what refuses it."""
        key = opening.account_id, opening.upload_id
        session = UploadSession(self, *key, send=send)
        if (previous := self._sessions.get(key)) is not None:
            previous.end(UploadTakenOverError(previous.upload_id))
        self._sessions[key] = session
        age_seconds = self._max_age_seconds * random.uniform(0.9, 1.1)  # noqa: S311  # spreads reconnects
        timer = asyncio.get_running_loop().call_later(age_seconds, session.close, Closing.REASON_MAX_AGE)
        try:
            await session.run(incoming)
        finally:
            timer.cancel()
            if self._sessions.get(key) is session:
                del self._sessions[key]

    def _take_in(self, applied: Applied) -> None:
        """Ends streams whose uploads were opened at another server."""
        for opening in applied.openings:
            session = self._sessions.get((opening.account_id, opening.upload_id))
            if session is not None:
                session.take_in(opening)

    def drain(self) -> None:
        """Asks all streams to end."""
        for session in self._sessions.values():
            session.close(Closing.REASON_DRAINING)


class UploadSession:
    """One stream: a reader that submits chunks, and a loop that acks them in order."""

    def __init__(self, uploads: Uploads, account_id: str, upload_id: str, *, send: Send) -> None:
        self.upload_id = upload_id
        self._account_id = account_id
        self._owner = secrets.token_hex(8)
        self._committer = uploads.committer
        self._cursors = uploads.cursors
        self._heartbeat_seconds = uploads.heartbeat_seconds
        self._send = send
        # Bounded by the slots, beside a few signals.
        self._items: deque[_Item] = deque()
        self._news = asyncio.Event()
        self._slots = asyncio.Semaphore(MAX_UNACKED_CHUNKS)
        self._reader: asyncio.Task[None] | None = None
        self._is_open = False
        self._committed_through = 0
        self._tally = Tally()

    def take_in(self, opening: Opening) -> None:
        """The upload was opened: by this stream, or by one that goes on with it."""
        if opening.owner == self._owner:
            self._is_open = True
        elif self._is_open:
            self.end(UploadTakenOverError(self.upload_id))

    def close(self, reason: Closing.Reason) -> None:
        """Asks the client to go away; what it sent is still acked."""
        self._put(reason)

    def end(self, error: RequestError) -> None:
        """Ends the stream with an error, after the acks that are due."""
        self._put(_End(error))

    def _put(self, item: _Item) -> None:
        self._items.append(item)
        self._news.set()

    async def run(self, incoming: AsyncIterator[v1.UploadEventsRequest]) -> None:
        """Serves the stream to its end. Raises what ends it."""
        await self._committer.wait_for_room()  # an upload can wait, where a single call is refused
        state = await self._committer.submit(
            OpenUpload(self._account_id, self.upload_id, self._owner), returns=UploadState
        )
        self._committed_through, self._tally = state.committed_through, state.tally
        await self._send(self._opened(state))
        if state.is_finished:
            await self._send_finished(state)
            await _let_finish(incoming)
            return
        self._reader = asyncio.create_task(self._read(incoming), name="upload-reader")
        try:
            await self._acknowledge()
        finally:
            self._reader.cancel()
            await asyncio.wait([self._reader])
            self._forget_items()

    def _forget_items(self) -> None:
        """Lets go of commits that nobody waits for any more; they are not taken back."""
        for item in self._items:
            if isinstance(item, asyncio.Future) and not item.cancel() and not item.cancelled():
                item.exception()  # else the loop complains that nobody looked at it

    async def _read(self, incoming: AsyncIterator[v1.UploadEventsRequest]) -> None:
        """Submits what the client sends, a bounded number of chunks ahead of the acks."""
        end = _End()
        try:
            while True:
                await self._slots.acquire()
                message = await anext(incoming, None)
                if message is None:
                    return
                await self._committer.wait_for_room()
                operation = self._operation(message)
                del message  # it may take megabytes, and the next one may be long in coming
                self._put(self._committer.enqueue(operation))
                if isinstance(operation, FinishUpload):
                    return
        except Exception as error:  # raised to the client behind the acks that are due
            end = _End(error)
        finally:
            self._put(end)

    def _operation(self, message: v1.UploadEventsRequest) -> CommitChunk | FinishUpload:
        """What a message asks for. Raises FieldInvalidError and ChunkTooLargeError."""
        if message.HasField("chunk"):
            events = message.chunk.events
            if len(events) > MAX_CHUNK_EVENTS:
                raise ChunkTooLargeError(count=len(events), limit=MAX_CHUNK_EVENTS, unit="events")
            sequence = message.chunk.sequence
            envelope = v1.UploadEventsRequest(chunk=v1.UploadEventsRequest.Chunk(sequence=sequence))
            batch = admit_partly(envelope, events)
            return CommitChunk(self._account_id, self.upload_id, self._owner, sequence, batch)
        require_valid(message)
        if message.HasField("open"):
            raise FieldInvalidError(
                [Violation("open", "server.upload.open_once", "must be the first message only")]
            )
        return FinishUpload(self._account_id, self.upload_id, self._owner, message.finish.last_sequence)

    async def _acknowledge(self) -> None:
        """Acks what is committed, in order, until the stream ends."""
        while True:
            item = await self._next_item()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            if not isinstance(item, asyncio.Future):
                await self._send_closing(item)
                continue
            result = await self._with_heartbeats(item)
            if isinstance(result, ChunkCommitted):
                await self._send_acks([result, *self._more_committed()])
            elif isinstance(result, UploadState):
                await self._send_finished(result)
                return

    async def _next_item(self) -> _Item:
        while not self._items:
            self._news.clear()
            await self._with_heartbeats(self._news.wait())
        return self._items.popleft()

    def _more_committed(self) -> Iterator[ChunkCommitted]:
        """The chunks behind an acked one that were committed with it, so that one ack covers them."""
        while self._items:
            item = self._items[0]
            if not isinstance(item, asyncio.Future) or not item.done() or item.exception() is not None:
                return
            result = item.result()
            if not isinstance(result, ChunkCommitted):
                return
            self._items.popleft()
            yield result

    async def _with_heartbeats(self, awaitable: Awaitable[T]) -> T:
        """Waits, and tells the client meanwhile that the server lives."""
        future = asyncio.ensure_future(awaitable)
        try:
            while not (await asyncio.wait([future], timeout=self._heartbeat_seconds))[0]:
                await self._send(self._ack())
            return future.result()
        finally:
            future.cancel()

    async def _send_acks(self, chunks: Sequence[ChunkCommitted]) -> None:
        """Sends one ack for the chunks, or more where their results would make it too large.

        An ack covers a chunk only once all of the chunk's results are sent.
        """
        ack = self._ack()
        size_bytes = 0
        for chunk in chunks:
            for verdict in chunk.not_accepted:
                result = verdict_message(verdict, cursors=self._cursors)
                size_bytes += result.ByteSize()
                if size_bytes > _MAX_ACK_BYTES:
                    await self._send(ack)
                    ack, size_bytes = self._ack(), 0
                ack.ack.results.add(chunk_sequence=chunk.sequence, result=result)
            self._committed_through, self._tally = chunk.committed_through, chunk.tally
            ack.ack.committed_through = self._committed_through
            ack.ack.tally.CopyFrom(tally_message(self._tally))
        await self._send(ack)
        for _ in chunks:
            self._slots.release()

    def _ack(self) -> v1.UploadEventsResponse:
        ack = v1.UploadEventsResponse.Ack(
            committed_through=self._committed_through, tally=tally_message(self._tally)
        )
        return v1.UploadEventsResponse(ack=ack)

    def _opened(self, state: UploadState) -> v1.UploadEventsResponse:
        opened = v1.UploadEventsResponse.Opened(
            committed_through=state.committed_through,
            max_chunk_events=MAX_CHUNK_EVENTS,
            max_chunk_bytes=MAX_CHUNK_BYTES,
            max_unacked_chunks=MAX_UNACKED_CHUNKS,
        )
        opened.heartbeat_interval.FromMilliseconds(int(self._heartbeat_seconds * 1000))
        return v1.UploadEventsResponse(opened=opened)

    async def _send_closing(self, reason: Closing.Reason) -> None:
        closing = Closing(reason=reason)
        closing.reconnect_delay.FromSeconds(_RECONNECT_DELAY_SECONDS)
        await self._send(v1.UploadEventsResponse(closing=closing))
        if self._reader is not None:
            # The client half-closes when it has read this; one that does not is cut off.
            asyncio.get_running_loop().call_later(_CLOSING_GRACE_SECONDS, self._reader.cancel)

    async def _send_finished(self, state: UploadState) -> None:
        finished = v1.UploadEventsResponse.Finished(upload=upload_message(state))
        await self._send(v1.UploadEventsResponse(finished=finished))


def require_opening(message: v1.UploadEventsRequest) -> v1.UploadEventsRequest.Open:
    """The opening, which must be the first message of a stream. Raises FieldInvalidError."""
    require_valid(message)
    if not message.HasField("open"):
        raise FieldInvalidError(
            [Violation("open", "server.upload.open_first", "must be the first message of the stream")]
        )
    return message.open


async def _let_finish(incoming: AsyncIterator[v1.UploadEventsRequest]) -> None:
    """Reads to the end, for a moment: to some libraries a stream that ends while they write has failed."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_FAREWELL_SECONDS):
            async for message in incoming:
                if message.HasField("finish"):
                    return
