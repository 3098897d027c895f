"""A port that several processes are to listen on: found free, and kept until they are gone."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any, Self

from engagement_server.faults import ConfigurationError

PATIENCE_SECONDS = 1.0
"""How long a port may be taken: workers of a server that was killed end a moment after it."""
_RETRY_SECONDS = 0.05


class ReservedPort:
    """Bound, so that nobody else takes it, and never listened on, so that no connection goes there."""

    def __init__(self, host: str, sockets: contextlib.ExitStack, *, port: int) -> None:
        self.address = f"{host}:{port}"
        """HOST:PORT, for those who listen."""
        self._sockets = sockets

    @classmethod
    async def take(cls, address: str) -> Self:
        """Reserves HOST:PORT, or any free port of the host for 0.

        Raises ConfigurationError where another server has it.
        """
        deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while True:
            try:
                return cls._take(address)
            except OSError as error:
                if asyncio.get_running_loop().time() > deadline:
                    raise ConfigurationError(
                        f"cannot listen on {address}; is another server running there?"
                    ) from error
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
        """Lets others have it."""
        self._sockets.close()


def _probe(family: int, target: tuple[Any, ...]) -> None:  # Any: as the library has addresses
    """Raises OSError where somebody has the port, also one who would share it."""
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of the past do not count
        probe.bind(target)
        probe.listen()  # fails where others are merely bound


def _share(reserving: socket.socket, *, is_new: bool) -> None:
    """Lets the workers listen on the port; a new one is chosen among those that nobody shares."""
    if not hasattr(socket, "SO_REUSEPORT"):
        raise ConfigurationError("this system cannot share a port between processes; set workers to 1")
    reserving.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if not is_new:
        reserving.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
