"""Reserves a port that several processes listen on, from before their start until after their exit."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from typing import Any, Self

from engagement_server.api.listening import cannot_listen
from engagement_server.errors import ConfigurationError

PATIENCE_SECONDS = 1.0
"""How long a port may be in use: the workers of a killed server exit a moment after it."""
_RETRY_SECONDS = 0.05


class ReservedPort:
    """A socket that is bound, to keep the port, but does not listen, so that it gets no connection."""

    def __init__(self, host: str, sockets: contextlib.ExitStack, *, port: int) -> None:
        self.address = f"{host}:{port}"
        """HOST:PORT for the workers to listen on."""
        self._sockets = sockets

    @classmethod
    async def take(cls, address: str) -> Self:
        """Reserves HOST:PORT, or any free port for 0. Raises ConfigurationError if another server has it."""
        deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while True:
            try:
                return cls._take(address)
            except (OSError, UnicodeError) as error:
                is_in_use = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
                if not is_in_use or asyncio.get_running_loop().time() > deadline:
                    raise cannot_listen(address, error) from error
            await asyncio.sleep(_RETRY_SECONDS)

    @classmethod
    def _take(cls, address: str) -> Self:
        host, _, text = address.rpartition(":")
        port = int(text)
        with contextlib.ExitStack() as sockets:
            for family, _, _, _, target in socket.getaddrinfo(
                host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            ):
                if port:
                    _probe(family, (target[0], port, *target[2:]))
                reserving = sockets.enter_context(socket.socket(family))
                _share(reserving, is_new=not port)
                reserving.bind((target[0], port, *target[2:]))
                port = reserving.getsockname()[1]
            return cls(host, sockets.pop_all(), port=port)

    def close(self) -> None:
        """Releases the port."""
        self._sockets.close()


def _probe(family: int, target: tuple[Any, ...]) -> None:  # Any: the library's type of addresses
    """Raises OSError if any process has the port, even one that shares it."""
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # ignores connections in TIME_WAIT
        probe.bind(target)
        probe.listen()  # also fails if others are only bound


def _share(reserving: socket.socket, *, is_new: bool) -> None:
    """Lets workers listen on the port; a new one is chosen among the ports that no process shares."""
    if not hasattr(socket, "SO_REUSEPORT"):
        raise ConfigurationError("this system cannot share a port between processes; set workers to 1")
    reserving.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if not is_new:
        reserving.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
