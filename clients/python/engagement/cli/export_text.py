"""Exports in text: NDJSON and CSV, optionally compressed with gzip."""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import IO, Final

from engagement import v1
from engagement.cli.event_columns import (
    COLUMNS,
    Column,
    Converters,
    Kind,
    RowReader,
    columns_beyond,
    columns_of,
)
from engagement.cli.event_json import to_json
from engagement.cli.moment import write_epoch_ms
from engagement.cli.tables.style import MARKED, MARKS_COLUMN, TableStyle, mark, unmark

_GZIP_LEVEL: Final = 3
_CURSOR_MEMBER: Final = '"cursor": "'
_QUOTED_IN_CSV: Final = re.compile(r'[",\r\n]')
_MAX_FIELD_CHARACTERS: Final = 64 * 1024 * 1024


class NdjsonFormat:
    """A StoredEvent in proto-JSON on each line."""

    def __init__(self, *, is_compressed: bool) -> None:
        self._is_compressed = is_compressed

    def begin(self) -> bytes:
        """Nothing."""
        return b""

    def resume(self, part: Path) -> Sequence[str]:
        """Nothing: each line has its own names."""
        return ()

    def encode(self, events: Sequence[v1.StoredEvent]) -> bytes:
        """A line for each event."""
        return _encode("\n".join([*map(to_json, events), ""]), is_compressed=self._is_compressed)

    def read_cursors(self, part: Path) -> Iterator[str]:
        """The value of the last member `cursor` of each line, which is the StoredEvent's own."""
        with _open(part, is_compressed=self._is_compressed) as lines:
            for line in lines:
                yield line.rpartition(_CURSOR_MEMBER)[2].partition('"')[0]

    def finish(self, part: Path) -> Path:
        """The file itself."""
        return part


class CsvFormat:
    """A header and a row for each event: an absent value is an empty cell, an empty text is `""`.

    If formulas are marked, a last column says so in each row.
    """

    def __init__(self, *, is_compressed: bool, style: TableStyle = TableStyle()) -> None:  # noqa: B008 - frozen
        self._is_compressed = is_compressed
        self._style = style
        self._set_columns(COLUMNS, marks_formulas=style.marks_formulas)

    def begin(self) -> bytes:
        """The header."""
        names = [self._style.name(column.name) for column in COLUMNS]
        if self._style.marks_formulas:
            names.append(MARKS_COLUMN)
        beginning = "\ufeff" if self._style.has_byte_order_mark else ""
        return _encode(beginning + ",".join(names) + "\n", is_compressed=self._is_compressed)

    def resume(self, part: Path) -> Sequence[str]:
        """Goes on with the columns of the header."""
        with _open(part, is_compressed=self._is_compressed) as lines:
            names = next(csv.reader(lines))
        marks_formulas = names[-1] == MARKS_COLUMN
        columns = columns_of(part, names[:-1] if marks_formulas else names)
        self._set_columns(columns, marks_formulas=marks_formulas)
        return columns_beyond(columns)

    def _set_columns(self, columns: Sequence[Column], *, marks_formulas: bool) -> None:
        self._rows = RowReader(_MARKING_CONVERTERS if marks_formulas else _CONVERTERS, columns=columns)
        self._row_end = f",{MARKED}\n" if marks_formulas else "\n"

    def encode(self, events: Sequence[v1.StoredEvent]) -> bytes:
        """A row for each event."""
        read, end = self._rows.read, self._row_end
        lines = [",".join([cell or "" for cell in read(stored)]) for stored in events]
        return _encode(end.join([*lines, ""]), is_compressed=self._is_compressed)

    def read_cursors(self, part: Path) -> Iterator[str]:
        """The first column."""
        previous = csv.field_size_limit(_MAX_FIELD_CHARACTERS)
        try:
            with _open(part, is_compressed=self._is_compressed) as lines:
                rows = csv.reader(lines)
                has_marks = next(rows)[-1] == MARKS_COLUMN
                yield from (unmark(row[0]) if has_marks else row[0] for row in rows)
        finally:
            csv.field_size_limit(previous)

    def finish(self, part: Path) -> Path:
        """The file itself."""
        return part


def _encode(text: str, *, is_compressed: bool) -> bytes:
    """The bytes of a block; a gzip file may have any number of members."""
    block = text.encode()
    return gzip.compress(block, _GZIP_LEVEL, mtime=0) if is_compressed else block


def _open(part: Path, *, is_compressed: bool) -> IO[str]:
    if is_compressed:
        return gzip.open(part, "rt", encoding="utf-8-sig", newline="")
    return part.open(encoding="utf-8-sig", newline="")


def _quote(text: str) -> str:
    return f'"{text.replace(chr(34), chr(34) * 2)}"' if not text or _QUOTED_IN_CSV.search(text) else text


_CONVERTERS: Final[Converters] = {
    Kind.TEXT: _quote,
    Kind.FLAG: lambda flag: "true" if flag else "false",
    # The events of a commit share one time of acceptance, which is often their own time too.
    Kind.TIME: lru_cache(maxsize=1024)(write_epoch_ms),
    Kind.DAY: lambda day: f"{day.year:04}-{day.month:02}-{day.day:02}",
}
_MARKING_CONVERTERS: Final[Converters] = {**_CONVERTERS, Kind.TEXT: lambda text: _quote(mark(text))}
