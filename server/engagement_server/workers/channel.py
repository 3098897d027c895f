"""Messages between the parent and a worker, over a socket pair that no other process can reach."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import socket

_HEADER = struct.Struct(">IBQ")
_READ_AHEAD_BYTES = 1024 * 1024


class Kind(IntEnum):
    """The kinds of messages. A worker sends requests for commits, catching up, purging and settling."""

    COMMIT = 1
    CATCH_UP = 2
    PURGE = 3
    RESPONSE = 4
    """Encoded results of a request."""
    FAILED = 5
    """The parent cannot handle a request; or a worker cannot start, and why."""
    APPLIED = 6
    """To each worker: the changes of a commit by any worker or node."""
    FRESHNESS = 7
    """To a worker: the freshness of the log, first of all, and whenever it changes."""
    SETTINGS = 8
    LISTENING = 9
    """From a worker: it accepts calls."""
    STOP = 10
    """To a worker: it must end its calls and exit."""
    OPENED = 11
    """From a worker, first of all: it may read the store from now on."""
    SETTLE = 12
    """From a worker: a request to settle the log. To a worker: it must settle, and say so."""
    SETTLED = 13
    """From a worker: it has settled, with the number of the parent's message."""
    WANTED = 14
    """From a worker: it wants the new events of an account from now on."""
    UNWANTED = 15
    """From a worker: it wants them no longer."""
    STALLED = 16
    """To a worker: the services whose background jobs are stalled in the parent."""
    COUNTED = 17
    """From a worker: what it has counted since its last such message."""
    ASKED = 18
    """From a worker: a request for what all workers have counted."""
    TRACED = 19
    """From a worker: the trace that its next commit belongs to."""
    LAME_DUCK = 20
    """To a worker: it must report that it will stop, and go on."""
    ACCESS = 21
    """To a worker: new contents of files of access. From a worker: a JWT names a key that is not loaded."""
    CERTIFICATE = 22
    """To a worker: what new connections get from now on."""
    AUDIT_NOTED = 23
    """From a worker: lines of the audit log."""
    AUDIT_RECORD = 24
    """From a worker: a line that must be on disk. To a worker: it is, unless there is data."""
    QUOTA = 25
    """From a worker: what it needs of the quotas, or needs no longer. To a worker: the answer."""


class Message(NamedTuple):
    """A message; a response has the number of its request."""

    kind: int
    number: int
    data: bytes


class Channel:
    """One end of the socket pair. Messages arrive whole and in the order in which they were sent."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, end: socket.socket) -> Channel:
        """Takes over an end of a socket pair."""
        return cls(*await asyncio.open_unix_connection(sock=end, limit=_READ_AHEAD_BYTES))

    @property
    def unread_bytes(self) -> int:
        """Bytes that were sent but not read by the other side yet."""
        return self._writer.transport.get_write_buffer_size()

    def send(self, kind: Kind, data: bytes = b"", *, number: int = 0) -> None:
        """Sends a message without waiting; does nothing if the channel is closed.

        The caller must bound its concurrent requests, or `unread_bytes`.
        """
        if not self._writer.is_closing():
            self._writer.writelines((_HEADER.pack(len(data), kind, number), data))

    async def receive(self) -> Message | None:
        """Returns the next message, or None once the other side has closed the channel."""
        try:
            size_bytes, kind, number = _HEADER.unpack(await self._reader.readexactly(_HEADER.size))
            return Message(kind, number, await self._reader.readexactly(size_bytes))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def close(self) -> None:
        """Sends the pending messages and closes the channel."""
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    def abort(self) -> None:
        """Closes the channel at once and drops pending messages."""
        self._writer.transport.abort()
