"""An HTTP/2 connection without a library: it can refuse to read, and costs its process next to nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Self, cast

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, ACK = 0x1, 0x1
_END_HEADERS: Final = 0x4
_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_FRAME_HEADER_BYTES: Final = 9
_HEADER_TABLE_SIZE, _INITIAL_WINDOW_SIZE = 1, 4
_DEFAULT_WINDOW_BYTES: Final = 65_535
_MAX_WINDOW_BYTES: Final = 2**31 - 1
_CANCEL: Final = 8

OnFrame = Callable[[int, int, int, bytes], None]
"""Gets the kind, the flags, the stream and the payload of a frame that the server has sent."""


class RawConnection(asyncio.Protocol):
    """One connection. It grants the server any window but that of each stream, which its user chooses."""

    def __init__(self, on_frame: OnFrame, *, stream_window_bytes: int = _DEFAULT_WINDOW_BYTES) -> None:
        self.is_open = False
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._on_frame = on_frame
        self._stream_window_bytes = stream_window_bytes
        self._transport: asyncio.Transport | None = None
        self._last_stream = -1
        self._send_window_bytes = _DEFAULT_WINDOW_BYTES
        self._received = bytearray()
        self._can_write = True

    @classmethod
    async def connected(
        cls, address: str, on_frame: OnFrame, *, stream_window_bytes: int = _DEFAULT_WINDOW_BYTES
    ) -> Self:
        """Connects."""
        host, _, port = address.rpartition(":")
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: cls(on_frame, stream_window_bytes=stream_window_bytes), host, int(port)
        )
        return connection

    @property
    def can_send(self) -> bool:
        """Whether the server and the kernel take more."""
        return self.is_open and self._can_write and self._send_window_bytes > _DEFAULT_WINDOW_BYTES // 4

    def request(self, headers: bytes, message: bytes) -> int:
        """Sends a whole unary call in one write; returns its stream."""
        self._last_stream += 2
        data = b"\0" + len(message).to_bytes(4, "big") + message
        self._send_window_bytes -= len(data)
        self._write(
            _frame(HEADERS, _END_HEADERS, self._last_stream, headers)
            + _frame(DATA, END_STREAM, self._last_stream, data)
        )
        return self._last_stream

    def begin(self, headers: bytes) -> int:
        """Sends the headers of a call without its message; returns its stream."""
        self._last_stream += 2
        self._write(_frame(HEADERS, _END_HEADERS, self._last_stream, headers))
        return self._last_stream

    def reset(self, stream: int) -> None:
        """Cancels a call."""
        self._write(_frame(RST_STREAM, 0, stream, _CANCEL.to_bytes(4, "big")))

    def ping(self) -> None:
        """Sends a ping."""
        self._write(_frame(PING, 0, 0, bytes(8)))

    def settings(self) -> None:
        """Sends the settings again."""
        self._write(_frame(SETTINGS, 0, 0, self._settings()))

    def close(self) -> None:
        """Closes the connection."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)  # of a TCP connection
        self.is_open = True
        more = (_MAX_WINDOW_BYTES - _DEFAULT_WINDOW_BYTES).to_bytes(4, "big")
        self._write(_PREFACE + _frame(SETTINGS, 0, 0, self._settings()) + _frame(WINDOW_UPDATE, 0, 0, more))

    def connection_lost(self, _: Exception | None) -> None:
        """See asyncio.Protocol."""
        self.is_open = False
        if not self.closed.done():
            self.closed.set_result(None)

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        self._can_write = False

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self._can_write = True

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        received = self._received
        received += data
        start, end = 0, len(received)
        while end - start >= _FRAME_HEADER_BYTES:
            next_start = start + _FRAME_HEADER_BYTES + int.from_bytes(received[start : start + 3], "big")
            if next_start > end:
                break
            stream = int.from_bytes(received[start + 5 : start + 9], "big")
            payload = bytes(received[start + _FRAME_HEADER_BYTES : next_start])
            self._take_in(received[start + 3], received[start + 4], stream, payload)
            start = next_start
        del received[:start]

    def _take_in(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == WINDOW_UPDATE and not stream:
            self._send_window_bytes += int.from_bytes(payload, "big")
        elif kind == SETTINGS and not flags & ACK:
            self._write(_frame(SETTINGS, ACK, 0, b""))
        elif kind == PING and not flags & ACK:
            self._write(_frame(PING, ACK, 0, payload))
        self._on_frame(kind, flags, stream, payload)

    def _settings(self) -> bytes:
        # Without a table for headers, each trailer comes in full.
        settings = {_HEADER_TABLE_SIZE: 0, _INITIAL_WINDOW_SIZE: self._stream_window_bytes}
        return b"".join(key.to_bytes(2, "big") + value.to_bytes(4, "big") for key, value in settings.items())

    def _write(self, data: bytes) -> None:
        if self._transport is not None and self.is_open:
            self._transport.write(data)


def call_headers(method: str) -> bytes:
    """The headers of a call, encoded: no index, no Huffman code."""
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": method,
        ":authority": "benchmark",
        "te": "trailers",
        "content-type": "application/grpc",
    }
    return b"".join(b"\0" + _text(name) + _text(value) for name, value in fields.items())


def _text(text: str) -> bytes:
    assert len(text) < 127, text
    return bytes([len(text)]) + text.encode()


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload
