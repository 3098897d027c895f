"""Frames of subscriptions, put together from events that are serialized once and sent many times.

Serializing a batch anew for each of many subscribers costs more than everything else about it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from engagement import v1
from engagement.wire import length_delimited
from engagement_server.messages import event_fields

if TYPE_CHECKING:
    from engagement_server.cursor import Cursors
    from engagement_server.messages import Mask
    from engagement_server.model import StoredRow

_MAX_BATCH_BYTES = 256 * 1024
_CURSOR = v1.SubscribeEventsResponse.CURSOR_FIELD_NUMBER
_BATCH = v1.SubscribeEventsResponse.BATCH_FIELD_NUMBER

Frame: TypeAlias = v1.SubscribeEventsResponse | bytes
"""A message, or the bytes of one that is already serialized."""


class SerializedEvent(NamedTuple):
    """An event as a batch holds it."""

    position: int
    serialized: bytes


class Client(Protocol):
    """The client of one stream."""

    async def send(self, message: Frame) -> None:
        """Sends a message; waits while the client is slow."""

    def reset(self) -> None:
        """Ends the stream at once: drops the message that is being sent, and cancels the task that serves."""


def serialized_events(
    rows: Sequence[StoredRow], *, cursors: Cursors, mask: Mask | None
) -> list[SerializedEvent]:
    """Stored events as a batch holds them."""
    fields = event_fields(rows, cursors=cursors, mask=mask)
    return [*map(SerializedEvent, [row.position for row in rows], fields)]


def first_batch(events: Iterable[SerializedEvent]) -> list[SerializedEvent]:
    """The first of some events, at least one if there are any, that fit into a batch."""
    batch: list[SerializedEvent] = []
    size_bytes = 0
    for event in events:
        size_bytes += len(event.serialized)
        if size_bytes > _MAX_BATCH_BYTES and batch:
            break
        batch.append(event)
    return batch


def batch_frame(events: Sequence[bytes], *, cursor: str) -> bytes:
    """A serialized `SubscribeEventsResponse` with a batch of these serialized events."""
    return length_delimited(_CURSOR, cursor.encode()) + length_delimited(_BATCH, b"".join(events))
