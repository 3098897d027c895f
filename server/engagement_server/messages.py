"""Model values as messages of the contract, and stored events as the bytes of such messages."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Protocol, cast

from engagement import v1
from engagement.wire import length_delimited
from engagement_server.cursor import CURSOR_BYTES
from engagement_server.model import ALLOWED_MARK, NO_ERASURE, SourceDigest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engagement_server.cursor import Cursors
    from engagement_server.model import (
        ErasureState,
        ExpiryHold,
        StoredRow,
        Suppression,
        Tally,
        UploadRejection,
        UploadState,
        Verdict,
    )

# An event's number in a stored one, and a stored one's in whatever holds it.
_EVENT = v1.StoredEvent.EVENT_FIELD_NUMBER
assert {
    v1.GetEventResponse.EVENT_FIELD_NUMBER,
    v1.ListEventsResponse.EVENTS_FIELD_NUMBER,
    v1.SubscribeEventsResponse.Batch.EVENTS_FIELD_NUMBER,
} == {_EVENT}
_HEADS = [length_delimited(_EVENT, bytes(length))[: -length or None] for length in range(2048)]
"""By their lengths, the beginnings of fields: looking one up takes a fifth of the time of making it."""
_STATUS = v1.StoredEvent.MATCHED_CUSTOMER_STATUS_FIELD_NUMBER
_TYPE = v1.StoredEvent.MATCHED_CUSTOMER_TYPE_FIELD_NUMBER
_CURSOR_HEAD = length_delimited(v1.StoredEvent.CURSOR_FIELD_NUMBER, bytes(CURSOR_BYTES))[:-CURSOR_BYTES]
_LENGTH_DELIMITED, _VARINT = 2, 0
_ATTRIBUTES_TAGS = frozenset(
    number << 3 | _LENGTH_DELIMITED
    for number in (v1.Event.CUSTOMER_INFO_FIELD_NUMBER, v1.Event.PERSONAL_INFO_FIELD_NUMBER)
)
_TEXT_TAGS = frozenset(
    field.number << 3 | _LENGTH_DELIMITED
    for field in v1.Event.DESCRIPTOR.fields
    if field.type == field.TYPE_STRING and field.number < v1.Event.CUSTOMER_INFO_FIELD_NUMBER
)
_TIME_TAG = v1.CustomerInfo.SERVER_TIME_STAMP_FIELD_NUMBER << 3 | _VARINT
_VARINT_BITS = 7
_BYTES = [bytes((value,)) for value in range(256)]
# An upload in small chunks is accepted at many times, of which a page has few.
_CACHED_TIMES = 1024
_CACHED_PLACES = 1024
_CACHED_MASKS = 1024


class Mask(Protocol):
    """Hides values from a caller; in its place None hides nothing, and costs nothing.

    It is part of the key of whatever holds bytes of events: masks that are equal hide the same.
    """

    def mask_event(self, event: v1.Event) -> Sequence[str]:
        """Hides values of an event; returns the paths of their fields."""

    def mask_profile(self, profile: v1.Profile) -> None:
        """Hides values of a profile, and says where."""


MAX_FACT_BYTES = 512
"""Limit on a text in the metadata of an error, and on others in the details of a status."""
MAX_DAMAGE_CHARACTERS = 1024
"""Limit on the text that says why a partition is refused."""


def hold_message(hold: ExpiryHold, *, due: int, stored: int) -> v1.ExpiryHold:
    """Why expiry is held, how many events would be removed now, and how many are stored."""
    message = v1.ExpiryHold(
        reason=v1.ExpiryHold.Reason.Name(hold.reason), due_events=due, stored_events=stored
    )
    message.hold_time.FromMilliseconds(hold.since_ms)
    message.commit_time.FromMilliseconds(hold.commit_ms)
    message.clock_time.FromMilliseconds(hold.clock_ms)
    return message


def tally_message(tally: Tally) -> v1.Tally:
    """A tally as a message."""
    return v1.Tally(
        accepted=tally.accepted,
        duplicate=tally.duplicate,
        rejected=tally.rejected,
        suppressed=tally.suppressed,
    )


def verdict_message(verdict: Verdict, *, cursors: Cursors) -> v1.EventResult:
    """The result of one event."""
    result = v1.EventResult()
    fill_result(result, verdict, cursors=cursors)
    return result


def fill_result(result: v1.EventResult, verdict: Verdict, *, cursors: Cursors) -> None:
    """Turns an empty result, perhaps one inside an ack, into that of one event."""
    result.index = verdict.index
    result.event_id = verdict.event_id
    result.outcome = cast("v1.Outcome", int(verdict.outcome))  # the numbers are the contract's
    if verdict.position:
        result.cursor = cursors.encode(verdict.position)
    if verdict.error:
        result.error.ParseFromString(verdict.error)
        add_facts(result.error, event_id=verdict.event_id)


def add_facts(error: v1.EventError, *, event_id: str) -> None:
    """Adds the facts for programs that follow from the rest of an error: nobody has to store them."""
    if error.reason == v1.ErrorReason.ERROR_REASON_EVENT_ID_CONFLICT:
        error.metadata["eventId"] = event_id
        return
    for first in error.violations[:1]:
        facts = {"field": first.field, "rule": first.rule, "description": first.description}
        for name, text in facts.items():
            error.metadata[name] = bounded(text)
        if error.reason == v1.ErrorReason.ERROR_REASON_ENTITY_UNKNOWN:
            _, mark, allowed = first.description.partition(ALLOWED_MARK)
            if mark:
                error.metadata["allowed"] = allowed
    error.metadata["violationsTotal"] = str(error.violations_total)


def bounded(text: str, *, max_bytes: int = MAX_FACT_BYTES) -> str:
    """The text, cut if it is longer than facts about an error may be."""
    encoded = text.encode()
    if len(encoded) <= max_bytes:
        return text
    return encoded[:max_bytes].decode(errors="ignore") + "…"


def source_message(source: SourceDigest | None) -> v1.SourceDigest | None:
    """The digest of an upload's source as a message."""
    return None if source is None else v1.SourceDigest(events=source.events, sha256=source.sha256)


