"""How much the caller of an upload may send: when it has to wait, nothing is read, and HTTP/2 stops it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from engagement import v1
    from engagement_server.operations import Result

Settle: TypeAlias = Callable[[], Awaitable[None]]


class Allowance(Protocol):
    """What the caller of one upload may send."""

    async def until_open(self) -> None:
        """Returns once further events may come."""

    async def wait(self, *, events: int, may_store: bool, settle: Settle) -> None:
        """Lets events in once they may come. Raises QuotaExceededError if they never may.

        Those that may not store anything repeat others. `settle` returns once those before are committed.
        """


class Throttle:
    """Makes the reader of an upload wait for the allowance of its caller."""

    def __init__(self, allowance: Allowance | None) -> None:
        """Without an allowance it never waits."""
        self._allowance = allowance
        self._last: asyncio.Future[Result] | None = None
        self.is_waiting = False

    async def until_open(self) -> None:
        """Returns once the next message may be read."""
        if self._allowance is not None:
            await self._wait(self._allowance.until_open())

    async def admit(self, message: v1.UploadEventsRequest | None, *, may_store: bool = True) -> None:
        """Returns once a message may go on. Raises QuotaExceededError if it never may."""
        if self._allowance is not None and message is not None and message.HasField("chunk"):
            events = len(message.chunk.events)
            await self._wait(self._allowance.wait(events=events, may_store=may_store, settle=self._settle))

    def note(self, committing: asyncio.Future[Result]) -> None:
        """Notes the latest chunk that is being committed: those before are done when it is."""
        self._last = committing

    async def _settle(self) -> None:
        if self._last is not None:
            await asyncio.wait([self._last])

    async def _wait(self, allowed: Awaitable[None]) -> None:
        self.is_waiting = True
        try:
            await allowed
        finally:
            self.is_waiting = False
