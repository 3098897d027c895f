"""An HTTP/2 client that misbehaves as no library does: it may read nothing, or ping endlessly."""

from __future__ import annotations

import gzip
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Self

from google.protobuf.message import Message

from tests.support.waiting import DEADLINE_SECONDS

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_FRAME_HEADER_BYTES = 9
END_STREAM = 0x1
_END_HEADERS, _ACK = 0x4, 0x1
_INITIAL_WINDOW_SIZE = (4).to_bytes(2, "big")

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8


@dataclass(frozen=True)
class Frame:
    """One frame."""

    kind: int
    flags: int
    stream: int
    payload: bytes

    def serialized(self) -> bytes:
        """The frame on the wire."""
        length = len(self.payload).to_bytes(3, "big")
        return length + bytes([self.kind, self.flags]) + self.stream.to_bytes(4, "big") + self.payload


@dataclass(frozen=True)
class Answer:
    """A message on the wire."""

    is_compressed: bool
    packed: bytes

    @property
    def serialized(self) -> bytes:
        """The unpacked message."""
        return gzip.decompress(self.packed) if self.is_compressed else self.packed


class RawHttp2:
    """One connection."""

    def __init__(self, address: str, *, window_bytes: int = 65_535) -> None:
        """Connects; the window limits the bytes that the server may send on a stream."""
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=DEADLINE_SECONDS)
        self._last_stream = -1
        settings = _INITIAL_WINDOW_SIZE + window_bytes.to_bytes(4, "big")
        self._socket.sendall(PREFACE)
        self.send(Frame(SETTINGS, 0, 0, settings), Frame(SETTINGS, _ACK, 0, b""))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, *frames: Frame) -> None:
        """Sends frames as they are."""
        self._socket.sendall(b"".join(frame.serialized() for frame in frames))

    def begin(self, method: str, *, message_bytes: int, data: bytes) -> None:
        """Sends a call whose message would be that long, with no more than its beginning."""
        self._last_stream += 2
        self.send(
            Frame(HEADERS, _END_HEADERS, self._last_stream, header_fields(method)),
            Frame(DATA, 0, self._last_stream, b"\0" + message_bytes.to_bytes(4, "big") + data),
        )

    def call(self, method: str, message: Message, *, headers: Mapping[str, str] | None = None) -> None:
        """Sends a call with one message, compressed if the headers name gzip."""
        self._last_stream += 2
        is_compressed = "grpc-encoding" in (headers or {})
        serialized = message.SerializeToString()
        packed = gzip.compress(serialized) if is_compressed else serialized
        data = bytes([is_compressed]) + len(packed).to_bytes(4, "big") + packed
        self.send(
            Frame(HEADERS, _END_HEADERS, self._last_stream, header_fields(method, **(headers or {}))),
            Frame(DATA, END_STREAM, self._last_stream, data),
        )

    def answer(self) -> Answer:
        """The first message of the server."""
        received = b""
        for frame in self.frames():
            received += frame.payload if frame.kind == DATA else b""
            if len(received) >= 5 and len(received) >= 5 + int.from_bytes(received[1:5], "big"):
                break
        return Answer(is_compressed=received[0] == 1, packed=received[5:])

    def frames(self) -> Iterator[Frame]:
        """The server's frames, until it closes the connection."""
        with self._socket.makefile("rb") as received:
            while len(header := received.read(_FRAME_HEADER_BYTES)) == _FRAME_HEADER_BYTES:
                payload = received.read(int.from_bytes(header[:3], "big"))
                yield Frame(header[3], header[4], int.from_bytes(header[5:], "big"), payload)


def header_fields(method: str, **others: str) -> bytes:
    """The headers of a call, as a block without indexing."""
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": method,
        ":authority": "test",
        "te": "trailers",
        "content-type": "application/grpc",
        **others,
    }
    return b"".join(_literal(name) + _literal(value, prefix=b"") for name, value in fields.items())


def _literal(text: str, *, prefix: bytes = b"\0") -> bytes:
    """A header's name, with the prefix of a field without indexing, or its value."""
    assert len(text) < 127
    return prefix + bytes([len(text)]) + text.encode()
