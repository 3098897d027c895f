"""Hides items beyond the contract's limits from parsers, which would make objects of many times their size.

A list or a map keeps one item more than it may have, so that the message breaks the same rule as before.
What comes after these in the message that holds them is hidden with the others: it will be refused.
"""

from __future__ import annotations

import asyncio
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from engagement.counts import max_items
from engagement_server.errors import MAX_COUNTED_EVENTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_FIELDS_A_STEP: Final = 1_000
_MAX_FIELDS: Final = 1_000_000
"""Limit on fields that are looked at; no message within the other limits has so many."""
_TAG_BYTES, _HEAD_BYTES = 2, 6
"""Of the field that hides others."""
_MAX_VARINT_BYTES: Final = 10
_VARINT, _LENGTH_DELIMITED, _GROUP, _END_OF_GROUP = 0, 2, 3, 4
_FIXED_BYTES: Final = {1: 8, 5: 4}
"""Sizes of numbers by their wire type."""
_PACKED: Final = _LENGTH_DELIMITED
_KEY: Final = 1
"""Number of the key in an entry of a map."""


class _Field(NamedTuple):
    """A field that has a limit, holds messages, or is in a oneof."""

    wire_types: Sequence[int]
    """Parsers know it only in these."""
    max_items: int | None
    message_type: Any  # Any: the stubs have two types for descriptors
    """None for scalars and maps."""
    is_map: bool
    is_repeated: bool
    replaces: Sequence[int]
    """The other fields of its oneof, by number."""


class _Type(NamedTuple):
    """What to look at in a type of message."""

    fields: Mapping[int, _Field]
    """By number."""
    unused: int
    """The first number that no field has."""


class _Open:
    """A message whose fields are being looked at."""

    def __init__(self, message_type: Any, end: int, *, is_item: bool) -> None:  # Any: as above
        self.type = _type(message_type)
        self.end = end
        self.is_item = is_item
        """Whether it is in a list, or in a message that is."""
        self.counts: dict[int, int] = {}
        self.keys: dict[int, set[bytes]] = {}
        self.inner: dict[int, _Open] = {}
        """Messages that are not in lists: what comes again for one of them is added to it."""


