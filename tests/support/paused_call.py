"""One call whose client reads exactly as much as the test says, by the windows of HTTP/2."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Self

from google.protobuf.message import Message

from tests.support.raw_http2 import DATA, HEADERS, RST_STREAM, WINDOW_UPDATE, Frame, RawHttp2

_STREAM = 1
_END_STREAM = 0x1
_WIDE_OPEN_BYTES = 1 << 30


class PausedCall:
    """A call over a connection of its own."""

    def __init__(self, address: str, method: str, message: Message, *, window_bytes: int) -> None:
        """Makes the call; the server may send it `window_bytes`, and no more before `read_rest`."""
        self._window_bytes = window_bytes
        self._connection = RawHttp2(address, window_bytes=window_bytes)
        self._connection.call(method, message)
        self._frames = self._connection.frames()
        self.has_ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *arguments: object) -> None:
        self._connection.__exit__(*arguments)

    async def read_window(self) -> bytes:
        """What the server sends until the window is full."""
        return await self._read(self._window_bytes)

    async def read_rest(self, *, at_most: int = _WIDE_OPEN_BYTES) -> bytes:
        """Opens the window, and returns what the server sends until the call ends, or this many bytes."""
        increment = _WIDE_OPEN_BYTES.to_bytes(4, "big")
        with suppress(ConnectionError):  # a server that is gone sends nothing
            self._connection.send(
                Frame(WINDOW_UPDATE, 0, 0, increment), Frame(WINDOW_UPDATE, 0, _STREAM, increment)
            )
        return await self._read(at_most)

    async def _read(self, count: int) -> bytes:
        return await asyncio.to_thread(self._read_now, count)

    def _read_now(self, count: int) -> bytes:
        received = b""
        while len(received) < count and not self.has_ended:
            frame = self._next_frame()
            if frame is None:
                self.has_ended = True
                break
            if frame.stream != _STREAM:
                continue
            received += frame.payload if frame.kind == DATA else b""
            ends = frame.kind in (DATA, HEADERS) and frame.flags & _END_STREAM
            self.has_ended = bool(ends) or frame.kind == RST_STREAM
        return received

    def _next_frame(self) -> Frame | None:
        with suppress(ConnectionError):
            return next(self._frames, None)
        return None
