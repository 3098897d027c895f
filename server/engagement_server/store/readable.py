"""Reads stored events whose unknown fields became known, even if the contract cannot express their values.

A server keeps fields that it does not know as they came. Once a field is known, its value may turn out to be
no UTF-8, or no message of its type, and the library then refuses the whole event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from engagement import v1

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.message import Message

_BYTES = 2
_GROUP_END = 4


class _Field(NamedTuple):
    """A field in a serialized message, and where it and its value begin and end."""

    number: int
    start: int
    value_start: int
    end: int


def read_event(payload: bytes) -> tuple[v1.Event, bytes]:
    """The event in a payload, and the payload, without the values that this contract cannot read."""
    try:
        return v1.Event.FromString(payload), payload
    except DecodeError:
        payload = _readable(payload, v1.Event)
        return v1.Event.FromString(payload), payload


def _readable(data: bytes, message_type: type[Message]) -> bytes:
    """The fields that can be read, in their order; of messages, what can be read of them."""
    descriptor: Any = message_type.DESCRIPTOR  # Any: the stubs allow several types of descriptors
    kept = []
    for each in _fields(data):
        field = data[each.start : each.end]
        try:
            message_type.FromString(field)
        except DecodeError:
            nested = descriptor.fields_by_number[each.number].message_type
            if nested is None:
                continue
            try:
                value = _readable(data[each.value_start : each.end], GetMessageClass(nested))
            except (DecodeError, IndexError):
                continue
            field = _varint_bytes(each.number << 3 | _BYTES) + _varint_bytes(len(value)) + value
        kept.append(field)
    return b"".join(kept)


def _fields(data: bytes) -> Iterator[_Field]:
    """The fields of a message. Raises DecodeError or IndexError if it is no message."""
    position = 0
    while position < len(data):
        start = position
        tag, position = _read_varint(data, position)
        value_start, position = _skip(data, tag, position)
        if position > len(data):
            raise DecodeError("truncated")
        yield _Field(tag >> 3, start, value_start, position)


def _skip(data: bytes, tag: int, position: int) -> tuple[int, int]:
    """Where the value of a field begins and ends."""
    match tag & 7:
        case 0:
            return position, _read_varint(data, position)[1]
        case 1:
            return position, position + 8
        case 5:
            return position, position + 4
        case 2:
            size, position = _read_varint(data, position)
            return position, position + size
        case 3:
            start = position
            while True:
                inner, position = _read_varint(data, position)
                if inner & 7 == _GROUP_END:
                    return start, position
                _, position = _skip(data, inner, position)
        case _:
            raise DecodeError("no wire type")


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


def _varint_bytes(value: int) -> bytes:
    packed = bytearray()
    while value > 0x7F:
        packed.append(value & 0x7F | 0x80)
        value >>= 7
    packed.append(value)
    return bytes(packed)
