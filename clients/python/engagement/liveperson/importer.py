"""Reads events from one file of another platform, whatever its shape; it sends nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from engagement import limits, v1
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
    """An event in the contract's form; the server may still refuse it."""

    event: v1.Event
    place: str
    """Where it stands in the file, such as `conversationHistoryRecords[0].sdes.events[3]`."""


@dataclass(frozen=True, slots=True)
class UnreadableEvent:
    """An event that the contract cannot express, such as one whose date is not made of integers."""

    place: str
    event_id: str
    """Names this event in reports; no event has it in any account."""
    field: str
    """Path from the event, such as `customer_info.last_payment_date.month`; empty: all of it."""
    rule: str
    """What it breaks: an id that starts with `import.`, or a rule of the contract."""
    description: str
    text: str
    """The event as the source has it, in compact JSON, cut where it is very long."""


@dataclass(slots=True)
class ImportCounts:
    """What became of everything found so far."""

    events_read: int = 0
    events_unreadable: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    """How many were left out, by reason: `empty set`, `set type LEAD`; the reasons are bounded."""

    def skip(self, reason: str) -> None:
        """Counts something left out."""
        shown = "".join(c if c.isprintable() else "?" for c in reason[:_MAX_REASON_CHARACTERS])
        if shown not in self.skipped and len(self.skipped) >= MAX_REASONS:
            shown = _OTHER_REASONS
        self.skipped[shown] = self.skipped.get(shown, 0) + 1


class Importer:
    """The events of one file, in its order, each as soon as it is read.

    The file may be larger than memory: one conversation, session or event is held at a time, of at most
    `max_record_characters`. What the contract does not model is in `additional_attributes`; nothing
    that an event says is lost, and numbers are text exactly as the file writes them. Of members that
    repeat a name inside one object the last counts.

    The same file always gives the same events with the same ids. An event of an export has the same id
    in every file, as long as it says the same; repeats inside a file come out as often as they stand
    there. An event that a page pushed has an id of its source and its position.

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
        """Reads decompressed bytes from the stream; `source` names where they come from.

        Events that a page pushed carry the first characters of the source, as many as the contract
        allows; those of an export carry none, because they say themselves where they come from.
        """
        self.counts = ImportCounts()
        self._scanner = Scanner(stream, block_bytes=block_bytes, max_value_characters=max_record_characters)
        # File names may hold bytes that are no text.
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
            return None
        if isinstance(finding, MisshapenSet):
            return self._refuse(finding.origin, finding.error)
        try:
            event = self._build(finding)
        except UnreadableError as error:
            return self._refuse(finding.origin, error)
        if event is None:
            self.counts.skip("empty set")
            return None
        self.counts.events_read += 1
        return ImportedEvent(event, finding.origin.place)

    def _build(self, found: FoundSet) -> v1.Event | None:
        content = read_content(found)
        if content is None:
            return None
        if not found.is_inbound:
            # No source: the same event in another file is a repeat, and may not differ in anything.
            return content.build(event_id=content.make_id(position=None), source="")
        event_id = content.make_id(position=(self._source, self._position))
        return content.build(event_id=event_id, source=self._short_source)

    def _refuse(self, origin: Origin, error: UnreadableError) -> UnreadableEvent:
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
