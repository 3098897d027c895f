"""Tells the service manager that has started this process, such as systemd, how it is.

It is told over a datagram socket (sd_notify). A start may take hours, so no time bounds it: it goes on while
this event loop runs, of which the manager hears (docs/decisions/0061-a-start-is-bounded-by-life.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_SOCKET: Final = "NOTIFY_SOCKET"
_BEAT_SECONDS: Final = 5.0
PATIENCE_SECONDS: Final = 60
"""How long a start may be silent."""


class ServiceManager:
    """The manager of this process, if there is one."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        address = (os.environ if environment is None else environment).get(_SOCKET, "")
        # A leading @ stands for the zero byte of Linux's abstract names.
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._is_ready = False

    async def beat(self) -> None:
        """Says again and again that this event loop runs. Ends at once without a manager."""
        while self._address:
            self._send("WATCHDOG=1" if self._is_ready else f"EXTEND_TIMEOUT_USEC={PATIENCE_SECONDS}000000")
            await asyncio.sleep(_BEAT_SECONDS)

    def note_ready(self, address: str) -> None:
        """Says that the server takes calls."""
        self._is_ready = True
        self._send(f"READY=1\nSTATUS=takes calls on {address}")

    def note_stopping(self) -> None:
        """Says that the server takes no more calls."""
        self._send("STOPPING=1\nSTATUS=stops")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        # A manager that is gone or busy is no reason to fail or to wait.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
            sending.setblocking(False)  # noqa: FBT003  # as the library calls it
            sending.sendto(text.encode(), self._address)
