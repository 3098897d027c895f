"""The client: one method for each call of the contract, with typed errors and safe retries."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Self

import grpc
from google.protobuf.field_mask_pb2 import FieldMask

from engagement import v1
from engagement.channel import ReplaceableChannel
from engagement.errors import InternalError, OnDamage
from engagement.follow import Follower
from engagement.ingest_reads import IngestReads
from engagement.privacy_calls import PrivacyCalls
from engagement.server_calls import ServerCalls
from engagement.targets import is_this_machine
from engagement.tokens import Tokens
from engagement.uuid7 import uuid7

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from datetime import datetime
    from types import TracebackType

    from google.protobuf.timestamp_pb2 import Timestamp

    from engagement.follow import OnErasure, SubscribeCall
    from engagement.retry import OnConnected, OnReconnect
    from engagement.streams import OpenStream
    from engagement.tokens import TokenSource
    from engagement.upload import UploadCall


class EngagementClient(PrivacyCalls, IngestReads, ServerCalls):
    """Talks to one server for one account, over one channel.

    Create it inside a running event loop, best with `async with`. Every call is safe to repeat: events
    without an id get a UUIDv7 before they are sent, and calls that fail as UNAVAILABLE are tried up to five
    times. Any number of tasks may share a client. Every error is an EngagementError.
    """

    def __init__(  # noqa: PLR0913 - all but the first are named at the call
        self,
        target: str,
        *,
        account_id: str,
        credentials: grpc.ChannelCredentials | None = None,
        token: str | TokenSource | None = None,
        allow_plaintext_token: bool = False,
        timeout_seconds: float = 30.0,
        compression: grpc.Compression | None = None,
    ) -> None:
        """Without `credentials`, see `tls_credentials`, the connection is in plain text.

        `token` is a text, or a function that answers with one, or with one and the time of its expiry, and
        may be asynchronous. It is asked before each call or stream, unless an answer is good for 30 s, and
        again after TOKEN_EXPIRED. Raises ValueError if there is a token and the connection is in plain
        text and leaves this machine, unless `allow_plaintext_token`: the network must then encrypt by itself,
        as service meshes do.
        """
        if token is not None and credentials is None and not allow_plaintext_token:
            _require_this_machine(target)
        channel = ReplaceableChannel(target, credentials=credentials, compression=compression)
        super().__init__(
            channel, account_id=account_id, timeout_seconds=timeout_seconds, tokens=Tokens(token)
        )
        self._is_encrypted = credentials is not None
        self._events = v1.EventServiceStub(self._channel)
        self._entities = v1.EntityServiceStub(self._channel)

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
        """Closes the channel and cancels calls in progress."""
        await self._replaceable_channel.close()

    def replace_credentials(self, credentials: grpc.ChannelCredentials) -> None:
        """Connects anew with other credentials, such as those of a renewed client certificate.

        New calls use them at once; those that are open go on over the first connection, which ends with the
        last of them. Raises ValueError if the connection has been in plain text so far.
        """
        if not self._is_encrypted:
            raise ValueError("a client without credentials cannot get others; create one with credentials")
        self._replaceable_channel.replace(credentials)

    async def record_event(self, event: v1.Event, *, validate_only: bool = False) -> v1.EventResult:
        """Records one event; the result is ACCEPTED, DUPLICATE or SUPPRESSED.

        Raises InvalidArgumentError and ConflictError if the event is rejected.
        """
        request = v1.RecordEventRequest(
            account_id=self.account_id, event=_with_id(event), validate_only=validate_only
        )
        response = await self._call(self._ingest.RecordEvent, request)
        return response.result

    async def record_events(
        self, events: Sequence[v1.Event], *, allow_partial: bool = False, validate_only: bool = False
    ) -> v1.RecordEventsResponse:
        """Records up to 500 events, all or none; with `allow_partial`, the valid ones.

        Without it a single rejected event raises InvalidArgumentError or ConflictError.
        """
        request = v1.RecordEventsRequest(
            account_id=self.account_id,
            events=map(_with_id, events),
            allow_partial=allow_partial,
            validate_only=validate_only,
        )
        return await self._call(self._ingest.RecordEvents, request)

    async def upload_events(self) -> OpenStream[UploadCall]:
        """Opens a raw upload stream; an Uploader drives one for you."""
        return await self._open(lambda metadata: self._ingest.UploadEvents(metadata=metadata))

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
        on_damage: OnDamage | None = None,
    ) -> AsyncIterator[v1.StoredEvent]:
        """The events that match a filter, page by page, without gaps or repeats.

        At damaged events it raises InternalError with the reason DATA_DAMAGED; with `on_damage`, it calls
        that instead, and goes on behind them.
        """
        request = v1.ListEventsRequest(
            account_id=self.account_id,
            filter=filter,
            page_size=page_size,
            newest_first=newest_first,
            read_mask=_mask(read_mask),
        )
        while True:
            try:
                response = await self._call(self._events.ListEvents, request)
            except InternalError as error:
                behind = error.metadata.get("nextPageToken")
                if on_damage is None or behind is None:
                    raise
                on_damage(error)
                request.page_token = behind
                continue
            for event in response.events:
                yield event
            # A page may be empty without being the last; only the token tells.
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
        on_connected: OnConnected | None = None,
        on_damage: OnDamage | None = None,
    ) -> Follower:
        """Follows the events that match a filter; connects when the first one is requested.

        The start is exactly one of: after `after_cursor`, at the `earliest` stored event, at the `latest`,
        that is the next event to be accepted, or at the first event accepted at `start_time` or later.
        `stop_at_tail` ends it after the events that are already stored. See Follower for the rest.
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
            on_connected=on_connected,
            on_damage=on_damage,
            max_outage_seconds=max_outage_seconds,
            is_token_renewable=self.is_token_renewable,
        )

    async def subscribe_events(self, request: v1.SubscribeEventsRequest) -> OpenStream[SubscribeCall]:
        """Opens a raw subscription stream; a Follower reads one for you."""
        return await self._open(lambda metadata: self._events.SubscribeEvents(request, metadata=metadata))

    async def get_profile(
        self,
        *,
        consumer_id: str | None = None,
        customer_id: str | None = None,
        folding: v1.Folding = v1.Folding.FOLDING_MERGE,
        before: datetime | Timestamp | None = None,
        accepted_before: datetime | Timestamp | None = None,
    ) -> v1.Profile:
        """The latest attributes of one consumer, each with its source event.

        With `before`, as of a time of events; with `accepted_before`, as the server would have answered then;
        both as far as events are still stored, and in UTC unless they have a zone. Raises NotFoundError.
        """
        if (consumer_id is None) == (customer_id is None):
            raise TypeError("get_profile takes either consumer_id or customer_id")
        request = v1.GetProfileRequest(
            account_id=self.account_id,
            consumer_id=consumer_id,
            customer_id=customer_id,
            folding=folding,
            before_time=before,
            before_receive_time=accepted_before,
        )
        response = await self._call(self._events.GetProfile, request)
        return response.profile

    async def list_entities(self, kind: v1.EntityKind) -> v1.ListEntitiesResponse:
        """The names that statuses or types are matched against; empty until some are added."""
        request = v1.ListEntitiesRequest(account_id=self.account_id, kind=kind)
        return await self._call(self._entities.ListEntities, request)

    async def put_entities(
        self, kind: v1.EntityKind, names: Sequence[str] = (), *, closed: bool | None = None
    ) -> v1.PutEntitiesResponse:
        """Adds names to a list, and closes or opens it; a closed list rejects new events with other values.

        Without `closed` it stays open or closed. Raises InvalidArgumentError if it would become too long.
        """
        request = v1.PutEntitiesRequest(account_id=self.account_id, kind=kind, names=names, closed=closed)
        return await self._call(self._entities.PutEntities, request)

    async def delete_entity(self, kind: v1.EntityKind, name: str) -> v1.DeleteEntityResponse:
        """Removes a name from a list, ignoring case. Raises NotFoundError."""
        request = v1.DeleteEntityRequest(account_id=self.account_id, kind=kind, name=name)
        return await self._call(self._entities.DeleteEntity, request)


def _require_this_machine(target: str) -> None:
    if not is_this_machine(target):
        raise ValueError(
            f"a token for {target} would go over the network in plain text; give credentials for TLS, such as"
            " tls_credentials(), or allow_plaintext_token if the network itself encrypts"
        )


def _with_id(event: v1.Event) -> v1.Event:
    """The event itself, or a copy with a new id if it has none."""
    if event.event_id:
        return event
    copy = v1.Event(event_id=uuid7())
    copy.MergeFrom(event)
    return copy


def _mask(paths: Sequence[str]) -> FieldMask | None:
    return FieldMask(paths=paths) if paths else None
