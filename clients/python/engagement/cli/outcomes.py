"""The items of an input: events to send, and rejections with their reasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engagement import v1
from engagement.violation import Violation

Place = int | str
"""A place in an input: a line number, or a path inside a document."""


def shown_place(place: Place) -> str:
    """A place for people."""
    return f"line {place}" if isinstance(place, int) else place


@dataclass(frozen=True, slots=True)
class FoundEvent:
    """An event that could be read."""

    event: v1.Event
    place: Place
    has_later_attributes: bool = False
    """Whether a conflict of its id means that an earlier version has imported it."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """An item that was not stored: it was unreadable, or it broke a rule."""

    place: Place
    reason: str
    """A name of ErrorReason, or UNREADABLE if there is no event."""
    message: str
    violations: Sequence[Violation]
    event: v1.Event | None = None
    text: str = ""
    """The source's own text, if there is no event."""


def reason_name(reason: int) -> str:
    """The name of an error reason without its prefix."""
    value = v1.ErrorReason.DESCRIPTOR.values_by_number.get(reason)
    # A newer server may have reasons that have no name here.
    return str(reason) if value is None else value.name.removeprefix("ERROR_REASON_")
