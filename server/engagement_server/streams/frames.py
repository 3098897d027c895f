"""Frames of subscriptions, put together from events that are serialized once and sent many times.

Serializing a batch anew for each of many subscribers costs more than everything else about it. On the
wire a message is the sequence of its fields, so a batch is its serialized events, one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence

from engagement import v1

_LENGTH_DELIMITED = 2
_CURSOR = v1.SubscribeEventsResponse.CURSOR_FIELD_NUMBER
_BATCH = v1.SubscribeEventsResponse.BATCH_FIELD_NUMBER
_EVENTS = v1.SubscribeEventsResponse.Batch.EVENTS_FIELD_NUMBER


def serialized_event(stored: v1.StoredEvent) -> bytes:
    """A stored event as a field of a batch."""
    return _field(_EVENTS, stored.SerializeToString())


def batch_frame(events: Sequence[bytes], *, cursor: str) -> bytes:
    """A serialized `SubscribeEventsResponse` with a batch of these serialized events."""
    return _field(_CURSOR, cursor.encode()) + _field(_BATCH, b"".join(events))


def _field(number: int, payload: bytes) -> bytes:
    return bytes((number << 3 | _LENGTH_DELIMITED, *_varint(len(payload)))) + payload


def _varint(value: int) -> tuple[int, ...]:
    if value < 1 << 7:
        return (value,)
    if value < 1 << 14:  # nearly every event
        return value & 0x7F | 0x80, value >> 7
    return value & 0x7F | 0x80, *_varint(value >> 7)
