"""Accepts the connections of the management port over TLS, with bounds on those that are not encrypted yet.

The library would take any number of them, for a minute each, and only ever one certificate.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from engagement_server.supervision import supervise

if TYPE_CHECKING:
    import ssl

MAX_HANDSHAKES: Final = 64
"""Connections at a time that are not encrypted yet; more are closed at once."""
HANDSHAKE_SECONDS: Final = 5.0
_PAUSE_SECONDS: Final = 1.0
"""When the system has no more files for connections."""


class EncryptedListener:
    """Encrypts each connection with the certificate of its moment, and hands it over to a protocol."""

    def __init__(
        self,
        listening: socket.socket,
        make_protocol: Callable[[], asyncio.Protocol],
        context: Callable[[], ssl.SSLContext],
    ) -> None:
        """Accepts connections until it is closed."""
        self._listening = listening
        self._make_protocol = make_protocol
        self._context = context
        self._handshakes: set[asyncio.Task[None]] = set()
        self._accepting = asyncio.create_task(supervise("management-port", self._accept))

    def close(self) -> None:
        """Accepts no more, and ends those that are not encrypted yet."""
        self._accepting.cancel()
        for handshake in self._handshakes:
            handshake.cancel()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(self._listening)
            except ConnectionError:  # gone before it was accepted
                continue
            except OSError:
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            if len(self._handshakes) >= MAX_HANDSHAKES:
                connection.close()
                continue
            handshake = asyncio.create_task(self._encrypt(connection))
            self._handshakes.add(handshake)
            handshake.add_done_callback(self._handshakes.discard)

    async def _encrypt(self, connection: socket.socket) -> None:
        """Ends the connection if the handshake fails; nobody needs to know."""
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._make_protocol,
                connection,
                ssl=self._context(),
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
            )
        except OSError:  # of TLS, of the connection, or too late
            connection.close()
        except asyncio.CancelledError:
            connection.close()
            raise
