"""Reads the events of an input in any format, up to the first damage."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Final

from engagement import liveperson
from engagement.cli.event_documents import EventDocuments, holds_events, is_wrapped
from engagement.cli.event_lines import EventLines
from engagement.cli.event_texts import EventTexts
from engagement.cli.input_file import DAMAGE, InputFile
from engagement.cli.outcomes import FoundEvent, Rejection
from engagement.cli.tables.errors import TableDamageError
from engagement.cli.tables.table_events import TableEvents, is_table
from engagement.violation import Violation

BATCH_EVENTS: Final = 200
BATCH_BYTES: Final = 4 * 1024 * 1024


class Format(StrEnum):
    """The format of an input."""

    AUTO = "auto"
    EVENTS = "events"
    LIVEPERSON = "liveperson"
    TABLE = "table"


class InputEvents:
    """The events of one input in order, in one pass and bounded memory.

    Damage ends the iteration and is described in `damage`; the events before it are good.
    """

    def __init__(self, file: InputFile, *, format: Format, source: str | None) -> None:  # noqa: A002 - as the option
        self.file = file
        # The same content gets the same ids, compressed or not.
        source = file.name.removesuffix(".gz").removesuffix(".zst") if source is None else source
        # File names may hold bytes that are not text.
        source = source.encode("utf-8", "backslashreplace").decode()
        self._reader = _reader(file, format=format, source=source)
        self.damage = f"it is {file.foreign_format}" if file.foreign_format else ""
        """Where and why the input could not be read to its end; empty if it could."""

    def __iter__(self) -> Iterator[FoundEvent | Rejection]:
        if self.file.foreign_format:
            return iter(())
        match self._reader:
            case EventLines():
                return self._read_lines(self._reader)
            case EventDocuments() | TableEvents():
                return self._read_documents(self._reader)
            case _:
                return self._import(self._reader)

    @property
    def events_read(self) -> int:
        """Events found so far, readable or not."""
        if isinstance(self._reader, liveperson.Importer):
            return self._reader.counts.events_read + self._reader.counts.events_unreadable
        return self._reader.events_read

    @property
    def skipped(self) -> dict[str, int]:
        """The number of items skipped so far because they are not events, by reason."""
        return self._reader.counts.skipped if isinstance(self._reader, liveperson.Importer) else {}

    @property
    def converted(self) -> dict[str, int]:
        """The number of times so far that were not written in milliseconds, by their form."""
        return self._reader.counts.converted if isinstance(self._reader, liveperson.Importer) else {}

    def _read_lines(self, lines: EventLines) -> Iterator[FoundEvent | Rejection]:
        try:
            yield from lines
        except DAMAGE as error:
            self.damage = f"after line {lines.line_number}: {error}"
        else:
            self._tell_comma(lines.trailing_comma)

    def _read_documents(self, documents: EventDocuments | TableEvents) -> Iterator[FoundEvent | Rejection]:
        try:
            yield from documents
        except (liveperson.CorruptInputError, TableDamageError) as error:
            self.damage = str(error)
        else:
            self._tell_comma(documents.trailing_comma if isinstance(documents, EventDocuments) else "")

    def _import(self, importer: liveperson.Importer) -> Iterator[FoundEvent | Rejection]:
        try:
            for found in importer:
                if isinstance(found, liveperson.ImportedEvent):
                    yield FoundEvent(found.event, found.place, found.has_later_attributes)
                else:
                    yield _rejection_of(found)
        except liveperson.CorruptInputError as error:
            self.damage = str(error)
            return
        self._tell_comma(importer.trailing_comma)
        counts = importer.counts
        if counts.first_stranger and not counts.is_recognized:
            self.damage = f"nothing in it is an event; the first item is {counts.first_stranger}"

    def _tell_comma(self, place: str) -> None:
        if place:
            self.damage = f"{place}: a comma with nothing behind it, which was ignored"


def _reader(
    file: InputFile,
    *,
    format: Format,  # noqa: A002 - as the option
    source: str,
) -> EventLines | EventDocuments | TableEvents | liveperson.Importer:
    if format is Format.TABLE or file.is_parquet or (format is Format.AUTO and is_table(file)):
        return TableEvents(file, texts=EventTexts(source=source))
    is_ours = format is Format.EVENTS or (format is Format.AUTO and holds_events(file.head))
    if format is Format.LIVEPERSON or not (is_ours or not liveperson.looks_like_import(file.head)):
        return liveperson.Importer(file.stream, source=source)
    if is_ours and not _is_in_lines(file.head):
        return EventDocuments(file.stream, texts=EventTexts(source=source))
    return EventLines(file.stream, source=source)


def _is_in_lines(head: bytes) -> bool:
    """Whether a file of events with this beginning has one per line, even if the first line is damaged."""
    line, newline, _ = head.decode("utf-8-sig", errors="replace").strip().partition("\n")
    line = line.rstrip()
    if line.startswith("["):
        return False
    try:
        json.loads(line)
    except json.JSONDecodeError as error:
        if error.msg.startswith("Unterminated") or error.pos >= len(line):
            # It goes on in the next line, or behind this beginning.
            return not newline and not is_wrapped(line)
        return error.msg != "Extra data"
    return True


def size_of(found: FoundEvent | Rejection) -> int:
    """The approximate size of an item in memory, in bytes."""
    return found.event.ByteSize() if isinstance(found, FoundEvent) else len(found.text)


def in_batches(events: Iterable[FoundEvent | Rejection]) -> Iterator[list[FoundEvent | Rejection]]:
    """The items in lists, bounded in number and, up to one item, in bytes."""
    batch: list[FoundEvent | Rejection] = []
    size_bytes = 0
    for each in events:
        batch.append(each)
        size_bytes += size_of(each)
        if len(batch) >= BATCH_EVENTS or size_bytes >= BATCH_BYTES:
            yield batch
            batch, size_bytes = [], 0
    if batch:
        yield batch


def _rejection_of(found: liveperson.UnreadableEvent) -> Rejection:
    return Rejection(
        place=found.place,
        reason="UNREADABLE",
        message=f"{found.field or 'the event'}: {found.description}",
        violations=(Violation(found.field, found.rule, found.description),),
        text=found.text,
    )
