"""Asks again and again how far the log reaches, and knows from that how old the view is."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from engagement_server.clock import now_ms
from engagement_server.errors import StoreUnavailableError
from engagement_server.faults import LogUnreachableError
from engagement_server.log.nats.view_age import ViewAge

if TYPE_CHECKING:
    from engagement_server.log.nats.stream import NatsStream
    from engagement_server.store.log_position import LogPosition

_INTERVAL_SECONDS = 1.0
_RETRY_SECONDS = 0.2
_CHECK_SECONDS = 0.5
# A server that was started just now does not know yet how old its view is.
_PATIENCE_SECONDS = 0.7
# Another leader is elected in less, and following goes on by itself then.
_MAX_SECONDS_WITHOUT_LEADER = 6.0
# A server that is cut off from the others may not be the only one.
_MAX_SECONDS_WITHOUT_QUORUM = 3.0


class Sounding:
    """How far a view is behind its log."""

    def __init__(self, position: LogPosition, *, max_age_seconds: float) -> None:
        self._max_age_seconds = max_age_seconds
        self._age = ViewAge(sequence=position.sequence, time_ms=position.time_ms)
        self._last_sequence = position.sequence
        self._was_current = False
        self._patient_until = asyncio.get_running_loop().time() + _PATIENCE_SECONDS
        self._watchers: list[Callable[[bool], None]] = []
        self._wanted = asyncio.Event()
        self._news = asyncio.Event()

    @property
    def view_time_ms(self) -> int:
        """See `CommitLog.view_time_ms`."""
        return self._age.time_ms

    @property
    def age_seconds(self) -> float:
        """Time since the view was known to be complete."""
        return self._age.seconds

    @property
    def lag_messages(self) -> int:
        """Messages that the log held when it was last asked and the view has not applied."""
        return max(0, self._last_sequence - self._age.sequence)

    @property
    def is_current(self) -> bool:
        """See `CommitLog.is_current`."""
        return self._age.is_sounded and self._age.seconds <= self._max_age_seconds

    def watch_freshness(self, watcher: Callable[[bool], None]) -> None:
        """See `CommitLog.watch_freshness`."""
        self._watchers.append(watcher)

    def advance(self, sequence: int) -> None:
        """The view has applied everything up to a sequence."""
        self._age.advance(sequence)
        self._tell()

    async def require_current(self) -> None:
        """Raises StoreUnavailableError where the view is not current; at the very start it waits a moment."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(self._patient_until):
                while not self.is_current:
                    await self._news.wait()
        if not self.is_current:
            raise StoreUnavailableError(f"behind the log for {self._age.seconds:.0f} s")

    async def catch_up(self) -> None:
        """Returns once the view holds what was committed before the call.

        Raises StoreUnavailableError, at once where the log is out of reach.
        """
        await self.require_current()
        asked_ms = now_ms()
        try:
            async with asyncio.timeout(self._max_age_seconds):
                while self._age.time_ms < asked_ms:
                    self._wanted.set()
                    await self._news.wait()
        except TimeoutError:
            raise StoreUnavailableError(f"behind the log for {self._age.seconds:.0f} s") from None

    async def run(self, stream: NatsStream) -> None:
        """Sounds through one connection. Raises LogUnreachableError where it is of no use any more."""
        since = time.monotonic()
        while True:
            self._wanted.clear()
            time_ms = now_ms()
            silent_seconds = time.monotonic() - since
            try:
                state = await stream.state(seconds=0)
            except LogUnreachableError:
                if silent_seconds > _MAX_SECONDS_WITHOUT_LEADER:
                    raise
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            self._last_sequence = state.last_sequence
            if state.has_quorum:
                since = time.monotonic()
                self._age.sound(state.last_sequence, time_ms=time_ms)
                self._tell()
            elif silent_seconds > _MAX_SECONDS_WITHOUT_QUORUM:
                raise LogUnreachableError(f"{stream.server} knows of no quorum")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_INTERVAL_SECONDS):
                    await self._wanted.wait()

    async def tell_watchers(self) -> None:
        """Tells the watchers when the view falls behind, and when it is back; never ends by itself."""
        while True:
            if self._was_current != self.is_current:
                self._was_current = not self._was_current
                for watcher in self._watchers:
                    watcher(self._was_current)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CHECK_SECONDS):
                    await self._news.wait()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
