"""The server's side of one upload stream: reads chunks, commits them in order, and acks them.

It knows nothing of gRPC: messages come from an iterator and go to a function.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar, cast

from engagement import v1
from engagement.rules import Violation
from engagement_server.errors import DrainingError, FieldInvalidError, UploadTakenOverError
from engagement_server.messages import fill_result, source_digest, tally_message
from engagement_server.model import Tally, UploadState
from engagement_server.operations import AbandonUpload, ChunkCommitted, CommitChunk, FinishUpload, OpenUpload
from engagement_server.streams.allowance import Throttle
from engagement_server.streams.chunk_spans import chunk_span, describe
from engagement_server.streams.chunks import Chunks
from engagement_server.streams.closing import GRACE_SECONDS, Cause
from engagement_server.streams.rejection_guard import RejectionGuard
from engagement_server.streams.upload_answers import (
    MAX_UNACKED_CHUNKS,
    ack_message,
    closing_message,
    finished_message,
    opened_message,
)
from engagement_server.streams.upload_rejections import UploadRejections, describe_invalid
from engagement_server.validation import require_valid

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from engagement_server.governor.turns import Caller
    from engagement_server.metrics.rejections import Rejections
    from engagement_server.operations import Result
    from engagement_server.producer import Producer
    from engagement_server.streams.allowance import Allowance
    from engagement_server.streams.uploads import Uploads

_MAX_ACK_BYTES = 1024 * 1024
_FAREWELL_SECONDS = 0.5

Closing = v1.UploadEventsResponse.Closing
Send = Callable[[v1.UploadEventsResponse], Awaitable[None]]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _End:
    """The end of the stream; `error` is the reason, if there is one."""

    error: BaseException | None = None


_Due: TypeAlias = "asyncio.Future[Result] | Closing.Reason | _End"
"""What a stream answers, in order: a commit, a reason to close, or the end."""


class UploadSession:
    """One stream: a reader that submits chunks, and a loop that acks them in order."""

    def __init__(  # noqa: PLR0913  # all but two are named at the call
        self,
        uploads: Uploads,
        opening: v1.UploadEventsRequest.Open,
        *,
        send: Send,
        caller: Caller,
        producer: Producer,
        allowance: Allowance | None,
        rejections: Rejections,
    ) -> None:
        self.upload_id = opening.upload_id
        self._account_id = opening.account_id
        self._source_name = opening.source_name
        self._keeps_going = opening.keep_going
        self._admission = uploads.admission
        self._owner = secrets.token_hex(8)
        self._committer = uploads.committer
        self._cursors = uploads.cursors
        self._heartbeat_seconds = uploads.heartbeat_seconds
        self._send = send
        self._caller = caller
        self._producer = producer
        self._throttle = Throttle(allowance)
        self._rejections = rejections
        # Bounded by the slots, plus a few reasons to close.
        self._due: deque[_Due] = deque()
        self._arrival = asyncio.Event()
        self._slots = asyncio.Semaphore(MAX_UNACKED_CHUNKS)
        self._acked_chunks = 0  # whose slots are not free yet
        self._reader: asyncio.Task[None] | None = None
        self._is_opening = False
        """Whether the log may open the upload for this stream."""
        self._is_open = False
        """Whether it did."""
        self._is_finished = False
        self._has_rights = True
        self._is_waiting = False
        """Whether the reader has nothing in its hands, except a message that waits for its turn to count."""
        self._committed_through = 0
        self._tally = Tally()

    def change_owner(self, owner: str) -> None:
        """Ends the stream, after the acks that are due, if another stream opened the upload after it."""
        if owner == self._owner:
            self._is_open = True
        elif self._is_open:
            self._put(_End(UploadTakenOverError(self.upload_id)))

    def close(self, reason: Closing.Reason) -> None:
        """Asks the client to reconnect; chunks that it already sent are still acked."""
        self._put(reason)

    def close_for(self, cause: Cause) -> None:
        """Closes the stream. If its caller has lost rights, no chunk more is read."""
        if cause is not Cause.UNAUTHENTICATED:
            self.close(Closing.REASON_OVERLOADED)
            return
        self._has_rights = False
        if self._is_waiting and self._reader is not None:
            self._reader.cancel()

    def abandon(self) -> None:
        """Deletes an upload that the stream has left without chunks, unless another stream owns it now."""
        if not self._is_opening or self._is_finished or self._committed_through:
            return
        with contextlib.suppress(DrainingError):  # it expires
            abandoning = AbandonUpload(self._account_id, self.upload_id, self._owner)
            (done,) = self._committer.enqueue(abandoning, caller=self._caller)
            done.add_done_callback(asyncio.Future.exception)  # retrieved, or the loop logs it

    def _put(self, due: _Due) -> None:
        self._due.append(due)
        self._arrival.set()

    async def run(self, incoming: AsyncIterator[v1.UploadEventsRequest]) -> None:
        """Serves the stream to its end. Raises the error that ends it."""
        state = await self._open()
        self._chunks = Chunks(self._account_id, self._owner, state, producer=self._producer)
        self._committed_through, self._tally = state.committed_through, state.tally
        self._guard = RejectionGuard(state, keeps_going=self._keeps_going)
        self._noted = UploadRejections(
            self._rejections, account_id=self._account_id, committed_through=state.committed_through
        )
        await self._send(opened_message(state, heartbeat_seconds=self._heartbeat_seconds))
        if state.is_finished:
            await self._send(finished_message(state))
            await self._read_after_finish(incoming)
            return
        self._reader = asyncio.create_task(self._read(incoming), name="upload-reader")
        try:
            await self._acknowledge()
        finally:
            self._reader.cancel()
            await asyncio.wait([self._reader])
            self._discard_due()
        if self._is_finished and self._has_rights:
            await self._read_after_finish(incoming)

    async def _open(self) -> UploadState:
        """Opens the upload once there is room."""

        def note_opening() -> None:
            self._is_opening = True

        opening = OpenUpload(
            self._account_id,
            self.upload_id,
            self._owner,
            salt=secrets.token_hex(16),
            source_name=self._source_name,
            principal=self._producer.principal,
            is_admin=self._producer.is_admin,
        )
        opened = await self._committer.enqueue_in_turn(opening, caller=self._caller, on_enqueued=note_opening)
        return cast("UploadState", await opened)  # as the docstring of the operation says

    def _discard_due(self) -> None:
        """Abandons the answers to commits, which go on all the same."""
        for due in self._due:
            if isinstance(due, asyncio.Future) and not due.cancel() and not due.cancelled():
                due.exception()  # retrieved, or the loop logs it

    async def _read(self, incoming: AsyncIterator[v1.UploadEventsRequest]) -> None:
        """Submits chunks as the client sends them, a bounded number ahead of the acks."""
        end = _End()
        try:
            while self._has_rights:
                self._is_waiting = True
                await self._slots.acquire()
                await self._throttle.until_open()
                message = await anext(incoming, None)
                await self._throttle.admit(message)
                self._is_waiting = False
                if message is None:
                    return
                if not message.HasField("chunk"):
                    await self._finish(message)
                    return
                with chunk_span() as span:
                    async with self._admission:
                        operation = await self._chunks.operation(message.chunk)
                    invalid = describe_invalid(operation.batch, message.chunk.events)
                    del message  # it may hold megabytes, and the next one may take long to arrive
                    self._guard.send(operation)
                    committing = await self._committer.enqueue_in_turn(operation, caller=self._caller)
                    self._throttle.note(committing)
                    if span is not None:
                        describe(span, operation)
                        committing.add_done_callback(span.end_with)
                self._put(self._noted.watch(committing, operation.batch, invalid))
        except Exception as error:  # ends the stream after the acks that are due
            end = _End(error)
        finally:
            self._put(end)

    async def _finish(self, message: v1.UploadEventsRequest) -> None:
        """Submits the end of the upload. Raises FieldInvalidError for a message that is none."""
        async with self._admission:
            operation = await self._operation(message)
        await self._guard.settle()
        self._put(await self._committer.enqueue_in_turn(operation, caller=self._caller))

    async def _operation(self, message: v1.UploadEventsRequest) -> CommitChunk | FinishUpload:
        """The operation that a message asks for. Raises FieldInvalidError and ChunkTooLargeError."""
        if message.HasField("chunk"):
            return await self._chunks.operation(message.chunk)
        require_valid(message)
        if message.HasField("open"):
            raise FieldInvalidError(
                [Violation("open", "server.upload.open_once", "must be the first message only")]
            )
        finish = message.finish
        return FinishUpload(
            self._account_id,
            self.upload_id,
            self._owner,
            finish.last_sequence,
            source_digest(finish),
            finish.unreadable,
        )

    async def _acknowledge(self) -> None:
        """Acks commits in order until the stream ends."""
        while True:
            if self._guard.has_tripped and not any(isinstance(due, asyncio.Future) for due in self._due):
                raise self._guard.error()
            due = await self._next_due()
            if isinstance(due, _End):
                if due.error is not None:
                    raise due.error
                if not self._has_rights:
                    await self._send(closing_message(Closing.REASON_UNAUTHENTICATED))
                return
            if not isinstance(due, asyncio.Future):
                await self._send_closing(due)
                continue
            result = await self._with_heartbeats(due)
            if isinstance(result, ChunkCommitted):
                await self._send_acks([result, *self._more_committed()])
            elif isinstance(result, UploadState):
                await self._send(finished_message(result))
                self._is_finished = True
                return

    async def _next_due(self) -> _Due:
        while not self._due:
            self._arrival.clear()
            await self._with_heartbeats(self._arrival.wait())
        return self._due.popleft()

    def _more_committed(self) -> Iterator[ChunkCommitted]:
        """Chunks committed together with the one being acked, so that one ack covers them all."""
        while self._due:
            due = self._due[0]
            if not isinstance(due, asyncio.Future) or not due.done() or due.exception() is not None:
                return
            result = due.result()
            if not isinstance(result, ChunkCommitted):
                return
            self._due.popleft()
            yield result

    async def _with_heartbeats(self, awaitable: Awaitable[T]) -> T:
        """Waits, and sends heartbeats meanwhile."""
        future = asyncio.ensure_future(awaitable)
        try:
            while not (await asyncio.wait([future], timeout=self._heartbeat_seconds))[0]:
                await self._send(self._ack())
            return future.result()
        finally:
            future.cancel()

    async def _send_acks(self, chunks: Sequence[ChunkCommitted]) -> None:
        """Sends one ack for the chunks, or several if their results are too large for one.

        An ack covers a chunk only once all results of the chunk have been sent.
        """
        ack = self._ack()
        size_bytes = 0
        for chunk in chunks:
            for verdict in chunk.not_accepted:
                size_bytes += verdict.max_result_bytes
                if size_bytes > _MAX_ACK_BYTES:
                    await self._send(ack)
                    ack, size_bytes = self._ack(), 0
                result = ack.ack.results.add(chunk_sequence=chunk.sequence).result
                fill_result(result, verdict, cursors=self._cursors)
            self._committed_through, self._tally = chunk.committed_through, chunk.tally
            ack.ack.committed_through = self._committed_through
            ack.ack.tally.CopyFrom(tally_message(self._tally))
        await self._send(ack)
        for chunk in chunks:
            self._guard.acknowledge(chunk)
        self._acked_chunks += len(chunks)
        while self._acked_chunks and not self._guard.has_tripped:
            self._acked_chunks -= 1
            self._slots.release()

    def _ack(self) -> v1.UploadEventsResponse:
        return ack_message(committed_through=self._committed_through, tally=self._tally)

    async def _send_closing(self, reason: Closing.Reason) -> None:
        await self._send(closing_message(reason))
        if self._reader is not None:
            # The client half-closes when it has read this; one that does not, or is not read, is cut off.
            grace_seconds = 0.0 if self._throttle.is_waiting else GRACE_SECONDS
            asyncio.get_running_loop().call_later(grace_seconds, self._reader.cancel)

    async def _read_after_finish(self, incoming: AsyncIterator[v1.UploadEventsRequest]) -> None:
        """Reads until the client half-closes, or briefly if it does not.

        Some libraries report a stream that ends while they write as failed. What comes must repeat what was
        committed. Raises UploadFinishedError, ChunkChangedError and FinishMismatchError.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL_SECONDS):
                async for message in incoming:
                    await self._throttle.admit(message, may_store=False)
                    operation = await self._operation(message)
                    await (await self._committer.enqueue_in_turn(operation, caller=self._caller))
