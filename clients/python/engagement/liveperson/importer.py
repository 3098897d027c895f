"""Reads the events in one file of another platform, whatever its shape; it sends nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Final, NamedTuple

from engagement import limits, v1
from engagement.liveperson import vocabulary
from engagement.liveperson.errors import UnreadableError
from engagement.liveperson.events import read_content
from engagement.liveperson.findings import FoundSet, MisshapenSet, Path, SkippedSet, show
from engagement.liveperson.identity import make_event_id
from engagement.liveperson.scanner import BLOCK_BYTES, MAX_VALUE_CHARACTERS, Scanner
from engagement.liveperson.stream import FindingStream
from engagement.liveperson.values import Constant, first_constant, write_json
from engagement.violation import Violation

MAX_EXCERPT_CHARACTERS: Final = 16 * 1024
MAX_REASONS: Final = 100
_MAX_REASON_CHARACTERS: Final = 64
_OTHER_REASONS: Final = "other"


class ImportedEvent(NamedTuple):
    """An event of the contract; the server may still reject it."""

    event: v1.Event
    place: str
    """Its place in the file, such as `conversationHistoryRecords[0].sdes.events[3]`."""
    has_later_attributes: bool = False
    """Whether an earlier version gave this event the same id and other content: a server that has stored that
    answers EVENT_ID_CONFLICT, and has the event."""


@dataclass(frozen=True, slots=True)
class UnreadableEvent:
    """An event that the contract cannot express, for example with a date that is not made of integers."""

    place: str
    event_id: str
    """Identifies this event in reports; no stored event has this id."""
    field: str
    """Path from the event, such as `customer_info.last_payment_date.month`; empty for the event itself."""
    rule: str
    """Id of the broken rule: one that starts with `import.`, or a rule of the contract."""
    description: str
    text: str
    """The event as it is in the source, in compact JSON, truncated if it is very long."""


@dataclass(slots=True)
class ImportCounts:
    """The counts of everything found so far."""

    events_read: int = 0
    events_unreadable: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    """The number of items skipped, by reason: `empty set`, `set type LEAD`; the reasons are bounded."""
    converted: dict[str, int] = field(default_factory=dict)
    """The number of times that were not written in milliseconds, by their form: `seconds`, `ISO 8601`."""
    is_recognized: bool = False
    """Whether anything was found that these platforms write."""
    first_stranger: str = ""
    """The first item that none of them writes, with its place."""

    def skip(self, reason: str, *, items: int = 1) -> None:
        """Counts skipped items."""
        shown = "".join(c if c.isprintable() else "?" for c in reason[:_MAX_REASON_CHARACTERS])
        if shown not in self.skipped and len(self.skipped) >= MAX_REASONS:
            shown = _OTHER_REASONS
        self.skipped[shown] = self.skipped.get(shown, 0) + items


class Importer:
    """The events of one file in order, each as soon as it is read.

    Attribute sets are found wherever they stand, and their context in whatever surrounds them. The file may
    be larger than memory: events of at most `max_event_characters` are held, and in a temporary file those
    whose context may still follow. Content that the contract does not model is in `additional_attributes`;
    nothing in an event is lost, and numbers are text exactly as in the file. An event with a member that
    appears more than once is unreadable.

    The same file always gives the same events with the same ids. Events with a conversation, a consumer or a
    time are the same event in every file; repeats inside a file are returned each time. The id of any other
    event depends on its source and its position as well.

    Raises CorruptInputError after the last event before the damage.
    """

    def __init__(
        self,
        stream: BinaryIO,
        *,
        source: str,
        block_bytes: int = BLOCK_BYTES,
        max_event_characters: int = MAX_VALUE_CHARACTERS,
    ) -> None:
        """Reads decompressed bytes from the stream; `source` is the name of their origin.

        Pushed events carry the source, cut to the length that the contract allows. Events of an export
        carry none, because they are the same event in every file.
        """
        self.counts = ImportCounts()
        self._scanner = Scanner(stream, block_bytes=block_bytes, max_value_characters=max_event_characters)
        self._findings = FindingStream(self._scanner, max_characters=max_event_characters)
        # File names may hold bytes that are not text.
        self._source = source.encode("utf-8", "backslashreplace").decode()
        self._short_source = self._source[: limits.MAX_SOURCE_CHARACTERS]
        self._position = 0
        self._list: Path | None = None
        self._list_place = ""

    @property
    def trailing_comma(self) -> str:
        """Where a comma stands behind the last item of an array or object; empty if nowhere."""
        return self._scanner.trailing_comma

    def __iter__(self) -> Iterator[ImportedEvent | UnreadableEvent]:
        for finding in self._findings:
            if isinstance(finding, SkippedSet):
                self._skip(finding)
            else:
                result = self._read(finding)
                if result is not None:
                    yield result

    def _skip(self, skipped: SkippedSet) -> None:
        if skipped.reason:
            self.counts.skip(skipped.reason, items=skipped.items)
        if not skipped.stranger:
            self.counts.is_recognized = True
        elif not self.counts.first_stranger:
            self.counts.first_stranger = f"{skipped.reason} at {skipped.stranger}"

    def _read(self, finding: FoundSet | MisshapenSet) -> ImportedEvent | UnreadableEvent | None:
        self._position += 1
        self.counts.is_recognized = True
        if isinstance(finding, MisshapenSet):
            return self._report(finding, finding.violation)
        try:
            if self._scanner.has_constants:
                _require_numbers(finding)
            event = self._build(finding)
        except UnreadableError as error:
            return self._report(finding, error.violation)
        if event is None:
            self.counts.skip("empty set")
            return None
        self.counts.events_read += 1
        return ImportedEvent(event, self._show(finding.path), _has_later_attributes(finding))

    def _build(self, found: FoundSet) -> v1.Event | None:
        content = read_content(found, vocabularies=vocabulary.TODAY)
        if content is None:
            return None
        identity = content
        if _has_later_attributes(found):
            # The id stays that of the first release, where these were additional attributes.
            identity = read_content(found, vocabularies=vocabulary.FIRST) or content
        if content.is_self_contained:
            # No source: the same event in another file is a duplicate, and must not differ in anything.
            event = content.build(event_id=identity.make_id(position=None), source="")
        else:
            event_id = identity.make_id(position=(self._source, self._position))
            event = content.build(event_id=event_id, source=self._short_source)
        for form in filter(None, content.conversions):
            self.counts.converted[form] = self.counts.converted.get(form, 0) + 1
        return event

    def _show(self, path: Path) -> str:
        """The path for people; most events stand in the list of the one before."""
        around, key = path
        if around is None or around[0] is None or not isinstance(key, int):
            return show(path)
        if around is not self._list:
            self._list = around
            self._list_place = show(around)
        return f"{self._list_place}[{key}]"

    def _report(self, finding: FoundSet | MisshapenSet, violation: Violation) -> UnreadableEvent:
        self.counts.events_unreadable += 1
        place = show(finding.path)
        text = write_json(finding.whole() if isinstance(finding, FoundSet) else finding.event)
        if len(text) > MAX_EXCERPT_CHARACTERS:
            text = f"{text[: MAX_EXCERPT_CHARACTERS - 1]}…"
        return UnreadableEvent(
            place=place,
            event_id=make_event_id([self._source, place, violation.field], prefix=self._position),
            field=violation.field,
            rule=violation.rule,
            description=violation.description,
            text=text,
        )


def _require_numbers(found: FoundSet) -> None:
    """Raises UnreadableError if a member of a set, or of what names its subject, is no number of JSON."""
    place = first_constant(found.whole())
    if place or any(isinstance(each, Constant) for each in found.context):
        raise UnreadableError(place, rule="import.number", description="must not be NaN or infinite")


def _has_later_attributes(found: FoundSet) -> bool:
    later = vocabulary.LATER_NAMES[found.name]
    return bool(later) and not later.isdisjoint(found.levels[0])
