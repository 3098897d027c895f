"""Selections: of the latest events of an account, those that one filter matches, for all its followers."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import deque
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING

from engagement import v1
from engagement_server.streams.frames import serialized_events

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from engagement_server.cursor import Cursors
    from engagement_server.messages import Mask
    from engagement_server.model import StoredRow
    from engagement_server.store.predicate import Predicate
    from engagement_server.streams.frames import SerializedEvent

# Beyond all positions.
_NOWHERE = 1 << 63
_position = attrgetter("position")


class HandedEvent:
    """An event that a commit has handed over. It is serialized once, if a follower takes it.

    For followers with a mask that is done once more; others never get what is made for them.
    """

    __slots__ = ("_masked", "_serialized", "position", "row")

    def __init__(self, row: StoredRow) -> None:
        self.row = row
        self.position = row.position
        self._serialized: SerializedEvent | None = None
        self._masked: tuple[Mask, SerializedEvent] | None = None
        """With the mask that was applied last; there is one, as a rule."""

    def serialized(self, cursors: Cursors, *, mask: Mask | None) -> SerializedEvent:
        """The event as a batch holds it."""
        if mask is not None:
            return self._serialized_with(mask, cursors)
        if self._serialized is None:
            (self._serialized,) = serialized_events((self.row,), cursors=cursors, mask=None)
        return self._serialized

    def _serialized_with(self, mask: Mask, cursors: Cursors) -> SerializedEvent:
        if self._masked is None or self._masked[0] != mask:
            (serialized,) = serialized_events((self.row,), cursors=cursors, mask=mask)
            self._masked = mask, serialized
        return self._masked[1]


class Run:
    """Some handed-over events of an account, in order, that are matched together."""

    __slots__ = (
        "_parsed",
        "events",
        "first_position",
        "is_masked",
        "is_pending",
        "last_position",
        "payload_bytes",
    )

    def __init__(self, rows: Sequence[StoredRow]) -> None:
        self.events = [HandedEvent(row) for row in rows]
        self.first_position = rows[0].position
        self.last_position = rows[-1].position
        self.payload_bytes = sum([len(row.payload) for row in rows])
        self.is_masked = False
        """Whether a follower with a mask may take its events."""
        self.is_pending = True
        """Whether some filter may not have been applied to it yet."""
        self._parsed: Sequence[v1.Event] | None = None

    def matching(self, predicate: Predicate | None) -> list[HandedEvent]:
        """The events that a filter matches; all without one."""
        if predicate is None:
            return self.events
        if self._parsed is None:
            self._parsed = [v1.Event.FromString(event.row.payload) for event in self.events]
        matches = predicate.matches_event
        return [
            event
            for event, parsed in zip(self.events, self._parsed, strict=True)
            if matches(
                parsed,
                server_time_ms=event.row.server_time_ms,
                receive_time_ms=event.row.receive_time_ms,
            )
        ]

    def end(self) -> None:
        """Notes that no further filter will be applied."""
        self.is_pending = False
        self._parsed = None


@dataclass(slots=True, eq=False)
class Place:
    """Where one follower is in the log of its account."""

    position: int
    """Watermark: everything up to here was sent or is being sent, or does not match the filter."""
    growth: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when there may be something to do for the follower, which clears it."""
    is_idle: bool = False
    """Whether the follower has caught up and waits: then only a matching event sets `growth`."""


class Selection:
    """Holds every event that a filter matches after some position, up to the end of what it has looked at.

    No notice lies in between. A follower at that position or behind it gets its next events here, any other
    one reads the store: both know no more of each other than the follower's position.
    """

    def __init__(self, predicate: Predicate | None) -> None:
        self.predicate = predicate
        """None for a filter that matches everything."""
        self.places: set[Place] = set()
        """Those of the followers with this filter."""
        self._floor = self._through = _NOWHERE
        self._events: deque[HandedEvent] = deque()

    def covers(self, position: int) -> bool:
        """Whether it holds everything that matches after a position."""
        return position >= self._floor

    def pass_over(self, place: Place) -> None:
        """Moves a place that is covered past events that do not match."""
        index = self._index_after(place.position)
        end = self._events[index].position - 1 if index < len(self._events) else self._through
        place.position = max(place.position, end)

    def has_after(self, position: int) -> bool:
        """Whether it holds an event after a position."""
        return bool(self._events) and self._events[-1].position > position

    def after(self, position: int, *, max_events: int) -> list[HandedEvent]:
        """The next events after a position that is covered."""
        events, start = self._events, self._index_after(position)
        return [events[index] for index in range(start, min(start + max_events, len(events)))]

    def extend(self, run: Run, matching: Iterable[HandedEvent]) -> None:
        """Adds those events of the next run that match."""
        if self._through != run.first_position - 1:
            self.restart(run.first_position - 1)
        self._events.extend(matching)
        self._through = run.last_position

    def trim(self, position: int) -> None:
        """Drops the events up to a position, to save memory: followers before them read the store."""
        while self._events and self._events[0].position <= position:
            self._floor = self._events.popleft().position

    def restart(self, position: int) -> None:
        """Drops all events, and holds those after a position from now on."""
        for place in self.places:
            if place.is_idle and self.covers(place.position):
                self.pass_over(place)
        self._events.clear()
        self._floor = self._through = position
        for place in self.places:
            if place.position < position:
                place.growth.set()

    def _index_after(self, position: int) -> int:
        if not self.has_after(position):
            return len(self._events)
        if self._events[0].position > position:
            return 0
        return bisect_right(self._events, position, key=_position)