def source_digest(
    message: v1.UploadEventsRequest.Chunk | v1.UploadEventsRequest.Finish,
) -> SourceDigest | None:
    """The digest of the source that a client sent along."""
    if not message.HasField("source"):
        return None
    return SourceDigest(message.source.events, message.source.sha256)


def upload_message(state: UploadState) -> v1.Upload:
    """The state of an upload."""
    upload = v1.Upload(
        upload_id=state.upload_id,
        state=v1.Upload.STATE_FINISHED if state.is_finished else v1.Upload.STATE_OPEN,
        committed_through=state.committed_through,
        tally=tally_message(state.tally),
        source_name=state.source_name,
        unreadable=state.unreadable,
    )
    upload.create_time.FromMilliseconds(state.create_time_ms)
    upload.update_time.FromMilliseconds(state.update_time_ms)
    return upload


def rejection_message(rejection: UploadRejection, *, cursors: Cursors) -> v1.UploadResult:
    """A rejected event of an upload."""
    result = v1.UploadResult(chunk_sequence=rejection.chunk_sequence, event_number=rejection.event_number)
    fill_result(result.result, rejection.verdict, cursors=cursors)
    result.reject_time.FromMilliseconds(rejection.time_ms)
    return result


def erasure_message(state: ErasureState) -> v1.Erasure:
    """An erasure and its progress; of one that has found nothing, only what the request said."""
    erasure = v1.Erasure(request_id=state.request_id, subject_kinds=map(_kind, state.subject_kinds))
    if state.number == NO_ERASURE:
        return erasure
    erasure.erasure_id = state.erasure_id
    erasure.matched_events = erasure.erased_events = state.erased_events
    erasure.cleared_rejections = state.cleared_rejections
    erasure.suppressing = state.is_suppressing
    erasure.create_time.FromMilliseconds(state.create_time_ms)
    if state.complete_time_ms is not None:
        erasure.complete_time.FromMilliseconds(state.complete_time_ms)
    if state.lift_time_ms is not None:
        erasure.lift_time.FromMilliseconds(state.lift_time_ms)
    return erasure


def suppression_message(state: Suppression) -> v1.Suppression:
    """A suppression of a subject."""
    suppression = v1.Suppression(
        subject_kind=_kind(state.subject_kind), erasure_id=state.erasure_id, request_id=state.request_id
    )
    suppression.create_time.FromMilliseconds(state.create_time_ms)
    if state.lift_time_ms is not None:
        suppression.lift_time.FromMilliseconds(state.lift_time_ms)
    return suppression


def _kind(number: int) -> v1.SubjectKind:
    return cast("v1.SubjectKind", number)  # the numbers are the contract's


def stored_event_message(row: StoredRow, *, cursors: Cursors) -> v1.StoredEvent:
    """A stored event, with the fields that the server fills in."""
    stored = v1.StoredEvent(
        cursor=cursors.encode(row.position),
        matched_customer_status=row.matched_status,
        matched_customer_type=row.matched_type,
    )
    if row.upload_id is not None:
        stored.upload.upload_id = row.upload_id
        stored.upload.event_number = row.event_number or 0
    event = stored.event
    event.ParseFromString(row.payload)
    _set_time(event, row.server_time_ms)
    # `FromMilliseconds` takes longer than everything else here.
    stored.receive_time.seconds, milliseconds = divmod(row.receive_time_ms, 1000)
    stored.receive_time.nanos = milliseconds * 1_000_000
    return stored


