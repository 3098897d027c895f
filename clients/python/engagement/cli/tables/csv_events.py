"""Reads events from CSV: a header, and a row for each event."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import BinaryIO, Final

from engagement.cli.event_texts import EventTexts
from engagement.cli.input_file import DAMAGE
from engagement.cli.outcomes import FoundEvent, Rejection
from engagement.cli.proto_json import EventSyntaxError
from engagement.cli.tables.cells import FROM_TEXT
from engagement.cli.tables.csv_rows import Cells, CsvRows, Fault
from engagement.cli.tables.errors import TableDamageError
from engagement.cli.tables.header import Target, find_target, find_targets
from engagement.cli.tables.rows import RowEvents
from engagement.violation import Violation

_SEPARATORS: Final = (",", ";", "\t", "|")
_SEPARATED: Final = "Cells may be separated by commas, semicolons, tabs and |"
_ENDINGS: Final = (".csv", ".tsv")
# With this line Excel says what separates cells.
_SEPARATOR_LINE: Final = re.compile(r'"?sep=([,;\t|])"?\r?\n?')
_FIRST_OF_AN_EXPORT: Final = "cursor"
_TRUNCATED: Final = Fault("csv.line_end", "has no line end, as every row of an export: the file is truncated")


def looks_like_csv(head: bytes, *, name: str) -> bool:
    """Whether an input is CSV: its name says so, or it begins with the name of a column of events."""
    text = _beginning(head)
    if not text or text[0] in "{[":
        return False
    if name.lower().removesuffix(".gz").removesuffix(".zst").endswith(_ENDINGS):
        return True
    return _SEPARATOR_LINE.match(text) is not None or _known_columns(text, _separator_of(text)) > 0


def _beginning(head: bytes) -> str:
    return head.removeprefix(codecs.BOM_UTF8).decode(errors="replace").lstrip(" \r\n")


def _separator_of(text: str) -> str:
    """The separator that gives most known columns, or else most columns."""
    return max(
        _SEPARATORS, key=lambda each: (_known_columns(text, each), text.partition("\n")[0].count(each))
    )


def _known_columns(text: str, separator: str) -> int:
    names = text.partition("\n")[0].rstrip("\r").split(separator)
    return sum(find_target(name.strip('"')) is not None for name in names)


class CsvEvents:
    """The events of a stream; a row that cannot be read is a rejection, and reading continues.

    A quoted cell without text is the empty text in a file that export wrote, and absent in any other. Raises
    TableDamageError at damage; the events before it are good.
    """

    def __init__(self, stream: BinaryIO, *, head: bytes, texts: EventTexts) -> None:
        """`head` is the beginning of the stream, which tells its separator."""
        self._rows = CsvRows(stream, separator=_separator_of(_beginning(head)))
        self._texts = texts
        self._is_export = False

    @property
    def events_read(self) -> int:
        """Events found so far, readable or not."""
        return self._texts.events_read

    def __iter__(self) -> Iterator[FoundEvent | Rejection]:
        try:
            rows = iter(self._rows)
            if (names := self._read_header(rows)) is not None:
                yield from self._read_rows(rows, names)
        except DAMAGE as error:
            raise TableDamageError(f"after line {self._rows.line_number}: {error}") from error

    def _read_header(self, rows: Iterator[Cells | Fault]) -> list[str] | None:
        """The names of the columns; None if there are no rows at all."""
        header = next(rows, None)
        if header is not None and (match := _SEPARATOR_LINE.fullmatch(self._rows.text)):
            self._rows.separator = match[1]
            header = next(rows, None)
        if header is None:
            return None
        if isinstance(header, Fault):
            raise TableDamageError(
                f"line {self._rows.line_number}, the names of its columns: {header.description}"
            )
        names = [name or "" for name in header]
        # Spreadsheets leave columns without a name behind the last one.
        while names and not names[-1].strip():
            names.pop()
        # As export writes it. A program that quotes everything quotes what is absent, too.
        self._is_export = _FIRST_OF_AN_EXPORT in names and '"' not in self._rows.text
        self._rows.empty_text = "" if self._is_export else None
        return names

    def _read_rows(self, rows: Iterator[Cells | Fault], names: list[str]) -> Iterator[FoundEvent | Rejection]:
        targets = _find_targets(names)
        read = RowEvents(names, targets, [FROM_TEXT[target.content] for target in targets]).read
        texts, width = self._texts, len(names)
        for row in rows:
            cells = row if isinstance(row, Fault) else _fit(row, width)
            if self._is_export and not self._rows.text.endswith("\n"):
                cells = _TRUNCATED
            if isinstance(cells, Fault):
                yield self._reject(Violation("", cells.rule, cells.description))
                continue
            if not cells:
                continue
            try:
                events = read(cells)
            except EventSyntaxError as error:
                yield self._reject(Violation(error.field, error.rule, error.description))
                continue
            for event in events:
                yield texts.add(event, place=self._rows.line_number)

    def _reject(self, violation: Violation) -> Rejection:
        text = self._rows.text.rstrip("\r\n")
        return self._texts.reject(violation, text=text, place=self._rows.line_number)


def _find_targets(names: list[str]) -> list[Target]:
    """What the columns hold. Raises TableDamageError, with the known separators if the header has none."""
    try:
        return find_targets(names)
    except TableDamageError as error:
        if len(names) != 1:
            raise
        raise TableDamageError(f"{error}. {_SEPARATED}") from error


def _fit(cells: Cells, width: int) -> Cells | Fault:
    """The cells of the named columns; none if the row is blank, as spreadsheets leave some."""
    if cells.count(None) == len(cells):
        return []
    if len(cells) == width:
        return cells
    if len(cells) < width or any(cell is not None for cell in cells[width:]):
        return Fault("csv.cells", f"has {len(cells)} cells, but the header has {width}")
    return cells[:width]
