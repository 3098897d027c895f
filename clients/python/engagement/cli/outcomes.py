"""What was found in an input: events to send, and what was refused and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engagement import v1
from engagement.violation import Violation

Place = int | str
"""Where something stands in its input: the number of a line, or a path inside a document."""


@dataclass(frozen=True, slots=True)
class FoundEvent:
    """An event that could be read."""

    event: v1.Event
    place: Place


@dataclass(frozen=True, slots=True)
class Rejection:
    """Something that was not stored: it could not be read, or a rule or the server refused it."""

    place: Place
    reason: str
    """A name of ErrorReason, or UNREADABLE where there is no event to speak of."""
    message: str
    violations: Sequence[Violation]
    event: v1.Event | None = None
    text: str = ""
    """The source's own text, where there is no event."""
