"""Frames of subscriptions, put together from events that are serialized once and sent many times.

Serializing a batch anew for each of many subscribers costs more than everything else about it.
"""

from __future__ import annotations

from collections.abc import Sequence

from engagement import v1
from engagement.wire import length_delimited

_CURSOR = v1.SubscribeEventsResponse.CURSOR_FIELD_NUMBER
_BATCH = v1.SubscribeEventsResponse.BATCH_FIELD_NUMBER
_EVENTS = v1.SubscribeEventsResponse.Batch.EVENTS_FIELD_NUMBER


def serialized_event(stored: v1.StoredEvent) -> bytes:
    """A stored event as a field of a batch."""
    return length_delimited(_EVENTS, stored.SerializeToString())


def batch_frame(events: Sequence[bytes], *, cursor: str) -> bytes:
    """A serialized `SubscribeEventsResponse` with a batch of these serialized events."""
    return length_delimited(_CURSOR, cursor.encode()) + length_delimited(_BATCH, b"".join(events))
