"""Reads the events in one file of another platform, whatever its shape; it sends nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from engagement import limits, v1
from engagement.liveperson import vocabulary
from engagement.liveperson.documents import read_records
from engagement.liveperson.errors import UnreadableError
from engagement.liveperson.events import read_content
from engagement.liveperson.identity import make_event_id
from engagement.liveperson.scanner import BLOCK_BYTES, MAX_VALUE_CHARACTERS, Scanner
from engagement.liveperson.shapes import Finding, FoundSet, MisshapenSet, Origin, SkippedSet, find_sets
from engagement.liveperson.values import write_json

MAX_EXCERPT_CHARACTERS: Final = 16 * 1024
MAX_REASONS: Final = 100
_MAX_REASON_CHARACTERS: Final = 64
_OTHER_REASONS: Final = "other"


@dataclass(frozen=True, slots=True)
class ImportedEvent:
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
    is_recognized: bool = False
    """Whether anything was found that these platforms write."""
    first_stranger: str = ""
    """The first item that none of them writes, with its place."""

    def skip(self, reason: str) -> None:
        """Counts a skipped item."""
        shown = "".join(c if c.isprintable() else "?" for c in reason[:_MAX_REASON_CHARACTERS])
        if shown not in self.skipped and len(self.skipped) >= MAX_REASONS:
            shown = _OTHER_REASONS
        self.skipped[shown] = self.skipped.get(shown, 0) + 1


class Importer:
    """The events of one file in order, each as soon as it is read.

    The file may be larger than memory: one conversation, session or event is held at a time, of at most
    `max_record_characters`. Content that the contract does not model is in `additional_attributes`; nothing
    in an event is lost, and numbers are text exactly as in the file. If members of one object have the same
    name, the last one counts.

    The same file always gives the same events with the same ids. Equal events of exports have the same id
    in every file; repeats inside a file are returned each time. The id of a pushed event also depends on
    its source and its position.

    Raises CorruptInputError after the last event before the damage.
    """

    def __init__(
        self,
        stream: BinaryIO,
        *,
        source: str,
        block_bytes: int = BLOCK_BYTES,
        max_record_characters: int = MAX_VALUE_CHARACTERS,
    ) -> None:
        """Reads decompressed bytes from the stream; `source` is the name of their origin.

        Pushed events carry the source, cut to the length that the contract allows. Events of an export
        carry none, because they are the same event in every file.
        """
        self.counts = ImportCounts()
        self._scanner = Scanner(stream, block_bytes=block_bytes, max_value_characters=max_record_characters)
        # File names may hold bytes that are not text.
        self._source = source.encode("utf-8", "backslashreplace").decode()
        self._short_source = self._source[: limits.MAX_SOURCE_CHARACTERS]
        self._position = 0

    def __iter__(self) -> Iterator[ImportedEvent | UnreadableEvent]:
        for record in read_records(self._scanner):
            for finding in find_sets(record):
                result = self._read(finding)
                if result is not None:
                    yield result

    def _read(self, finding: Finding) -> ImportedEvent | UnreadableEvent | None:
        self._position += 1
        if isinstance(finding, SkippedSet):
            self.counts.skip(finding.reason)
            if not finding.stranger:
                self.counts.is_recognized = True
            elif not self.counts.first_stranger:
                self.counts.first_stranger = f"{finding.reason} at {finding.stranger}"
            return None
        self.counts.is_recognized = True
        if isinstance(finding, MisshapenSet):
            return self._report(finding.origin, finding.error)
        try:
            event = self._build(finding)
        except UnreadableError as error:
            return self._report(finding.origin, error)
        if event is None:
            self.counts.skip("empty set")
            return None
        self.counts.events_read += 1
        return ImportedEvent(event, finding.origin.place, _has_later_attributes(finding))

    def _build(self, found: FoundSet) -> v1.Event | None:
        content = read_content(found, vocabularies=vocabulary.TODAY)
        if content is None:
            return None
        identity = content
        if _has_later_attributes(found):
            # The id stays that of the first release, where these were additional attributes.
            identity = read_content(found, vocabularies=vocabulary.FIRST) or content
        if not found.is_inbound:
            # No source: the same event in another file is a duplicate, and must not differ in anything.
            return content.build(event_id=identity.make_id(position=None), source="")
        event_id = identity.make_id(position=(self._source, self._position))
        return content.build(event_id=event_id, source=self._short_source)

    def _report(self, origin: Origin, error: UnreadableError) -> UnreadableEvent:
        self.counts.events_unreadable += 1
        text = write_json(origin.event)
        if len(text) > MAX_EXCERPT_CHARACTERS:
            text = f"{text[: MAX_EXCERPT_CHARACTERS - 1]}…"
        return UnreadableEvent(
            place=origin.place,
            event_id=make_event_id([self._source, origin.place, error.field], prefix=self._position),
            field=error.field,
            rule=error.rule,
            description=error.description,
            text=text,
        )


def _has_later_attributes(found: FoundSet) -> bool:
    return not vocabulary.LATER_NAMES[found.name].isdisjoint(found.levels[0])
