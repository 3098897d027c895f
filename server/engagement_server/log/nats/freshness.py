"""Polls the end of the log, and tells from it how fresh the view is."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from engagement_server.clock import now_ms
from engagement_server.errors import StoreUnavailableError
from engagement_server.faults import LogUnreachableError
from engagement_server.log.nats.view_age import ViewAge

if TYPE_CHECKING:
    from engagement_server.log.base import FreshnessCallback
    from engagement_server.log.nats.stream import NatsStream
    from engagement_server.store.log_position import LogPosition

_INTERVAL_SECONDS = 1.0
_RETRY_SECONDS = 0.2
_CHECK_SECONDS = 0.5
# A node that has just started does not know the age of its view yet.
_PATIENCE_SECONDS = 0.7
# An election takes less, and replication resumes by itself after it.
_MAX_SECONDS_WITHOUT_LEADER = 6.0
# If this server is cut off from the others, another one may not be.
_MAX_SECONDS_WITHOUT_QUORUM = 3.0


class FreshnessMonitor:
    """Measures the lag of a view behind its log."""

    def __init__(self, position: LogPosition, *, max_age_seconds: float) -> None:
        self._max_age_seconds = max_age_seconds
        self._age = ViewAge(sequence=position.sequence, time_ms=position.time_ms)
        self._last_sequence = position.sequence
        self._was_current = False
        self._patient_until = asyncio.get_running_loop().time() + _PATIENCE_SECONDS
        self._callbacks: list[FreshnessCallback] = []
        self._poll_now = asyncio.Event()
        self._changed = asyncio.Event()

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
        """Messages in the log at the last poll that the view has not applied."""
        return max(0, self._last_sequence - self._age.sequence)

    @property
    def is_current(self) -> bool:
        """See `CommitLog.is_current`."""
        return self._age.is_known and self._age.seconds <= self._max_age_seconds

    def watch_freshness(self, callback: FreshnessCallback) -> None:
        """See `CommitLog.watch_freshness`."""
        self._callbacks.append(callback)

    def advance(self, sequence: int) -> None:
        """Notes that the view has applied everything up to a sequence."""
        self._age.advance(sequence)
        self._wake_waiters()

    async def require_current(self) -> None:
        """Raises StoreUnavailableError if the view is not current; waits a moment right after the start."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(self._patient_until):
                while not self.is_current:
                    await self._changed.wait()
        if not self.is_current:
            raise self._behind()

    async def catch_up(self) -> None:
        """Returns once the view holds everything committed before the call.

        Raises StoreUnavailableError, immediately if the log is unreachable.
        """
        await self.require_current()
        asked_ms = now_ms()
        try:
            async with asyncio.timeout(self._max_age_seconds):
                while self._age.time_ms < asked_ms:
                    self._poll_now.set()
                    await self._changed.wait()
        except TimeoutError:
            raise self._behind() from None

    async def run(self, stream: NatsStream) -> None:
        """Polls over one connection. Raises LogUnreachableError once that connection is useless."""
        since = time.monotonic()
        while True:
            self._poll_now.clear()
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
                self._age.probe(state.last_sequence, time_ms=time_ms)
                self._wake_waiters()
            elif silent_seconds > _MAX_SECONDS_WITHOUT_QUORUM:
                raise LogUnreachableError(f"{stream.server} sees no quorum")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_INTERVAL_SECONDS):
                    await self._poll_now.wait()

    async def notify(self) -> None:
        """Calls the callbacks when `is_current` changes; never returns."""
        while True:
            if self._was_current != self.is_current:
                self._was_current = not self._was_current
                for callback in self._callbacks:
                    callback(self._was_current)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CHECK_SECONDS):
                    await self._changed.wait()

    def _behind(self) -> StoreUnavailableError:
        return StoreUnavailableError(f"behind the log for {self._age.seconds:.0f} s")

    def _wake_waiters(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
