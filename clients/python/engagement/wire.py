"""Fields of protobuf's wire format, for messages that are put together from serialized parts.

Parsing events only to serialize them again, in a chunk or in a batch for many subscribers, costs more than
everything else about them. On the wire a message is the sequence of its fields.
"""

from __future__ import annotations

from functools import lru_cache

_LENGTH_DELIMITED = 2


def length_delimited(number: int, payload: bytes) -> bytes:
    """A field that holds a message or text, already serialized."""
    return _head(number, len(payload)) + payload


@lru_cache(maxsize=4096)
def _head(number: int, length: int) -> bytes:
    return bytes((number << 3 | _LENGTH_DELIMITED, *_varint(length)))


def _varint(value: int) -> tuple[int, ...]:
    return (value,) if value < 1 << 7 else (value & 0x7F | 0x80, *_varint(value >> 7))
