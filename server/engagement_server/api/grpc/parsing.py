"""Parses messages on the event loop: large ones one at a time, so that other calls come between them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from weakref import WeakValueDictionary

from google.protobuf.message import DecodeError

from engagement.limits import MAX_CHUNK_BYTES, MAX_MESSAGE_BYTES
from engagement.rules import Violation
from engagement_server.api.grpc.excess import hide_excess
from engagement_server.errors import BatchTooLargeError, FieldInvalidError

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from engagement_server.api.grpc.call import Context

# Any: messages of all types pass through here.
Parse: TypeAlias = "Callable[[Context, bytes], Awaitable[Any]]"
"""Parses a message that came by a call. Raises BatchTooLargeError and FieldInvalidError."""

_LARGE_BYTES: Final = 32 * 1024
"""Of very many small items, this many bytes take a millisecond or two; a megabyte of them takes 30."""


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
                if len(data) > MAX_CHUNK_BYTES:  # else what may be in it is bounded well enough
                    data = await _without_excess(data, message_class.DESCRIPTOR)
                return _parsed(message_class, data)

        return parse


async def _without_excess(data: bytes, message_type: Any) -> bytes:
    try:
        return await hide_excess(data, message_type)
    except ValueError:
        raise _malformed() from None


def _parsed(message_class: type[Message], data: bytes) -> Message:
    """The library would answer a failed parse with an INTERNAL error that tells nothing."""
    try:
        return message_class.FromString(data)
    except DecodeError:
        raise _malformed() from None


def _malformed() -> FieldInvalidError:
    text = "is not a message of this contract: truncated, malformed, or text that is not UTF-8"
    return FieldInvalidError([Violation("", "server.message.malformed", text)])
