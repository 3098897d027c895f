"""Plain calls of a server, without the client's retries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc

from engagement import v1
from tests.support.raw_upload import chunk, finish, opening
from tests.support.waiting import deadline, eventually

if TYPE_CHECKING:
    from engagement.v1.event_service_pb2_grpc import EventServiceAsyncStub
    from engagement.v1.ingest_service_pb2_grpc import IngestServiceAsyncStub

ACCOUNT = "acme"
_UPLOAD_ATTEMPTS = 20
UploadCall = grpc.aio.StreamStreamCall[v1.UploadEventsRequest, v1.UploadEventsResponse]


@dataclass(frozen=True)
class Connection:
    """One connection to a server."""

    channel: grpc.aio.Channel
    ingest: IngestServiceAsyncStub
    events: EventServiceAsyncStub

    async def record(self, event: v1.Event) -> v1.EventResult:
        """Records one event."""
        request = v1.RecordEventRequest(account_id=ACCOUNT, event=event)
        return (await self.ingest.RecordEvent(request)).result

    async def record_batch(self, events: Sequence[v1.Event]) -> Sequence[v1.EventResult]:
        """Records some events, all or nothing."""
        request = v1.RecordEventsRequest(account_id=ACCOUNT, events=events)
        return (await self.ingest.RecordEvents(request)).results

    async def upload(self, chunks: Sequence[Sequence[v1.Event]]) -> Sequence[v1.UploadEventsResponse]:
        """Uploads chunks to the end; returns the server's messages."""
        for _ in range(_UPLOAD_ATTEMPTS):
            try:
                async with deadline("an upload ended"):
                    return await self._upload(chunks)
            except grpc.aio.AioRpcError as error:
                if not is_torn_write(error):
                    raise
        raise AssertionError(f"{_UPLOAD_ATTEMPTS} uploads had their status hidden")

    async def _upload(self, chunks: Sequence[Sequence[v1.Event]]) -> Sequence[v1.UploadEventsResponse]:
        call = self.ingest.UploadEvents()
        # The reading side reports the same failure.
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            for message in upload_messages("upload", chunks):
                await call.write(message)
            await call.done_writing()
        return [message async for message in call]

    async def upload_state(self, upload_id: str = "upload") -> v1.Upload:
        """The state of an upload."""
        request = v1.GetUploadRequest(account_id=ACCOUNT, upload_id=upload_id)
        return (await self.ingest.GetUpload(request)).upload

    async def stored(
        self, *, wanted: v1.EventFilter | None = None, newest_first: bool = False
    ) -> AsyncIterator[v1.StoredEvent]:
        """All stored events that match the filter."""
        request = v1.ListEventsRequest(
            account_id=ACCOUNT, filter=wanted, newest_first=newest_first, page_size=1000
        )
        while True:
            response = await self.events.ListEvents(request)
            for stored in response.events:
                yield stored
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token

    async def stored_ids(self) -> list[str]:
        """Ids of all stored events, in the order of acceptance."""
        return [stored.event.event_id async for stored in self.stored()]

    async def wait_until_stored(self, count: int) -> None:
        """Waits until the account has at least so many events, at most a page of them."""
        request = v1.ListEventsRequest(account_id=ACCOUNT, page_size=count)

        async def are_stored() -> bool:
            return len((await self.events.ListEvents(request)).events) == count

        await eventually(are_stored, f"{count} events are stored")


@asynccontextmanager
async def connection_of(address: str, credentials: grpc.ChannelCredentials) -> AsyncIterator[Connection]:
    """Opens a connection of its own over TLS."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.secure_channel(address, credentials, options=options) as channel:
        yield Connection(channel, v1.IngestServiceStub(channel), v1.EventServiceStub(channel))


@asynccontextmanager
async def connect(address: str, *, compression: grpc.Compression | None = None) -> AsyncIterator[Connection]:
    """Opens a connection of its own to a server."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(address, options=options, compression=compression) as channel:
        yield Connection(channel, v1.IngestServiceStub(channel), v1.EventServiceStub(channel))


def upload_messages(
    upload_id: str, chunks: Sequence[Sequence[v1.Event]], *, after: int = 0
) -> Iterator[v1.UploadEventsRequest]:
    """The messages of an upload that resumes after a chunk."""
    yield opening(upload_id=upload_id)
    yield from (chunk(sequence, *events) for sequence, events in enumerate(chunks, 1) if sequence > after)
    yield finish(len(chunks))


def is_torn_write(error: grpc.aio.AioRpcError) -> bool:
    """Whether a stream ended during a write, which hides its status from the library."""
    return error.details() == "Internal error from Core"
