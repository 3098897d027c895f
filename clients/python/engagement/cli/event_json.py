"""Writes stored events in proto-JSON, like protobuf's own writer but many times faster."""

from __future__ import annotations

import json.encoder
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final, cast  # Any: values of fields of all types

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from engagement import v1

_Write = Callable[[Any], str]
_quote: Final[_Write] = json.encoder.encode_basestring


def to_json(stored: v1.StoredEvent) -> str:
    """The proto-JSON of a stored event, without a line break. Unknown fields are omitted."""
    return _write_stored(stored)


def texts_to_json(texts: Mapping[str, str]) -> str:
    """A map as a JSON object."""
    return "{" + ", ".join([f"{_quote(key)}: {_quote(text)}" for key, text in texts.items()]) + "}"


def contacts_to_json(contacts: Any) -> str:
    """Contacts as a JSON list."""
    return _write_contacts(contacts)


def _message_writer(descriptor: Descriptor) -> _Write:
    """A function that writes a message of this type as an object."""
    members: dict[Any, tuple[str, _Write]] = {
        field: (f"{_quote(field.json_name)}: ", _writer_of(field)) for field in descriptor.fields
    }

    def write(message: Message) -> str:
        parts = []
        for field, value in message.ListFields():
            name, write_value = members[field]
            parts.append(name + write_value(value))
        return "{" + ", ".join(parts) + "}"

    return write


def _writer_of(field: FieldDescriptor) -> _Write:
    message = field.message_type
    if message is not None and message.GetOptions().map_entry:
        return texts_to_json
    write = _SCALARS[field.cpp_type] if message is None else _writer_of_message(message)
    return _list_writer(write) if field.is_repeated else write


def _writer_of_message(message: Descriptor) -> _Write:
    if message.full_name == Timestamp.DESCRIPTOR.full_name:
        return _write_time
    if message.full_name == v1.Date.DESCRIPTOR.full_name:
        return _write_day
    return _message_writer(message)


def _list_writer(write: _Write) -> _Write:
    return lambda values: "[" + ", ".join([write(value) for value in values]) + "]"


def _write_time(time: Timestamp) -> str:
    return _time_text(time.seconds, time.nanos)


def _write_day(day: v1.Date) -> str:
    return _day_text(day.year, day.month, day.day)


# The events of a commit share one time, and there are few different days.
@lru_cache(maxsize=256)
def _time_text(seconds: int, nanos: int) -> str:
    return _quote(Timestamp(seconds=seconds, nanos=nanos).ToJsonString())


@lru_cache(maxsize=32 * 1024)
def _day_text(year: int, month: int, day: int) -> str:
    parts = {"year": year, "month": month, "day": day}
    return json.dumps({name: number for name, number in parts.items() if number})


_SCALARS: Final[dict[int, _Write]] = {
    FieldDescriptor.CPPTYPE_STRING: _quote,
    FieldDescriptor.CPPTYPE_BOOL: lambda flag: "true" if flag else "false",
    FieldDescriptor.CPPTYPE_INT32: str,
    FieldDescriptor.CPPTYPE_INT64: lambda number: f'"{number}"',
}
# The stubs also allow the C implementation.
_write_stored: Final = _message_writer(cast("Descriptor", v1.StoredEvent.DESCRIPTOR))
_write_contacts: Final = _list_writer(_message_writer(cast("Descriptor", v1.PersonalContact.DESCRIPTOR)))
