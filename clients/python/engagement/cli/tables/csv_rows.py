"""Reads the rows of CSV, and keeps an empty text apart from an absent one.

Python's csv module returns the same for both. Nothing is guessed: a row with quotation marks that RFC 4180
does not allow is a fault.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from engagement.cli.event_texts import MAX_TEXT_BYTES
from engagement.cli.tables.errors import TableDamageError

MAX_ROW_BYTES: Final = MAX_TEXT_BYTES
_SKIPPED_BYTES: Final = 64 * 1024
_SHOWN_CHARACTERS: Final = 200


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a row cannot be read."""

    rule: str
    description: str


Cells = list[str | None]

_TOO_LONG: Final = Fault("csv.max_row_bytes", f"takes more than {MAX_ROW_BYTES} bytes")
_NOT_UTF_8: Final = Fault("csv.utf8", "not UTF-8: save the file as CSV in UTF-8")
_STRAY_RETURN: Final = Fault("csv.line_end", "has a carriage return outside of quotation marks")
_STRAY_QUOTE: Final = Fault(
    "csv.quotes", "has a quotation mark inside of a cell that does not begin with one"
)
_BEHIND_QUOTE: Final = Fault("csv.quotes", "has text behind a closing quotation mark")


class CsvRows:
    """The rows of a stream; blank lines are skipped.

    A row that cannot be read is a fault, and reading goes on with the next line. Raises TableDamageError if a
    quotation mark is never closed, or so that the lines in between cannot be trusted.
    """

    def __init__(self, stream: BinaryIO, *, separator: str) -> None:
        self._stream = stream
        self.separator = separator
        self.empty_text: str | None = None
        """A quoted cell without text: absent, or the empty text."""
        self.line_number = 0
        """The number of the line with which the last row begins, from 1."""
        self.text = ""
        """The last row as it stands in the file."""
        self._lines_read = 0
        self._size_bytes = 0
        self._is_utf_8 = True

    def __iter__(self) -> Iterator[Cells | Fault]:
        while line := self._begin_row():
            if self._size_bytes > MAX_ROW_BYTES:
                yield self._skip(line)
            elif '"' in line:
                yield self._read_quoted(line)
            elif content := _without_end(line):
                if "\r" in content:
                    yield _STRAY_RETURN
                elif not self._is_utf_8:
                    yield _NOT_UTF_8
                else:
                    yield [cell or None for cell in content.split(self.separator)]

    def _begin_row(self) -> str:
        self._size_bytes = 0
        self._is_utf_8 = True
        self.text = self._read_line()
        self.line_number = self._lines_read
        return self.text

    def _read_line(self) -> str:
        """The next line with its end, at most one byte longer than a row may be; empty at the end."""
        line = self._stream.readline(MAX_ROW_BYTES + 1)
        self._size_bytes += len(line)
        self._lines_read += 1
        try:
            return line.decode() if self._lines_read > 1 else line.decode("utf-8-sig")
        except UnicodeDecodeError:
            self._is_utf_8 = False
            return line.decode(errors="replace")

    def _skip(self, line: str) -> Fault:
        """Skips the rest of a long line. Raises TableDamageError if a quotation mark in it may be open."""
        has_quotes = '"' in line
        is_ended = line.endswith("\n")
        while not (is_ended or has_quotes):
            rest = self._stream.readline(_SKIPPED_BYTES)
            has_quotes = b'"' in rest
            is_ended = not rest or rest.endswith(b"\n")
        if has_quotes:
            raise self._unclosed(_TOO_LONG.description)
        self.text = line[:_SHOWN_CHARACTERS] + "…"
        return _TOO_LONG

    def _read_quoted(self, line: str) -> Cells | Fault:
        """The cells of the row that begins with this line; it goes on while a quotation mark is open."""
        row = _QuotedRow(self.separator, empty_text=self.empty_text)
        row.add(line)
        if not row.is_open:
            return row.cells if self._is_utf_8 else _NOT_UTF_8
        lines = [line]
        while row.is_open:
            line = self._read_line()
            if not line:
                raise self._unclosed("the file ends before it is closed")
            if self._size_bytes > MAX_ROW_BYTES:
                raise self._unclosed(_TOO_LONG.description)
            lines.append(line)
            row.add(line)
        self.text = "".join(lines)
        if row.fault is not None:
            raise self._unclosed(row.fault.description)
        return row.cells if self._is_utf_8 else _NOT_UTF_8

    def _unclosed(self, reason: str) -> TableDamageError:
        return TableDamageError(
            f"line {self.line_number}: the row that begins there has an open quotation mark, and {reason}"
        )


class _QuotedRow:
    """A row with quotation marks, which may hold separators and line ends between them."""

    def __init__(self, separator: str, *, empty_text: str | None) -> None:
        self._separator = separator
        self._empty_text = empty_text
        self._cells: Cells = []
        self._pending: list[str] = []
        """The pieces of an open cell."""
        self._quotes = 0
        self.fault: Fault | None = None

    @property
    def is_open(self) -> bool:
        """Whether the row goes on in the next line."""
        return bool(self._pending) and self.fault is None

    @property
    def cells(self) -> Cells | Fault:
        """The cells of the whole row, or what is wrong with it."""
        return self.fault or self._cells

    def add(self, line: str) -> None:
        """Reads the next line of the row, with its end."""
        cells, pending, separator = self._cells, self._pending, self._separator
        if pending and '"' not in line:
            pending.append(line)
            return
        content = _without_end(line)
        for index, piece in enumerate(content.split(separator)):
            if pending:
                pending.append(separator + piece if index else piece)
                self._quotes += piece.count('"')
            elif piece[:1] == '"':
                pending.append(piece)
                self._quotes = piece.count('"')
            else:
                cells.append(piece or None)
                if '"' in piece or "\r" in piece:
                    self.fault = self.fault or (_STRAY_QUOTE if '"' in piece else _STRAY_RETURN)
                continue
            if self._quotes % 2 == 0:
                cells.append(self._unquote("".join(pending)))
                pending.clear()
            elif '"' in piece[len(pending) == 1 :].replace('""', ""):
                # It was closed before, or another cell has begun: the sooner this is told, the less is lost.
                self.fault = self.fault or _BEHIND_QUOTE
        if pending:
            pending.append(line[len(content) :])

    def _unquote(self, cell: str) -> str | None:
        """The text of a cell that begins with a quotation mark and has an even number of them."""
        text = cell[1:-1]
        if cell[-1] != '"' or '"' in text.replace('""', ""):
            self.fault = self.fault or _BEHIND_QUOTE
        return text.replace('""', '"') or self._empty_text


def _without_end(line: str) -> str:
    return line[:-2] if line.endswith("\r\n") else line.removesuffix("\n")
