"""Events of three shapes, each distinct: few attributes, a full record, and one with long texts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from benchmarks.events import EventSource
from benchmarks.load import chunk_message
from benchmarks.text_events import Words, padded
from engagement import v1
from engagement.limits import MAX_CHUNK_BYTES, MAX_CHUNK_EVENTS

_TEXTS: Final = 400
# What a chunk holds besides its events, and what stands before each of them.
_CHUNK_HEAD_BYTES: Final = 64
_EVENT_HEAD_BYTES: Final = 8


class Shape(NamedTuple):
    """A shape of events, and how many of them one measurement takes."""

    name: str
    event_bytes: int
    """As sent, about; 0 for attributes without any text."""
    events: int


SHAPES: Final = (Shape("small", 0, 200_000), Shape("medium", 2_000, 60_000), Shape("large", 16_000, 10_000))


class ShapedEvents:
    """An endless sequence of events of one shape; their texts repeat, everything else does not."""

    def __init__(self, shape: Shape) -> None:
        self._source = EventSource()
        self._notes: list[str] = []
        if shape.event_bytes:
            words = Words()
            self._notes = [
                padded(event, words, shape.event_bytes).additional_attributes["note0"]
                for event in EventSource().take(_TEXTS)
            ]
        self._made = 0

    def chunks(self, events: int) -> Iterator[bytes]:
        """So many events as the chunks of an upload, serialized."""
        chunk: list[v1.Event] = []
        size_bytes, sequence = _CHUNK_HEAD_BYTES, 0
        for _ in range(events):
            event = self._next()
            event_bytes = event.ByteSize() + _EVENT_HEAD_BYTES
            if chunk and (len(chunk) == MAX_CHUNK_EVENTS or size_bytes + event_bytes > MAX_CHUNK_BYTES):
                sequence += 1
                yield chunk_message(chunk, sequence=sequence)
                chunk, size_bytes = [], _CHUNK_HEAD_BYTES
            chunk.append(event)
            size_bytes += event_bytes
        if chunk:
            yield chunk_message(chunk, sequence=sequence + 1)

    def _next(self) -> v1.Event:
        event = self._source.take(1)[0]
        if self._notes:
            event.additional_attributes["note0"] = self._notes[self._made % len(self._notes)]
        self._made += 1
        return event
