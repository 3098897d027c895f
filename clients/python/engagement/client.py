"""The client: one method for each call of the contract, with typed errors and safe retries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self, TypeVar

import grpc
from google.protobuf.field_mask_pb2 import FieldMask

from engagement import v1
from engagement.errors import typed_errors
from engagement.retry import SERVICE_CONFIG
from engagement.uuid7 import uuid7

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from types import TracebackType

    UploadCall = grpc.aio.StreamStreamCall[v1.UploadEventsRequest, v1.UploadEventsResponse]

MAX_RECEIVED_MESSAGE_BYTES: Final = 16 * 1024 * 1024
_REJECTIONS_PAGE_SIZE = 1000
_OPTIONS: Final = (
    ("grpc.service_config", SERVICE_CONFIG),
    ("grpc.max_receive_message_length", MAX_RECEIVED_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # Without it pings stop after two on a stream that waits for a slow source.
    ("grpc.http2.max_pings_without_data", 0),
    # The library waits up to two minutes before it connects again.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")


class EngagementClient:
    """Talks to one server for one account, over one channel.

    Create it inside a running event loop, best with `async with`. Every call is safe to repeat: events
    without an id get a UUIDv7 before they are sent, and calls that end UNAVAILABLE are tried up to five
    times. Any number of tasks may share a client. All errors are EngagementErrors.
    """

    def __init__(  # noqa: PLR0913 - all but the first are named at the call
        self,
        target: str,
        *,
        account_id: str,
        credentials: grpc.ChannelCredentials | None = None,
        token: str | None = None,
        timeout_seconds: float = 30.0,
        compression: grpc.Compression | None = None,
    ) -> None:
        """Without `credentials` the connection, the token included, is in plain text."""
        self.account_id = account_id
        self.timeout_seconds = timeout_seconds
        self._metadata = (("authorization", f"Bearer {token}"),) if token is not None else ()
        self._channel = (
            grpc.aio.insecure_channel(target, options=_OPTIONS, compression=compression)
            if credentials is None
            else grpc.aio.secure_channel(target, credentials, options=_OPTIONS, compression=compression)
        )
        self._ingest = v1.IngestServiceStub(self._channel)
        self._events = v1.EventServiceStub(self._channel)
        self._server = v1.ServerServiceStub(self._channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the channel; calls that still run are cancelled."""
        await self._channel.close()

    async def record_event(self, event: v1.Event, *, validate_only: bool = False) -> v1.EventResult:
        """Records one event; the result is ACCEPTED, DUPLICATE or SUPPRESSED.

        Raises InvalidArgumentError and ConflictError where the event is refused.
        """
        request = v1.RecordEventRequest(
            account_id=self.account_id, event=_with_id(event), validate_only=validate_only
        )
        response = await self._call(self._ingest.RecordEvent, request)
        return response.result

    async def record_events(
        self, events: Sequence[v1.Event], *, allow_partial: bool = False, validate_only: bool = False
    ) -> v1.RecordEventsResponse:
        """Records up to 500 events, all or none; with `allow_partial` the good ones.

        Raises InvalidArgumentError and ConflictError where one bad event refuses the call.
        """
        request = v1.RecordEventsRequest(
            account_id=self.account_id,
            events=map(_with_id, events),
            allow_partial=allow_partial,
            validate_only=validate_only,
        )
        return await self._call(self._ingest.RecordEvents, request)

    async def get_upload(self, upload_id: str) -> v1.Upload:
        """The state of an upload. Raises NotFoundError."""
        request = v1.GetUploadRequest(account_id=self.account_id, upload_id=upload_id, page_size=1)
        response = await self._call(self._ingest.GetUpload, request)
        return response.upload

    async def upload_rejections(self, upload_id: str) -> AsyncIterator[v1.UploadResult]:
        """The rejected events of an upload, in order. Raises NotFoundError."""
        request = v1.GetUploadRequest(
            account_id=self.account_id, upload_id=upload_id, page_size=_REJECTIONS_PAGE_SIZE
        )
        while True:
            response = await self._call(self._ingest.GetUpload, request)
            for rejection in response.rejections:
                yield rejection
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token

    def upload_events(self) -> UploadCall:
        """The bare upload stream, for a driver of its own; an Uploader does all that it takes."""
        return self._ingest.UploadEvents(metadata=self._metadata)

    async def get_event(
        self, *, event_id: str | None = None, cursor: str | None = None, read_mask: Sequence[str] = ()
    ) -> v1.StoredEvent:
        """One event, by its id or by its cursor. Raises NotFoundError."""
        if (event_id is None) == (cursor is None):
            raise TypeError("get_event takes either event_id or cursor")
        request = v1.GetEventRequest(
            account_id=self.account_id, event_id=event_id, cursor=cursor, read_mask=_mask(read_mask)
        )
        response = await self._call(self._events.GetEvent, request)
        return response.event

    async def list_events(
        self,
        filter: v1.EventFilter | None = None,  # noqa: A002 - the contract's name
        *,
        newest_first: bool = False,
        page_size: int = 1000,
        read_mask: Sequence[str] = (),
    ) -> AsyncIterator[v1.StoredEvent]:
        """The events that a filter takes, page by page, without gaps or repeats."""
        request = v1.ListEventsRequest(
            account_id=self.account_id,
            filter=filter,
            page_size=page_size,
            newest_first=newest_first,
            read_mask=_mask(read_mask),
        )
        while True:
            response = await self._call(self._events.ListEvents, request)
            for event in response.events:
                yield event
            # A page without events is not the last one: the token says which is.
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token

    async def get_server_info(self) -> v1.GetServerInfoResponse:
        """The version and the limits of the server."""
        return await self._call(self._server.GetServerInfo, v1.GetServerInfoRequest())

    async def _call(
        self, method: grpc.aio.UnaryUnaryMultiCallable[_Request, _Response], request: _Request
    ) -> _Response:
        with typed_errors():
            return await method(request, timeout=self.timeout_seconds, metadata=self._metadata)


def _with_id(event: v1.Event) -> v1.Event:
    """The event itself, or a copy with a new id where it has none."""
    if event.event_id:
        return event
    copy = v1.Event(event_id=uuid7())
    copy.MergeFrom(event)
    return copy


def _mask(paths: Sequence[str]) -> FieldMask | None:
    return FieldMask(paths=paths) if paths else None
