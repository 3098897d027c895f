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
from engagement.cli.event_columns import COLUMNS, Converters, Kind, RowReader, columns_beyond, columns_of
from engagement.cli.event_json import to_json
from engagement.cli.moment import write_epoch_ms

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
    """A header and a row for each event: an absent value is an empty cell, an empty text is `""`."""

    def __init__(self, *, is_compressed: bool) -> None:
        self._is_compressed = is_compressed
        self._rows = RowReader(_CONVERTERS)

    def begin(self) -> bytes:
        """The header."""
        return _encode(",".join(column.name for column in COLUMNS) + "\n", is_compressed=self._is_compressed)

    def resume(self, part: Path) -> Sequence[str]:
        """Goes on with the columns of the header."""
        with _open(part, is_compressed=self._is_compressed) as lines:
            columns = columns_of(part, next(csv.reader(lines)))
        self._rows = RowReader(_CONVERTERS, columns=columns)
        return columns_beyond(columns)

    def encode(self, events: Sequence[v1.StoredEvent]) -> bytes:
        """A row for each event."""
        read = self._rows.read
        lines = [",".join([cell or "" for cell in read(stored)]) for stored in events]
        return _encode("\n".join([*lines, ""]), is_compressed=self._is_compressed)

    def read_cursors(self, part: Path) -> Iterator[str]:
        """The first column."""
        previous = csv.field_size_limit(_MAX_FIELD_CHARACTERS)
        try:
            with _open(part, is_compressed=self._is_compressed) as lines:
                rows = csv.reader(lines)
                next(rows)
                yield from (row[0] for row in rows)
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
        return gzip.open(part, "rt", encoding="utf-8", newline="")
    return part.open(encoding="utf-8", newline="")


def _quote(text: str) -> str:
    return f'"{text.replace(chr(34), chr(34) * 2)}"' if not text or _QUOTED_IN_CSV.search(text) else text


_CONVERTERS: Final[Converters] = {
    Kind.TEXT: _quote,
    Kind.FLAG: lambda flag: "true" if flag else "false",
    # The events of a commit share one time of acceptance, which is often their own time too.
    Kind.TIME: lru_cache(maxsize=1024)(write_epoch_ms),
    Kind.DAY: lambda day: f"{day.year:04}-{day.month:02}-{day.day:02}",
}
