"""Exports in Parquet. Its library is an extra of the package."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any, Final  # Any: tables of an untyped library

import pyarrow as pa
from pyarrow import parquet

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
from engagement.cli.part_file import create_private
from engagement.cli.tables.style import TableStyle

_TYPES: Final = {
    Kind.TEXT: pa.string(),
    Kind.FLAG: pa.bool_(),
    Kind.TIME: pa.timestamp("ms", tz="UTC"),
    Kind.DAY: pa.date32(),
}
_FIRST_DAY: Final = date(1970, 1, 1).toordinal()
_ROW_GROUP_ROWS: Final = 128 * 1024
_ROW_GROUP_BYTES: Final = 64 * 1024 * 1024
_COMPRESSION: Final = "zstd"


class ParquetFormat:
    """Typed columns: times in UTC, flags, days; an absent value is null.

    A Parquet file cannot be appended to, so an unfinished one is a sequence of Arrow streams.
    """

    def __init__(self, style: TableStyle = TableStyle()) -> None:  # noqa: B008 - frozen
        self._set_columns(COLUMNS, names=[style.name(column.name) for column in COLUMNS])

    def begin(self) -> bytes:
        """Nothing: each block has the schema."""
        return b""

    def resume(self, part: Path) -> Sequence[str]:
        """Goes on with the columns of the first block."""
        first = next(_read_batches(part), None)
        if first is None:
            return ()
        columns = columns_of(part, first.schema.names)
        self._set_columns(columns, names=first.schema.names)
        return columns_beyond(columns)

    def encode(self, events: Sequence[v1.StoredEvent]) -> bytes:
        """An Arrow stream with these events."""
        columns = zip(*map(self._rows.read, events), strict=True)
        arrays = [pa.array(cells, field.type) for cells, field in zip(columns, self._schema, strict=True)]
        sink = pa.BufferOutputStream()
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with pa.ipc.new_stream(sink, self._schema, options=options) as stream:
            stream.write_batch(pa.record_batch(arrays, schema=self._schema))
        return bytes(sink.getvalue())

    def read_cursors(self, part: Path) -> Iterator[str]:
        """The first column of each stream."""
        for batch in _read_batches(part):
            yield from batch.column(0).to_pylist()

    def finish(self, part: Path) -> Path:
        """Writes all streams into a Parquet file beside the part."""
        finished = part.with_name(f"{part.name}.parquet")
        create_private(finished)
        with parquet.ParquetWriter(
            finished, self._schema, compression=_COMPRESSION, write_page_checksum=True
        ) as writer:
            group: list[Any] = []
            for batch in _read_batches(part):
                group.append(batch)
                if (
                    sum(each.num_rows for each in group) >= _ROW_GROUP_ROWS
                    or sum(each.nbytes for each in group) >= _ROW_GROUP_BYTES
                ):
                    self._write_group(writer, group)
            self._write_group(writer, group)
        return finished

    def _set_columns(self, columns: Sequence[Column], *, names: Sequence[str]) -> None:
        fields = zip(names, columns, strict=True)
        self._schema = pa.schema([(name, _TYPES[column.kind]) for name, column in fields])
        self._rows = RowReader(_CONVERTERS, columns=columns)

    def _write_group(self, writer: Any, group: list[Any]) -> None:
        if group:
            table = pa.Table.from_batches(group, schema=self._schema)
            writer.write_table(table, row_group_size=_ROW_GROUP_ROWS)
            group.clear()


def _read_batches(part: Path) -> Iterator[Any]:
    size_bytes = part.stat().st_size
    with part.open("rb") as file:
        while file.tell() < size_bytes:
            with pa.ipc.open_stream(file) as stream:
                yield from stream


def _same(value: Any) -> Any:
    return value


def _number(day: v1.Date) -> int:
    return _day_number(day.year, day.month, day.day)


@lru_cache(maxsize=32 * 1024)
def _day_number(year: int, month: int, day: int) -> int:
    """Days since 1970."""
    return date(year, month, day).toordinal() - _FIRST_DAY


_CONVERTERS: Final[Converters] = {Kind.TEXT: _same, Kind.FLAG: _same, Kind.TIME: _same, Kind.DAY: _number}
