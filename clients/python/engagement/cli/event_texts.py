"""Turns the JSON of events into events, or into rejections if it is none."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from engagement import v1
from engagement.cli.outcomes import FoundEvent, Place, Rejection
from engagement.cli.proto_json import EventSyntaxError, SeveralValuesError, parse_event, parse_stored_event
from engagement.cli.report_entries import UNREPAIRED
from engagement.limits import MAX_SOURCE_CHARACTERS
from engagement.liveperson.identity import make_event_id
from engagement.upload.source import canonical_form
from engagement.violation import Violation

MAX_TEXT_BYTES: Final = 16 * 1024 * 1024
_SHOWN_CHARACTERS: Final = 200


class EventTexts:
    """The events of one source, in its order.

    An event without an id gets one derived from the source, its number among the source's events and its
    content, so that reading the same events again gives the same ids, however they are wrapped. It also gets
    the source, unless it names one. An event with an id is unchanged.
    """

    def __init__(self, *, source: str) -> None:
        self._source = source
        self.events_read = 0
        """Texts read so far, events or not."""

    def read(self, text: str, *, place: Place) -> FoundEvent | Rejection:
        """The event with this JSON, or why there is none. Raises SeveralValuesError, without counting it."""
        if len(text) > MAX_TEXT_BYTES:
            return self.reject_long(text, place=place)
        try:
            event = parse_event(text)
        except SeveralValuesError:
            raise
        except EventSyntaxError as error:
            violation = Violation(error.field, error.rule, error.description)
            return self.reject(violation, text=text, place=place)
        return self.add(event, place=place)

    def read_stored(self, text: str, *, place: Place) -> FoundEvent | None:
        """The event inside a stored event with this JSON; None, without counting it, if this is none."""
        event = parse_stored_event(text) if len(text) <= MAX_TEXT_BYTES else None
        return None if event is None else self.add(event, place=place)

    def add(self, event: v1.Event, *, place: Place) -> FoundEvent:
        """Counts an event that was read from something else than JSON."""
        self.events_read += 1
        return FoundEvent(self._identify(event), place)

    def read_again(self, text: str, *, place: Place) -> FoundEvent | Rejection:
        """The event with this text of a report, in which it was none."""
        try:
            found = self.read(text, place=place)
        except SeveralValuesError:
            found = self.reject(Violation("", "json.syntax", "several values"), text=text, place=place)
        if isinstance(found, Rejection):
            return replace(found, message=f"{UNREPAIRED} ({found.message})")
        return found

    def reject(self, violation: Violation, *, text: str, place: Place) -> Rejection:
        """Counts a text that is no event."""
        self.events_read += 1
        subject = violation.field or ("the line" if isinstance(place, int) else "the event")
        return Rejection(
            place=place,
            reason="UNREADABLE",
            message=f"{subject}: {violation.description}",
            violations=(violation,),
            text=text,
        )

    def reject_long(self, text: str, *, place: Place) -> Rejection:
        """Counts a text that takes more than MAX_TEXT_BYTES, of which this is the beginning."""
        violation = Violation("", "json.max_line_bytes", f"takes more than {MAX_TEXT_BYTES} bytes")
        return self.reject(violation, text=text[:_SHOWN_CHARACTERS] + "…", place=place)

    def _identify(self, event: v1.Event) -> v1.Event:
        if not event.event_id:
            content = canonical_form(event, event.SerializeToString(deterministic=True)).hex()
            identity = ["event", self._source, self.events_read, content]
            event.event_id = make_event_id(identity, prefix=self.events_read)
            event.source = event.source or self._source[:MAX_SOURCE_CHARACTERS]
        return event
