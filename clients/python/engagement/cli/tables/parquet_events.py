"""Reads events from Parquet. Its library is an extra of the package."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, BinaryIO, Final  # Any: tables of an untyped library

import pyarrow as pa
from pyarrow import parquet, types

from engagement import v1
from engagement.cli.event_texts import EventTexts
from engagement.cli.outcomes import FoundEvent, Rejection
from engagement.cli.proto_json import EventSyntaxError
from engagement.cli.tables.cells import FROM_TEXT, Convert
from engagement.cli.tables.errors import TableDamageError
from engagement.cli.tables.header import Content, Target, find_targets
from engagement.cli.tables.rows import RowEvents
from engagement.violation import Violation

_BATCH_ROWS: Final = 1024
_BATCH_BYTES: Final = 8 * 1024 * 1024
_BUFFER_BYTES: Final = 1024 * 1024
_FIRST_DAY: Final = datetime.date(1970, 1, 1).toordinal()
_DAMAGE: Final = (pa.ArrowException, OSError, UnicodeDecodeError)

_Arrange = Callable[[Any], Any]
"""Turns an array into one whose items are read as Python's plain values."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """How a column of some type is read."""

    arrange: _Arrange
    convert: Convert | None


class ParquetEvents:
    """The events of a file, in the order of its rows; a row that cannot be read is a rejection.

    Some rows of one row group are in memory, and the pages that the file keeps them in. Raises
    TableDamageError at damage; the events before it are good.
    """

    def __init__(self, file: BinaryIO, *, texts: EventTexts) -> None:
        self._file = file
        self._texts = texts
        self._rows_read = 0

    def __iter__(self) -> Iterator[FoundEvent | Rejection]:
        try:
            with parquet.ParquetFile(
                self._file, buffer_size=_BUFFER_BYTES, pre_buffer=False, page_checksum_verification=True
            ) as table:
                yield from self._read(table)
        except _DAMAGE as error:
            place = f"after row {self._rows_read}" if self._rows_read else "at its beginning"
            raise TableDamageError(f"{place}: {str(error).partition(chr(10))[0]}") from error

    def _read(self, table: Any) -> Iterator[FoundEvent | Rejection]:
        schema = table.schema_arrow
        columns = [
            (name, target)
            for name, target in zip(schema.names, find_targets(schema.names), strict=True)
            if target.content is not Content.DROPPED
        ]
        names = [name for name, _ in columns]
        readings = _readings(schema, columns)
        rows = RowEvents(names, [target for _, target in columns], [each.convert for each in readings])
        for group in range(table.num_row_groups):
            batch_rows = _batch_rows(table.metadata.row_group(group))
            # A name may also select columns that it is the beginning of.
            for batch in table.iter_batches(batch_rows, row_groups=[group], columns=names, use_threads=False):
                cells = [
                    each.arrange(batch.column(name)).to_pylist()
                    for name, each in zip(names, readings, strict=True)
                ]
                yield from self._read_rows(rows, names, zip(*cells, strict=True))

    def _read_rows(
        self, rows: RowEvents, names: Sequence[str], cells: Iterator[Sequence[Any]]
    ) -> Iterator[FoundEvent | Rejection]:
        for row in cells:
            self._rows_read += 1
            place = f"row {self._rows_read}"
            try:
                events = rows.read(row)
            except EventSyntaxError as error:
                violation = Violation(error.field, error.rule, error.description)
                yield self._texts.reject(violation, text=_show(names, row), place=place)
                continue
            for event in events:
                yield self._texts.add(event, place=place)


def _batch_rows(group: Any) -> int:
    """How many rows of a group to hold in memory."""
    row_bytes: int = max(1, group.total_byte_size // max(1, group.num_rows))
    return max(1, min(_BATCH_ROWS, _BATCH_BYTES // row_bytes))


def _readings(schema: Any, columns: Sequence[tuple[str, Target]]) -> list[_Reading]:
    """How the columns are read. Raises TableDamageError, with all columns whose type is another."""
    readings = [_reading(target.content, schema.field(name).type) for name, target in columns]
    wrong = [
        f"{name!r} is {schema.field(name).type}, not {_EXPECTED.get(target.content, 'text')}"
        for (name, target), reading in zip(columns, readings, strict=True)
        if reading is None
    ]
    if wrong:
        raise TableDamageError(
            f"nothing of it was read, because these columns are of another type: {', '.join(wrong)}"
        )
    return [each for each in readings if each is not None]


def _reading(content: Content, type_: Any) -> _Reading | None:
    """How a column is read; None if its type cannot hold such content."""
    if types.is_dictionary(type_):
        inner = _reading(content, type_.value_type)
        return inner and _Reading(lambda array: inner.arrange(array.dictionary_decode()), inner.convert)
    is_text = types.is_string(type_) or types.is_large_string(type_) or types.is_string_view(type_)
    if is_text or types.is_null(type_):
        return _Reading(_same, FROM_TEXT[content])
    return _typed_reading(content, type_)


def _typed_reading(content: Content, type_: Any) -> _Reading | None:
    match content:
        case Content.TIME if types.is_timestamp(type_) and type_.tz is not None:
            return _Reading(_to_milliseconds, None)
        case Content.TIME | Content.DAY_PART if types.is_integer(type_):
            return _Reading(_same, None)
        case Content.DAY if types.is_date(type_):
            return _Reading(_to_days, _day)
        case Content.FLAG if types.is_boolean(type_):
            return _Reading(_same, None)
    return None


_EXPECTED: Final = {
    Content.TIME: "a timestamp with a zone, a whole number or text",
    Content.DAY: "a date or text",
    Content.DAY_PART: "a whole number or text",
    Content.FLAG: "a Boolean or text",
}


def _same(array: Any) -> Any:
    return array


def _to_milliseconds(array: Any) -> Any:
    """What is finer is cut off, as in text."""
    return array.cast(pa.timestamp("ms", array.type.tz), safe=False).cast(pa.int64())


def _to_days(array: Any) -> Any:
    return array.cast(pa.date32()).cast(pa.int32())


@lru_cache(maxsize=32 * 1024)
def _day(days: int) -> v1.Date:
    try:
        day = datetime.date.fromordinal(days + _FIRST_DAY)
    except (ValueError, OverflowError):
        raise EventSyntaxError("must be a day of the years 1 to 9999", rule="table.day") from None
    return v1.Date(year=day.year, month=day.month, day=day.day)


def _show(names: Sequence[str], row: Sequence[Any]) -> str:
    cells = {name: cell for name, cell in zip(names, row, strict=True) if cell is not None}
    return json.dumps(cells, ensure_ascii=False)