class _Scan:
    """One pass over a serialized message."""

    def __init__(self, data: bytes, message_type: Any) -> None:  # Any: as above
        self._data = data
        self.hidden: bytearray | None = None
        """A copy with other tags, once there is something to hide."""
        self._position = 0
        self._groups = 0
        """Groups that are open; the contract has none, so that nothing in them counts."""
        self._open = [_Open(message_type, len(data), is_item=False)]

    def steps(self) -> Iterator[None]:
        """Looks at all fields, some at a step. Raises IndexError and ValueError at malformed data."""
        passed = 0
        while self._open:
            if self._position >= self._open[-1].end:
                self._open.pop()
                continue
            self._pass_field()
            passed += 1
            if passed > _MAX_FIELDS:
                raise ValueError("there are too many fields")
            if not passed % _FIELDS_A_STEP:
                yield

    def _pass_field(self) -> None:
        start = self._position
        tag = self._varint()
        wire_type, number = tag & 7, tag >> 3
        if wire_type in (_GROUP, _END_OF_GROUP):
            self._groups += 1 if wire_type == _GROUP else -1
            return
        begin, end = self._content(wire_type)
        at = self._open[-1]
        if end > at.end:
            raise ValueError("the field is longer than its message")
        self._position = end
        field = None if self._groups else at.type.fields.get(number)
        if field is None or wire_type not in field.wire_types:
            return
        for other in field.replaces:
            at.inner.pop(other, None)
        if self._is_excess(at, number, field, begin, end) and at.end - start >= _HEAD_BYTES:
            self._hide_rest(start)
        elif field.message_type is not None:
            self._position = begin
            self._open.append(self._opened(at, number, field, end))

    def _content(self, wire_type: int) -> tuple[int, int]:
        """Where the content of a field begins and ends."""
        if wire_type == _LENGTH_DELIMITED:
            size_bytes = self._varint()
            return self._position, self._position + size_bytes
        begin = self._position
        if wire_type == _VARINT:
            self._varint()
            return begin, self._position
        if wire_type in _FIXED_BYTES:
            return begin, begin + _FIXED_BYTES[wire_type]
        raise ValueError("there is no such wire type here")

    def _opened(self, at: _Open, number: int, field: _Field, end: int) -> _Open:
        if field.is_repeated:
            return _Open(field.message_type, end, is_item=True)
        inner = at.inner.get(number)
        if inner is None:
            inner = at.inner[number] = _Open(field.message_type, end, is_item=at.is_item)
        inner.end = end
        return inner

    def _is_excess(self, at: _Open, number: int, field: _Field, begin: int, end: int) -> bool:
        """Counts an item; whether the rule is broken without it."""
        if field.max_items is None:
            return False
        if field.is_map:
            keys = at.keys.setdefault(number, set())
            if len(keys) > field.max_items:
                return True
            keys.add(self._key(begin, end))
            return False
        if begin == end and _VARINT in field.wire_types:  # no item, packed
            return False
        count = at.counts.get(number, 0)
        at.counts[number] = count + 1
        return count > (field.max_items if at.is_item else max(field.max_items, MAX_COUNTED_EVENTS))

    def _hide_rest(self, start: int) -> None:
        """Makes the rest of a message one field that parsers do not know: they keep its bytes as they are."""
        if self.hidden is None:
            self.hidden = bytearray(self._data)
        at = self._open[-1]
        tag = at.type.unused << 3 | _LENGTH_DELIMITED
        begin = start + _HEAD_BYTES
        size_bytes = at.end - begin
        head = (_padded(tag, _TAG_BYTES), _padded(size_bytes, _HEAD_BYTES - _TAG_BYTES))
        self.hidden[start:begin] = b"".join(head)
        self._position = at.end

    def _key(self, begin: int, end: int) -> bytes:
        """The key of an entry of a map, as a parser reads it."""
        key = b""
        self._position = begin
        while self._position < end:
            tag = self._varint()
            value_begin, value_end = self._content(tag & 7)
            if tag == _KEY << 3 | _LENGTH_DELIMITED:
                key = self._data[value_begin:value_end]
            self._position = value_end
        self._position = end
        return key

    def _varint(self) -> int:
        """The next variable-length number. Raises IndexError and ValueError."""
        data, position = self._data, self._position
        value = data[position]
        if value < 0x80:  # almost all are that short
            self._position = position + 1
            return value
        value &= 0x7F
        for index in range(1, _MAX_VARINT_BYTES):
            byte = data[position + index]
            value |= (byte & 0x7F) << 7 * index
            if byte < 0x80:
                self._position = position + index + 1
                return value
        raise ValueError("the number does not end")


async def hide_excess(data: bytes, message_type: Any) -> bytes:  # Any: as above
    """The message with the items that are too many in fields that no parser knows.

    Other calls get their turns meanwhile. Raises ValueError if it is malformed.
    """
    scan = _Scan(data, message_type)
    try:
        for _ in scan.steps():
            await asyncio.sleep(0)
    except IndexError:
        raise ValueError("the message is truncated") from None
    return data if scan.hidden is None else bytes(scan.hidden)


@cache
def _type(message_type: Any) -> _Type:  # Any: as above
    fields = {field.number: _field(field) for field in message_type.fields}
    unused = next(number for number in range(1, 2048) if number not in fields)
    return _Type({number: field for number, field in fields.items() if field is not None}, unused)


def _field(field: Any) -> _Field | None:  # Any: as above
    inner, limit, oneof = field.message_type, max_items(field), field.containing_oneof
    if inner is None and limit is None and oneof is None:
        return None
    is_map = inner is not None and inner.GetOptions().map_entry
    is_number = field.type not in {field.TYPE_MESSAGE, field.TYPE_STRING, field.TYPE_BYTES}
    wire_types = [_VARINT] if is_number else [_LENGTH_DELIMITED]
    if is_number and field.is_repeated:
        wire_types.append(_PACKED)
    others = [] if oneof is None else [each.number for each in oneof.fields if each.number != field.number]
    return _Field(wire_types, limit, None if is_map else inner, is_map, field.is_repeated, others)


def _padded(value: int, length: int) -> bytes:
    """A variable-length number in so many bytes."""
    *others, last = [value >> 7 * index & 0x7F for index in range(length)]
    return bytes([*(byte | 0x80 for byte in others), last])
