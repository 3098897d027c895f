"""One connection of an upload: opens it, sends uncommitted chunks, and applies the answers."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import grpc

from engagement import v1
from engagement.errors import (
    EngagementError,
    SourceMismatchError,
    UnavailableError,
    is_expired_token,
    typed_errors,
)
from engagement.upload.source import SourceDigester

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from engagement.retry import Outage
    from engagement.streams import OpenStream
    from engagement.upload.chunking import Chunk, Chunker
    from engagement.upload.client import UploadCall, UploadClient
    from engagement.upload.ledger import UploadLedger

_STATUS_SECONDS = 2.0
_Closing = v1.UploadEventsResponse.Closing


class UploadStream:
    """Continues an upload until it is finished, the source has failed, or the connection is lost."""

    def __init__(  # noqa: PLR0913 - all but the first two are named at the call
        self,
        client: UploadClient,
        opened: OpenStream[UploadCall],
        *,
        upload_id: str,
        keep_going: bool,
        source_name: str,
        chunker: Chunker,
        ledger: UploadLedger,
        outage: Outage,
    ) -> None:
        self._client = client
        self._upload_id = upload_id
        self._keep_going = keep_going
        self._source_name = source_name
        self._chunker = chunker
        self._ledger = ledger
        self._outage = outage
        self._call = opened.call
        self._discard_token = opened.discard_token
        self._silence_seconds = client.timeout_seconds
        self._max_unacked_chunks = 1
        self._reconnect_delay_seconds: float | None = None
        self._is_open = asyncio.Event()
        self._has_room = asyncio.Event()
        self._writing = asyncio.Lock()
        self._is_half_closed = False

    async def run(self) -> None:
        """Returns once every event of the source is committed; raises an EngagementError before that."""
        try:
            with typed_errors():
                async with _concurrently(self._send()):
                    await self._receive()
        except EngagementError as error:
            if is_expired_token(error):
                self._discard_token()
            raise
        finally:
            self._call.cancel()
        if self._ledger.is_finished:
            return
        has_source_failed = self._chunker.error is not None and self._chunker.has_ended
        if not has_source_failed or self._ledger.unacked:
            raise UnavailableError(
                "the server closed the stream", retry_delay_seconds=self._reconnect_delay_seconds
            )

    async def _receive(self) -> None:
        while not self._ledger.is_finished:
            message = await self._read()
            if message is None:
                return
            match message.WhichOneof("message"):
                case "opened":
                    await self._begin(message.opened)
                case "ack":
                    if self._ledger.acknowledge(message.ack):
                        self._outage.end()
                    self._has_room.set()
                case "closing":
                    delay = message.closing.reconnect_delay
                    self._reconnect_delay_seconds = delay.ToTimedelta().total_seconds()
                    if message.closing.reason == _Closing.REASON_UNAUTHENTICATED:
                        self._discard_token()
                    await self._half_close()
                case "finished":
                    await self._catch_up(message.finished.upload)
                    self._require_own_end()
                    await self._await_status()

    async def _read(self) -> v1.UploadEventsResponse | None:
        """The next message, or None at the end. Raises UnavailableError if the server is silent."""
        try:
            async with asyncio.timeout(self._silence_seconds):
                message = await self._call.read()
        except TimeoutError:
            raise UnavailableError(
                f"no message from the server for {self._silence_seconds:g} seconds"
            ) from None
        return message if isinstance(message, v1.UploadEventsResponse) else None

    async def _begin(self, opened: v1.UploadEventsResponse.Opened) -> None:
        self._max_unacked_chunks = max(1, opened.max_unacked_chunks)
        if opened.HasField("heartbeat_interval"):
            self._silence_seconds = 2 * opened.heartbeat_interval.ToTimedelta().total_seconds()
        if self._chunker.has_begun and not self._ledger.is_own_progress(opened):
            raise self._continued_by_another()
        is_resumed = not self._chunker.has_begun and opened.HasField("source")
        if is_resumed or opened.committed_through > self._ledger.committed_through:
            await self._catch_up(await self._client.get_upload(self._upload_id))
            self._outage.end()
        if not self._chunker.has_begun:
            self._begin_source(opened)
        if self._ledger.is_finished:
            await self._half_close()
        else:
            self._is_open.set()

    def _require_own_end(self) -> None:
        """Raises SourceMismatchError if another client has finished the upload."""
        is_sending = self._chunker.has_begun and not self._chunker.is_comparing
        if is_sending and (self._ledger.finish is None or self._ledger.unacked):
            raise self._continued_by_another()

    def _continued_by_another(self) -> SourceMismatchError:
        return SourceMismatchError(
            f"another client has continued upload {self._upload_id!r} with another source; use an upload id"
            " of its own for each source"
        )

    def _begin_source(self, opened: v1.UploadEventsResponse.Opened) -> None:
        committed = opened.source if opened.HasField("source") else None
        if self._ledger.is_finished and committed is None:
            self._ledger.resume(None)
            return
        self._chunker.begin(
            opened,
            SourceDigester(
                self._upload_id, opened.source_salt, committed=committed, earlier=opened.earlier_sources
            ),
            skip_events=self._ledger.resume(committed),
            is_finished=self._ledger.is_finished,
        )

    async def _catch_up(self, upload: v1.Upload) -> None:
        """Applies commits whose acks were lost."""
        missed = []
        if self._ledger.misses_rejections(upload):
            first = self._ledger.unacked[0].sequence
            rejections = self._client.upload_rejections(self._upload_id)
            missed = [rejection async for rejection in rejections if rejection.chunk_sequence >= first]
        self._ledger.catch_up(upload, missed)

    async def _await_status(self) -> None:
        """Lets the server end the call, which it does at once, instead of cancelling it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_STATUS_SECONDS):
                await self._call.code()

    async def _send(self) -> None:
        # These failures also end the receiving side, which reports them.
        with suppress(grpc.aio.AioRpcError, grpc.aio.InternalError, asyncio.InvalidStateError):
            opening = v1.UploadEventsRequest.Open(
                account_id=self._client.account_id,
                upload_id=self._upload_id,
                keep_going=self._keep_going,
                source_name=self._source_name,
            )
            async with self._writing:
                await self._call.write(v1.UploadEventsRequest(open=opening))
            await self._is_open.wait()
            for chunk in tuple(self._ledger.unacked):
                await self._write(chunk.request)
            while (next_chunk := await self._next_chunk()) is not None:
                self._ledger.add(next_chunk)
                await self._write(next_chunk.request)
            if self._chunker.error is None:
                self._ledger.finish = v1.UploadEventsRequest.Finish(
                    last_sequence=self._chunker.last_sequence,
                    source=self._chunker.digester.digest(),
                    unreadable=self._ledger.unreadable,
                )
                finish = v1.UploadEventsRequest(finish=self._ledger.finish)
                await self._write(finish.SerializeToString())
            await self._half_close()

    async def _next_chunk(self) -> Chunk | None:
        while len(self._ledger.unacked) >= self._max_unacked_chunks:
            self._has_room.clear()
            await self._has_room.wait()
        return await self._chunker.next()

    async def _write(self, request: bytes) -> None:
        async with self._writing:
            if self._is_half_closed:
                raise asyncio.InvalidStateError("the stream is half-closed")
            await _write(self._call, request)

    async def _half_close(self) -> None:
        async with self._writing:
            self._is_half_closed = True
            await self._call.done_writing()


async def _write(call: UploadCall, request: bytes) -> None:
    """Sends a serialized message after the first one, and preserves the status if the server ends the stream.

    The library's own `write` replaces that status with INTERNAL, which loses the reason: an upload that a
    newer stream has taken over would look like a broken connection. It remains the fallback if the inner
    call is not accessible, for example behind an interceptor.
    """
    inner = getattr(call, "_cython_call", None)
    if inner is None:
        await call.write(v1.UploadEventsRequest.FromString(request))
    elif call.done():
        raise asyncio.InvalidStateError("the server has ended the stream")
    else:
        await inner.send_serialized_message(request)


@asynccontextmanager
async def _concurrently(work: Coroutine[object, object, None]) -> AsyncIterator[None]:
    """Runs `work` while the block runs, and cancels it at the end; a failure of either ends both."""
    try:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(work)
            yield
            task.cancel()
    except BaseExceptionGroup as failures:
        first = failures.exceptions[0]
        raise first from first.__cause__
