"""Clients that begin and never go on: they hold connections of a server that speaks TLS."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from typing import Final

from tests.support.raw_http2 import HEADERS, PREFACE, SETTINGS, Frame, header_fields
from tests.support.waiting import DEADLINE_SECONDS

_HELLO_BYTES: Final = 40
_BODY_BYTES: Final = 1_000_000


def silent(address: str) -> socket.socket:
    """Says nothing."""
    return _connected(address)


def with_half_a_hello(address: str) -> socket.socket:
    """Sends the first bytes of its handshake."""
    connection = _connected(address)
    connection.sendall(_hello()[:_HELLO_BYTES])
    return connection


def with_a_hello_only(address: str) -> socket.socket:
    """Makes the server answer its handshake, and never finishes it."""
    connection = _connected(address)
    connection.sendall(_hello())
    return connection


def without_a_preface(address: str) -> socket.socket:
    """Finishes its handshake, and says nothing of HTTP/2."""
    return _encrypted(address)


def with_half_the_metadata(address: str) -> socket.socket:
    """Begins a call, and never ends its metadata."""
    connection = _encrypted(address)
    headers = header_fields("/engagement.v1.EventService/ListEvents")
    connection.sendall(
        PREFACE + b"".join(each.serialized() for each in _begun(Frame(HEADERS, 0, 1, headers)))
    )
    return connection


def with_half_a_body(address: str) -> socket.socket:
    """Begins a call without a token, and never ends its message."""
    connection = _encrypted(address)
    headers = header_fields("/engagement.v1.IngestService/RecordEvents")
    message = b"\0" + _BODY_BYTES.to_bytes(4, "big") + bytes(1000)
    frames = _begun(Frame(HEADERS, 0x4, 1, headers), Frame(0, 0, 1, message))
    connection.sendall(PREFACE + b"".join(each.serialized() for each in frames))
    return connection


KINDS: Final[dict[str, Callable[[str], socket.socket]]] = {
    "silent": silent,
    "half a hello": with_half_a_hello,
    "a hello only": with_a_hello_only,
    "no preface": without_a_preface,
    "half the metadata": with_half_the_metadata,
    "half a body": with_half_a_body,
}


def connect_many(address: str, kind: str, count: int, stack: ExitStack) -> list[socket.socket]:
    """Connections of a kind, which close with the stack."""
    opened = []
    for _ in range(count):
        connection = stack.enter_context(KINDS[kind](address))
        connection.setblocking(False)
        opened.append(connection)
    return opened


def is_closed(connection: socket.socket) -> bool:
    """Whether the server has ended a connection, whatever it has sent before."""
    try:
        while connection.recv(65_536):
            pass
    except (BlockingIOError, ssl.SSLWantReadError):
        return False
    except OSError:
        return True
    return True


def _begun(*frames: Frame) -> tuple[Frame, ...]:
    return (Frame(SETTINGS, 0, 0, b""), *frames)


def _connected(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=DEADLINE_SECONDS)


def _encrypted(address: str) -> socket.socket:
    return _context().wrap_socket(_connected(address))


def _hello() -> bytes:
    """The first message of a handshake."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = _context().wrap_bio(incoming, outgoing)
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError("nobody has answered")


@cache
def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context
