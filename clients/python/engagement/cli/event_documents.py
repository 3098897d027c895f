"""Reads events of this contract out of any JSON that tools put around them.

That is an array, several documents in a row, pretty-printed or not, request bodies, pages of a list,
stored events with their cursor and times, and the entries of a report of rejections.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from typing import BinaryIO, Final

from google.protobuf.message import Message

from engagement import v1
from engagement.cli.event_texts import EventTexts
from engagement.cli.outcomes import FoundEvent, Rejection
from engagement.cli.report_entries import OF_IMPORT, REMARKS, is_entry, is_of_import
from engagement.liveperson import CorruptInputError
from engagement.liveperson.detection import THEIRS
from engagement.liveperson.scanner import Scanner


def _names(*messages: type[Message]) -> frozenset[str]:
    """The names of all fields, in both spellings."""
    fields = [field for message in messages for field in message.DESCRIPTOR.fields]
    return frozenset([field.name for field in fields] + [field.json_name for field in fields])


# Deeper values are no events.
_MAX_DEPTH: Final = 20
_HOLDERS: Final = frozenset({"event", "events"})
# What stands beside events in requests, responses, stored events and reports.
_BESIDE: Final = REMARKS | (
    _names(v1.RecordEventRequest, v1.RecordEventsRequest, v1.ListEventsResponse, v1.StoredEvent) - _HOLDERS
)
# No other platform has these beside its attributes.
_DISTINCTIVE: Final = frozenset(
    {"event_id", "eventId", "consumer_id", "consumerId", "additional_attributes", "additionalAttributes"}
)
_WRAPPED: Final = re.compile(rf'\{{\s*"(?:{"|".join(sorted(_HOLDERS | _BESIDE))})"\s*:')


def is_wrapped(text: str) -> bool:
    """Whether this JSON holds events in some member, by its first one."""
    return _WRAPPED.match(text) is not None


def holds_events(head: bytes) -> bool:
    """Whether JSON with this beginning holds events of this contract, by the names in the first one."""
    scanner = Scanner(io.BytesIO(head))
    try:
        return _is_ours(scanner)
    except CorruptInputError:  # most likely the end of the beginning
        return False


def _is_ours(scanner: Scanner, *, depth: int = 0) -> bool:
    beginning = scanner.peek()
    if beginning not in {"[", "{"} or depth == _MAX_DEPTH:
        return False
    if beginning == "[":
        return any(_is_ours(scanner, depth=depth + 1) for _ in scanner.elements())
    names: set[str] = set()
    for name in scanner.members():
        if name in _DISTINCTIVE:
            return True
        if name in _HOLDERS:
            return is_entry(names) or _is_ours(scanner, depth=depth + 1)
        names.add(name)
        if name in THEIRS:
            return False
        scanner.value()
    return is_entry(names)


class EventDocuments:
    """The events of a stream. Raises CorruptInputError at damage; the events before it are good."""

    def __init__(self, stream: BinaryIO, *, texts: EventTexts) -> None:
        self._scanner = Scanner(stream)
        self._texts = texts

    @property
    def events_read(self) -> int:
        """Events found so far, readable or not."""
        return self._texts.events_read

    @property
    def trailing_comma(self) -> str:
        """Where a comma stands behind the last item of an array or object; empty if nowhere."""
        return self._scanner.trailing_comma

    def __iter__(self) -> Iterator[FoundEvent | Rejection]:
        number = 0
        while self._scanner.peek():
            number += 1
            yield from self._read(f"document {number}", depth=0)

    def _read(self, place: str, *, depth: int) -> Iterator[FoundEvent | Rejection]:
        """The events in the next value."""
        scanner = self._scanner
        beginning = scanner.peek()
        if beginning not in {"[", "{"} or depth == _MAX_DEPTH:
            yield self._texts.read(scanner.text(), place=place)
        elif beginning == "[":
            for index in scanner.elements():
                yield from self._read(f"{place}[{index}]", depth=depth + 1)
        else:
            yield from self._read_object(place, depth=depth + 1)

    def _read_object(self, place: str, *, depth: int) -> Iterator[FoundEvent | Rejection]:
        """The events that an object holds; if it holds none, it should be one itself."""
        own: list[tuple[str, str]] = []
        beside: list[tuple[str, str]] = []
        holds_some = False
        for name in self._scanner.members():
            if name in _HOLDERS:
                holds_some = True
                remarks = dict(beside)
                if is_entry(remarks.keys()):
                    yield from self._read_entry(remarks, place=f"{place}.{name}", depth=depth)
                else:
                    yield from self._read(f"{place}.{name}", depth=depth)
            else:
                (beside if name in _BESIDE else own).append((name, self._scanner.text()))
        if own or not holds_some:
            members = own if holds_some else [*beside, *own]
            text = ",".join(f"{json.dumps(name)}:{value}" for name, value in members)
            yield self._texts.read("{" + text + "}", place=place)

    def _read_entry(
        self, remarks: dict[str, str], *, place: str, depth: int
    ) -> Iterator[FoundEvent | Rejection]:
        """The event that a report of rejections holds: repaired, or still the text that was none."""
        scanner = self._scanner
        is_text = scanner.peek() == '"'
        if is_of_import(remarks):
            value = scanner.text()
            text = json.loads(value) if is_text else value
            yield self._texts.reject(OF_IMPORT, text=text, place=place)
        elif not is_text:
            yield from self._read(place, depth=depth)
        else:
            yield self._texts.read_again(json.loads(scanner.text()), place=place)
