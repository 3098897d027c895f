"""EventService: reading events and profiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engagement import v1
from engagement.rules import Violation
from engagement_server.access.masking import mask_of, require_open
from engagement_server.api.paging import page_size
from engagement_server.api.times import require_times
from engagement_server.errors import (
    DamagedEventsError,
    DataDamagedError,
    EventNotFoundError,
    FieldInvalidError,
    LogEpochChangedError,
)
from engagement_server.log.catch_up import read_with_catch_up
from engagement_server.messages import event_fields, stored_event_message
from engagement_server.store.budget import STEP_SECONDS
from engagement_server.store.event_pages import PageQuery
from engagement_server.validation import require_valid

if TYPE_CHECKING:
    from google.protobuf.field_mask_pb2 import FieldMask

    from engagement_server.api.call import Call
    from engagement_server.cursor import Cursors
    from engagement_server.messages import Mask
    from engagement_server.model import StoredRow
    from engagement_server.partitions import Partitions
    from engagement_server.store.reader import Reader

# Below the 4 MiB that gRPC clients accept by default.
_MAX_PAGE_BYTES = 3 * 1024 * 1024
_STORED_EVENT: Any = v1.StoredEvent.DESCRIPTOR  # Any: the stub has two types for it


class EventHandlers:
    """Handlers of EventService."""

    def __init__(self, partitions: Partitions) -> None:
        self._partitions = partitions

    async def get_event(self, request: v1.GetEventRequest, call: Call) -> v1.GetEventResponse | bytes:
        """Returns one event."""
        require_valid(request)
        read_mask = _checked_mask(request.read_mask)
        mask = mask_of(call.identity)
        partition = self._partitions.of(request.account_id)

        def find(reader: Reader) -> StoredRow:
            return _find(reader, request, partition.cursors)

        row = await read_with_catch_up(partition.log, lambda: partition.readers.run(find, caller=call.caller))
        call.note_events(1)
        if read_mask is None:
            return event_fields((row,), cursors=partition.cursors, mask=mask)[0]
        stored = stored_event_message(row, cursors=partition.cursors)
        return v1.GetEventResponse(event=_reduced(stored, read_mask, mask))

    async def list_events(self, request: v1.ListEventsRequest, call: Call) -> bytes:
        """Returns one page of events."""
        require_valid(request)
        require_times(request.filter, path="filter.")
        read_mask = _checked_mask(request.read_mask)
        mask = mask_of(call.identity)
        require_open(request.filter, mask)
        partition = self._partitions.of(request.account_id)
        cursors = partition.cursors
        arguments = _page_arguments(request)
        after = None
        if request.page_token:
            after = cursors.decode_page(request.page_token, arguments=arguments)
        query = PageQuery(
            account_id=request.account_id,
            wanted=request.filter,
            after_position=after,
            newest_first=request.newest_first,
            max_events=page_size(request.page_size),
            max_bytes=_MAX_PAGE_BYTES,
            max_seconds=STEP_SECONDS,
        )

        def read(reader: Reader) -> bytes:
            if after is not None:
                _require_position(reader, request.account_id, after)
            try:
                page = reader.row_page(query)
            except DamagedEventsError as damage:
                resume = damage.first_position if query.newest_first else damage.last_position
                raise DataDamagedError(
                    cursor=cursors.encode(damage.first_position),
                    nextPageToken=cursors.encode_page(resume, arguments=arguments),
                ) from damage
            call.note_events(len(page.rows))
            rest = v1.ListEventsResponse()
            if page.next_position is not None:
                rest.next_page_token = cursors.encode_page(page.next_position, arguments=arguments)
            if read_mask is None:
                fields = event_fields(page.rows, cursors=cursors, mask=mask)
                return b"".join((*fields, rest.SerializeToString()))
            for row in page.rows:
                rest.events.append(_reduced(stored_event_message(row, cursors=cursors), read_mask, mask))
            return rest.SerializeToString()

        return await read_with_catch_up(
            partition.log, lambda: partition.readers.run(read, caller=call.caller)
        )

    async def subscribe_events(self, request: v1.SubscribeEventsRequest, call: Call) -> None:
        """Serves a subscription."""
        require_valid(request)
        require_times(request.filter, path="filter.")
        require_times(request)
        mask = mask_of(call.identity)
        require_open(request.filter, mask)
        subscriptions = self._partitions.of(request.account_id).subscriptions
        await subscriptions.serve(
            request,
            call,
            mask=mask,
            caller=call.caller,
            on_close=call.on_close,
            on_events=call.note_events,
        )

    async def get_profile(self, request: v1.GetProfileRequest, call: Call) -> v1.GetProfileResponse:
        """Returns one profile."""
        require_valid(request)
        require_times(request)
        mask = mask_of(call.identity)
        partition = self._partitions.of(request.account_id)
        profile = await read_with_catch_up(
            partition.log, lambda: partition.profiles.read(request, mask=mask, caller=call.caller)
        )
        return v1.GetProfileResponse(profile=profile)


def _find(reader: Reader, request: v1.GetEventRequest, cursors: Cursors) -> StoredRow:
    if request.HasField("event_id"):
        row = reader.find_by_id(request.account_id, request.event_id)
        key = {"eventId": request.event_id}
    else:
        position = cursors.decode(
            request.cursor,
            account_id=request.account_id,
            account_number=reader.account_number(request.account_id),
        )
        row = reader.find_at(position)
        key = {"cursor": request.cursor}
    if row is None:
        raise EventNotFoundError(**key)
    return row


def _require_position(reader: Reader, account_id: str, position: int) -> None:
    """Raises LogEpochChangedError if the position is ahead of the log."""
    bounds = reader.bounds(account_id)
    if bounds is None or position > bounds.last_position:
        raise LogEpochChangedError


def _page_arguments(request: v1.ListEventsRequest) -> bytes:
    """The arguments that a page token is bound to."""
    bound = v1.ListEventsRequest(
        account_id=request.account_id, filter=request.filter, newest_first=request.newest_first
    )
    return bound.SerializeToString(deterministic=True)


def _checked_mask(mask: FieldMask) -> FieldMask | None:
    """The mask without repeated paths, which would cost time for each event; None if it leaves out nothing.

    Raises FieldInvalidError.
    """
    if not mask.paths:
        return None
    checked = type(mask)(paths=sorted(set(mask.paths)))
    for path in checked.paths:
        if path == "*":
            continue
        # The library raises ValueError for NUL.
        if "\0" in path or not type(mask)(paths=[path]).IsValidForDescriptor(_STORED_EVENT):
            description = (
                f"{path[:100]!r} is not a field of StoredEvent; write paths such as event.customer_info"
            )
            raise FieldInvalidError([Violation("read_mask", "server.read_mask.path", description)])
    return None if "*" in checked.paths else checked


def _reduced(stored: v1.StoredEvent, read_mask: FieldMask, mask: Mask | None) -> v1.StoredEvent:
    """The fields of an event that were asked for, of which some may be masked: their paths come along."""
    reduced = v1.StoredEvent()
    read_mask.MergeMessage(stored, reduced)
    if mask is not None and reduced.HasField("event"):
        reduced.masked_fields.extend(mask.mask_event(reduced.event))
    return reduced
