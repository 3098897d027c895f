"""Frames between two processes of one server, over a pair of sockets that nobody else can reach."""

from __future__ import annotations

import asyncio
import struct
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import socket

_HEADER = struct.Struct(">IBQ")
# Read ahead of what is asked for.
_BUFFER_BYTES = 1024 * 1024


class Kind(IntEnum):
    """What a frame is about."""

    COMMIT = 1
    """To the writer: an encoded commit."""
    CATCH_UP = 2
    PURGE = 3
    ANSWER = 4
    """From the writer: encoded outcomes, under the number of what asked for them."""
    FAILED = 5
    """What was asked for under the number could not be done; from a worker: why it cannot start."""
    APPLIED = 6
    """From the writer: what a commit of anybody changed."""
    VIEW = 7
    """From the writer: how well the log is followed; the first frame, and whenever it changes."""
    SETTINGS = 8
    """To a worker, once: what it is to do."""
    LISTENING = 9
    """From a worker: it takes calls."""
    STOP = 10
    """To a worker: it is to end its calls, and itself."""


class Frame(NamedTuple):
    """One message."""

    kind: int
    number: int
    """Which question it asks or answers, where it does."""
    data: bytes


class Channel:
    """One end of the pair. Frames arrive whole and in the order in which they were sent."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, end: socket.socket) -> Channel:
        """Takes over an end of a socket pair."""
        return cls(*await asyncio.open_unix_connection(sock=end, limit=_BUFFER_BYTES))

    @property
    def unread_bytes(self) -> int:
        """What was sent and the other side has not taken yet."""
        return self._writer.transport.get_write_buffer_size()

    def send(self, kind: Kind, data: bytes = b"", *, number: int = 0) -> None:
        """Sends a frame, without waiting; to an end that is closed, nothing.

        Who sends has a bound of its own: on what is asked for at once, or on `unread_bytes`.
        """
        if not self._writer.is_closing():
            self._writer.writelines((_HEADER.pack(len(data), kind, number), data))

    async def receive(self) -> Frame | None:
        """The next frame; None where the other side has ended."""
        try:
            size_bytes, kind, number = _HEADER.unpack(await self._reader.readexactly(_HEADER.size))
            return Frame(kind, number, await self._reader.readexactly(size_bytes))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def close(self) -> None:
        """Sends what is on its way, and ends."""
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except ConnectionError:
            return

    def abort(self) -> None:
        """Ends at once, whatever is on its way."""
        self._writer.transport.abort()
