"""The client: one method for each call of the contract, with typed errors and safe retries."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Self, TypeVar

import grpc
from google.protobuf.field_mask_pb2 import FieldMask

from engagement import v1
from engagement.channel import open_channel
from engagement.errors import typed_errors
from engagement.follow import Follower
from engagement.uuid7 import uuid7

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from datetime import datetime
    from types import TracebackType

    from google.protobuf.timestamp_pb2 import Timestamp

    from engagement.follow import OnErasure, OnReconnect, SubscribeCall
    from engagement.upload import UploadCall

_REJECTIONS_PAGE_SIZE = 1000

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
        self._channel = open_channel(target, credentials=credentials, compression=compression)
        self._ingest = v1.IngestServiceStub(self._channel)
        self._events = v1.EventServiceStub(self._channel)
        self._entities = v1.EntityServiceStub(self._channel)
        self._privacy = v1.PrivacyServiceStub(self._channel)
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

    def follow(  # noqa: PLR0913 - all but the first are named at the call
        self,
        filter: v1.EventFilter | None = None,  # noqa: A002 - the contract's name
        *,
        after_cursor: str | None = None,
        earliest: bool = False,
        latest: bool = False,
        start_time: datetime | Timestamp | None = None,
        stop_at_tail: bool = False,
        max_batch_events: int = 0,
        heartbeat_seconds: float | None = None,
        max_outage_seconds: float = 300.0,
        on_erasure: OnErasure | None = None,
        on_reconnect: OnReconnect | None = None,
    ) -> Follower:
        """Follows the events that a filter takes; it connects when it is first asked for one.

        It starts at exactly one of: behind `after_cursor`, with the `earliest` event that is kept, with
        the `latest`, which is the next that is accepted, or with the first that was accepted at
        `start_time`. `stop_at_tail` ends it behind what is stored already. See Follower for the rest.
        """
        if [after_cursor is not None, earliest, latest, start_time is not None].count(True) != 1:
            raise TypeError("follow takes exactly one of after_cursor, earliest, latest and start_time")
        request = v1.SubscribeEventsRequest(
            account_id=self.account_id,
            filter=filter,
            after_cursor=after_cursor,
            earliest=earliest or None,
            latest=latest or None,
            start_time=start_time,
            stop_at_tail=stop_at_tail,
            max_batch_events=max_batch_events,
        )
        if heartbeat_seconds is not None:
            request.heartbeat_interval.FromTimedelta(timedelta(seconds=heartbeat_seconds))
        return Follower(
            self.subscribe_events,
            request,
            silence_seconds=self.timeout_seconds,
            on_erasure=on_erasure,
            on_reconnect=on_reconnect,
            max_outage_seconds=max_outage_seconds,
        )

    def subscribe_events(self, request: v1.SubscribeEventsRequest) -> SubscribeCall:
        """The bare stream of a subscription, for a reader of its own; a Follower does all that it takes."""
        return self._events.SubscribeEvents(request, metadata=self._metadata)

    async def get_profile(
        self,
        *,
        consumer_id: str | None = None,
        customer_id: str | None = None,
        folding: v1.Folding = v1.Folding.FOLDING_MERGE,
    ) -> v1.Profile:
        """What is known about one consumer, and which events say so. Raises NotFoundError."""
        if (consumer_id is None) == (customer_id is None):
            raise TypeError("get_profile takes either consumer_id or customer_id")
        request = v1.GetProfileRequest(
            account_id=self.account_id, consumer_id=consumer_id, customer_id=customer_id, folding=folding
        )
        response = await self._call(self._events.GetProfile, request)
        return response.profile

    async def list_entities(self, kind: v1.EntityKind) -> v1.ListEntitiesResponse:
        """The names that statuses or types are matched against; empty where nothing was ever put."""
        request = v1.ListEntitiesRequest(account_id=self.account_id, kind=kind)
        return await self._call(self._entities.ListEntities, request)

    async def put_entities(
        self, kind: v1.EntityKind, names: Sequence[str] = (), *, closed: bool | None = None
    ) -> v1.PutEntitiesResponse:
        """Adds names to a list; a closed one refuses events with other values from now on.

        Without `closed` the list stays as it is. Raises InvalidArgumentError where it would grow too long.
        """
        request = v1.PutEntitiesRequest(account_id=self.account_id, kind=kind, names=names, closed=closed)
        return await self._call(self._entities.PutEntities, request)

    async def delete_entity(self, kind: v1.EntityKind, name: str) -> v1.DeleteEntityResponse:
        """Takes a name, in any case, off a list. Raises NotFoundError."""
        request = v1.DeleteEntityRequest(account_id=self.account_id, kind=kind, name=name)
        return await self._call(self._entities.DeleteEntity, request)

    async def erase_consumer(  # noqa: PLR0913 - all are named at the call
        self,
        *,
        consumer_id: str | None = None,
        customer_id: str | None = None,
        conversation_id: str | None = None,
        request_id: str = "",
        suppress: bool = False,
        validate_only: bool = False,
    ) -> v1.Erasure:
        """Erases what is stored about exactly one of a consumer, a customer and a conversation.

        Returns when it is complete. After a DeadlineError it goes on; the same call with the same
        `request_id` waits for it again. Raises ConflictError where the id was used for something else.
        """
        if [consumer_id, customer_id, conversation_id].count(None) != 2:
            raise TypeError("erase_consumer takes exactly one of consumer_id, customer_id, conversation_id")
        request = v1.EraseConsumerRequest(
            account_id=self.account_id,
            request_id=request_id or uuid7(),
            consumer_id=consumer_id,
            customer_id=customer_id,
            conversation_id=conversation_id,
            suppress=suppress,
            validate_only=validate_only,
        )
        response = await self._call(self._privacy.EraseConsumer, request)
        return response.erasure

    async def get_erasure(self, erasure_id: str) -> v1.Erasure:
        """An erasure, as far as it is. Raises NotFoundError."""
        request = v1.GetErasureRequest(account_id=self.account_id, erasure_id=erasure_id)
        response = await self._call(self._privacy.GetErasure, request)
        return response.erasure

    async def list_erasures(self, *, page_size: int = 1000) -> AsyncIterator[v1.Erasure]:
        """All erasures of the account, the latest first."""
        request = v1.ListErasuresRequest(account_id=self.account_id, page_size=page_size)
        while True:
            response = await self._call(self._privacy.ListErasures, request)
            for erasure in response.erasures:
                yield erasure
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token

    async def lift_suppression(
        self,
        *,
        consumer_id: str | None = None,
        customer_id: str | None = None,
        conversation_id: str | None = None,
        erasure_id: str | None = None,
    ) -> bool:
        """Lets events of a subject, or of the subject of an erasure, in again; whether it was suppressed.

        Raises NotFoundError where no erasure has the id.
        """
        request = v1.LiftSuppressionRequest(
            account_id=self.account_id,
            consumer_id=consumer_id,
            customer_id=customer_id,
            conversation_id=conversation_id,
            erasure_id=erasure_id,
        )
        response = await self._call(self._privacy.LiftSuppression, request)
        return response.lifted

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
