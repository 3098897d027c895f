"""A stored event as a row of a table: its columns and cells, independent of file formats.

The columns of attributes that the contract gets later come last: no column ever changes its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any, Final, cast  # Any: cells of all kinds

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from engagement import v1
from engagement.attribute_order import FIRST_RELEASE, LATER
from engagement.cli.event_json import contacts_to_json, texts_to_json
from engagement.cli.failures import CommandError
from engagement.cli.tables.style import sql_name


class Kind(Enum):
    """The type of a column, and of the values that its cells are converted from."""

    TEXT = auto()
    """A `str`."""
    FLAG = auto()
    """A `bool`."""
    TIME = auto()
    """Epoch milliseconds."""
    DAY = auto()
    """A `v1.Date`."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table."""

    name: str
    kind: Kind


Converters = dict[Kind, Callable[[Any], Any]]

# Of every table, in these places.
_FIRST: Final = (
    Column("cursor", Kind.TEXT),
    Column("receive_time", Kind.TIME),
    Column("event_id", Kind.TEXT),
    Column("consumer_id", Kind.TEXT),
    Column("conversation_id", Kind.TEXT),
    Column("authenticated", Kind.FLAG),
    Column("source", Kind.TEXT),
    Column("set", Kind.TEXT),
    Column("server_time_stamp", Kind.TIME),
    Column("original_time_stamp", Kind.TIME),
    Column("matched_customer_status", Kind.TEXT),
    Column("matched_customer_type", Kind.TEXT),
)
_MASKED: Final = Column("masked_fields", Kind.TEXT)
_ADDITIONAL: Final = Column("additional_attributes", Kind.TEXT)
_KINDS: Final = {
    FieldDescriptor.TYPE_STRING: Kind.TEXT,
    FieldDescriptor.TYPE_INT64: Kind.TIME,
    FieldDescriptor.TYPE_MESSAGE: Kind.DAY,
}


def _attributes() -> Iterator[tuple[str, FieldDescriptor, Column]]:
    """Every field of every attribute set: the set, the field and its column."""
    # The stubs also allow the C implementation, and fields that are not messages.
    for choice in cast("Descriptor", v1.Event.DESCRIPTOR).oneofs_by_name["attributes"].fields:
        for field in cast("Descriptor", choice.message_type).fields:
            kind = Kind.TEXT if field.is_repeated else _KINDS[field.type]
            is_shared = field.name == "server_time_stamp"
            yield choice.name, field, Column(field.name if is_shared else f"{choice.name}.{field.name}", kind)


_ATTRIBUTES: Final = {field: column for _, field, column in _attributes()}


def _columns() -> Iterator[Column]:
    by_path = {(set_name, field.name): column for set_name, field, column in _attributes()}
    yield from _FIRST
    for set_name, names in FIRST_RELEASE.items():
        yield from (by_path[set_name, name] for name in names)
    yield _MASKED
    yield _ADDITIONAL
    yield from (by_path[path] for path in LATER)
    yield from by_path.values()


COLUMNS: Final = tuple(dict.fromkeys(_columns()))
"""The columns of a new table."""


def columns_of(part: Path, names: Sequence[str]) -> tuple[Column, ...]:
    """The columns with which a table was begun. Raises CommandError if one is unknown."""
    by_name = {name: column for column in COLUMNS for name in (column.name, sql_name(column.name))}
    unknown = [name for name in names if name not in by_name]
    if unknown:
        raise CommandError(
            f"{part} has the column {unknown[0]!r}, which this version does not know. Resume it with the"
            " version that began it, or discard it with --restart."
        )
    return tuple(by_name[name] for name in names)


def columns_beyond(columns: Sequence[Column]) -> list[str]:
    """The names of the columns that only a new table has."""
    return [column.name for column in COLUMNS if column not in columns]


class RowReader:
    """Reads the cells of an event, in the order of the columns; an absent value is None."""

    def __init__(self, converters: Converters, *, columns: Sequence[Column] = COLUMNS) -> None:
        """`converters` turn a value of each kind into a cell. The first columns are those of every table."""
        self._text = converters[Kind.TEXT]
        self._flag = converters[Kind.FLAG]
        self._time = converters[Kind.TIME]
        self._width = len(columns)
        self._places = {column.name: index for index, column in enumerate(columns)}
        self._additional = self._places[_ADDITIONAL.name]
        self._attributes = {
            field: (columns.index(column), self._converter(field, converters[column.kind]))
            for field, column in _ATTRIBUTES.items()
            if column in columns
        }

    def _converter(self, field: FieldDescriptor, convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
        return (lambda contacts: self._text(contacts_to_json(contacts))) if field.is_repeated else convert

    def read(self, stored: v1.StoredEvent) -> list[Any]:
        """The cells of an event."""
        event, received = stored.event, stored.receive_time
        set_name = event.WhichOneof("attributes")
        row: list[Any] = [
            self._text(stored.cursor),
            self._time(received.seconds * 1000 + received.nanos // 1_000_000),
            self._text(event.event_id),
            self._optional(event.consumer_id),
            self._optional(event.conversation_id),
            self._flag(event.authenticated),
            self._optional(event.source),
            self._optional(set_name),
            None,
            self._time(event.original_time_stamp) if event.HasField("original_time_stamp") else None,
            self._optional(stored.matched_customer_status),
            self._optional(stored.matched_customer_type),
        ]
        row += [None] * (self._width - len(row))
        if set_name is not None:
            for field, value in getattr(event, set_name).ListFields():
                if field in self._attributes:
                    index, convert = self._attributes[field]
                    row[index] = convert(value)
        if event.additional_attributes:
            row[self._additional] = self._text(texts_to_json(event.additional_attributes))
        if stored.masked_fields:
            self._clear(row, stored.masked_fields)
        return row

    def _clear(self, row: list[Any], masked: Sequence[str]) -> None:
        """Leaves out what the server has put in place of values, and says what these are."""
        for path in masked:
            if path in self._places:
                row[self._places[path]] = None
        if _MASKED.name in self._places:
            row[self._places[_MASKED.name]] = self._text(",".join(masked))

    def _optional(self, text: str | None) -> Any:
        """The cell of a text that is empty if it is absent."""
        return self._text(text) if text else None