def event_fields(rows: Sequence[StoredRow], *, cursors: Cursors, mask: Mask | None) -> list[bytes]:
    """The events as serialized fields of a `GetEventResponse`, a `ListEventsResponse` or a batch.

    They are the bytes of `stored_event_message`, put together without parsing what is stored, unless a mask
    has to look inside.
    """
    encoded = cursors.encode_all([row.position for row in rows])
    fields = []
    for row, cursor in zip(rows, encoded, strict=True):
        _, server_time_ms, receive_time_ms, payload, status, type_, upload_id, event_number = row
        event = (
            _field(_timed(payload, server_time_ms))
            if mask is None
            else _masked(payload, server_time_ms, mask)
        )
        stored = event + _CURSOR_HEAD + cursor + _receive_time(receive_time_ms)
        if status:
            stored += length_delimited(_STATUS, status.encode())
        if type_:
            stored += length_delimited(_TYPE, type_.encode())
        if upload_id:
            stored += _upload_place(upload_id, event_number or 0)
        fields.append(_field(stored))
    return fields


def _masked(payload: bytes, time_ms: int, mask: Mask) -> bytes:
    """The fields of a `StoredEvent` with what a mask leaves of its event, and with the paths of the rest."""
    event = v1.Event.FromString(payload)
    _set_time(event, time_ms)
    paths = tuple(mask.mask_event(event))
    return _field(event.SerializeToString()) + _masked_fields(paths)


@lru_cache(_CACHED_MASKS)
def _masked_fields(paths: Sequence[str]) -> bytes:
    """The field of a `StoredEvent`. Most events lack the same attributes."""
    return v1.StoredEvent(masked_fields=paths).SerializeToString()


def _field(message: bytes) -> bytes:
    """A serialized message as a field of the one around it."""
    length = len(message)
    return _HEADS[length] + message if length < len(_HEADS) else length_delimited(_EVENT, message)


@lru_cache(_CACHED_TIMES)
def _receive_time(time_ms: int) -> bytes:
    """The field of a `StoredEvent`."""
    stored = v1.StoredEvent()
    stored.receive_time.FromMilliseconds(time_ms)
    return stored.SerializeToString()


@lru_cache(_CACHED_TIMES)
def _server_time(time_ms: int) -> bytes:
    """The field of attributes of either kind."""
    return v1.CustomerInfo(server_time_stamp=time_ms).SerializeToString()


def _upload_place(upload_id: str, event_number: int) -> bytes:
    """The field of a `StoredEvent`."""
    before, behind = _around_number(upload_id, event_number >> _VARINT_BITS)
    return before + _BYTES[event_number & 0x7F | (0x80 if behind else 0)] + behind


@lru_cache(_CACHED_PLACES)
def _around_number(upload_id: str, high_number: int) -> tuple[bytes, bytes]:
    """The field of a `StoredEvent` before and behind the low bits of the event's number.

    Neighbours in an upload share it: making it takes as long as everything else about an event.
    """
    place = v1.UploadPlace(upload_id=upload_id, event_number=high_number << _VARINT_BITS | 1)
    field = v1.StoredEvent(upload=place).SerializeToString()
    behind = -(-high_number.bit_length() // _VARINT_BITS)
    end = len(field) - behind
    return field[: end - 1], field[end:]


def _timed(payload: bytes, time_ms: int) -> bytes:
    """A serialized event whose attributes have their time, which its producer may have left to the server.

    To append the attributes once more, with the time alone, would mean the same; but some libraries take the
    last occurrence of a message instead of merging it with the first.
    """
    try:
        at = _find_attributes(payload)
        size, start = _read_varint(payload, at + 1)
        if size and payload[start] == _TIME_TAG:
            return payload if payload[start + 1] else _parsed_and_timed(payload, time_ms)
    except (IndexError, ValueError):  # of a later contract
        return _parsed_and_timed(payload, time_ms)
    end = start + size
    timed = length_delimited(payload[at] >> 3, _server_time(time_ms) + payload[start:end])
    return b"".join((payload[:at], timed, payload[end:]))


def _find_attributes(payload: bytes) -> int:
    """Where the attributes' tag is. Raises IndexError and ValueError.

    Only the short fields of an event come before it.
    """
    at = 0
    while (tag := payload[at]) not in _ATTRIBUTES_TAGS:
        if tag in _TEXT_TAGS and (size := payload[at + 1]) < 0x80:
            at += 2 + size
        elif tag & 7 == _LENGTH_DELIMITED and tag < 0x80:
            size, start = _read_varint(payload, at + 1)
            at = start + size
        elif tag & 7 == _VARINT and tag < 0x80:
            _, at = _read_varint(payload, at + 1)
        else:
            raise ValueError(tag)
    return at


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The number, and where it ends."""
    value = shift = 0
    while (byte := data[at]) >= 0x80:
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
    return value | byte << shift, at + 1


def _parsed_and_timed(payload: bytes, time_ms: int) -> bytes:
    event = v1.Event.FromString(payload)
    _set_time(event, time_ms)
    return event.SerializeToString()


def _set_time(event: v1.Event, time_ms: int) -> None:
    attributes = event.customer_info if event.HasField("customer_info") else event.personal_info
    attributes.server_time_stamp = time_ms
