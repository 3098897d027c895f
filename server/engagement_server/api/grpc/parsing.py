"""Parses messages on the event loop: large ones one at a time, so that other calls come between them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from weakref import WeakValueDictionary

from google.protobuf.message import DecodeError

from engagement.limits import MAX_MESSAGE_BYTES, MAX_MESSAGE_FIELDS
from engagement.rules import Violation
from engagement_server.api.grpc.field_count import count_fields
from engagement_server.errors import BatchTooLargeError, FieldInvalidError

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from engagement_server.api.grpc.call import Context

# Any: messages of all types pass through here.
Parse: TypeAlias = "Callable[[Context, bytes], Awaitable[Any]]"
"""Parses a message that came by a call. Raises BatchTooLargeError and FieldInvalidError."""

_LARGE_BYTES: Final = 32 * 1024
"""Of very many small items, this many bytes take a millisecond or two; a megabyte of them takes 30."""
_FIELD_BYTES: Final = 2
"""What a field takes at least."""


class Parsing:
    """Whose large message is parsed next: connections take turns."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._connections: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def parser(self, message_class: type[Message]) -> Parse:
        """Parses messages of one type."""

        async def parse(context: Context, data: bytes) -> Message:
            if len(data) > MAX_MESSAGE_BYTES:
                raise BatchTooLargeError(count=len(data), limit=MAX_MESSAGE_BYTES, unit="bytes")
            if len(data) <= _LARGE_BYTES:
                return _parsed(message_class, data)
            async with self._connections.setdefault(context.peer(), asyncio.Lock()), self._turn:
                await asyncio.sleep(0)  # whatever the last one has kept waiting goes first
                await _require_few_fields(data, message_class.DESCRIPTOR)
                return _parsed(message_class, data)

        return parse


async def _require_few_fields(data: bytes, message_type: Any) -> None:
    """Raises BatchTooLargeError for a message that would take very much memory and time once it is parsed."""
    if len(data) <= MAX_MESSAGE_FIELDS * _FIELD_BYTES:
        return
    for count in count_fields(data, message_type):
        if count > MAX_MESSAGE_FIELDS:
            raise BatchTooLargeError(count=None, limit=MAX_MESSAGE_FIELDS, unit="fields")
        await asyncio.sleep(0)


def _parsed(message_class: type[Message], data: bytes) -> Message:
    """The library would answer a failed parse with an INTERNAL error that tells nothing."""
    try:
        return message_class.FromString(data)
    except DecodeError:
        text = "is not a message of this contract: truncated, malformed, or text that is not UTF-8"
        raise FieldInvalidError([Violation("", "server.message.malformed", text)]) from None
