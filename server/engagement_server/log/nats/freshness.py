"""Polls the end of the log, and tells from it how fresh the view is."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from typing import TYPE_CHECKING

from engagement_server.clock import now_ms
from engagement_server.errors import LogUnreachableError, StoreUnavailableError
from engagement_server.supervision import call_all

if TYPE_CHECKING:
    from engagement_server.errors import LogDamagedError
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
_MAX_PROBES = 1000


class ViewAge:
    """Computes the age from probes, each of which found the end of the log at some time."""

    def __init__(self, *, sequence: int, time_ms: int) -> None:
        """A view that has applied everything up to a sequence, and everything before a time."""
        self.sequence = sequence
        """The last entry that the view has applied."""
        self.time_ms = time_ms
        """The view holds everything committed before this time, in epoch milliseconds."""
        self.is_known = False
        """Whether the view has reached the end that some probe found; before that, its age is unknown."""
        self._probes: deque[tuple[int, int]] = deque(maxlen=_MAX_PROBES)

    @property
    def seconds(self) -> float:
        """The time since `time_ms`."""
        return max(0.0, time.time() - self.time_ms / 1000)

    def probe(self, last_sequence: int, *, time_ms: int) -> None:
        """Notes that the log ended with a sequence at a time, or later."""
        self._probes.append((last_sequence, time_ms))
        self.advance(self.sequence)

    def advance(self, sequence: int) -> None:
        """Notes that the view has applied everything up to a sequence."""
        self.sequence = sequence
        while self._probes and self._probes[0][0] <= sequence:
            self.time_ms = self._probes.popleft()[1]
            self.is_known = True


class FreshnessMonitor:
    """Measures the lag of a view behind its log."""

    def __init__(self, position: LogPosition, *, max_age_seconds: float) -> None:
        self._max_age_seconds = max_age_seconds
        self.age = ViewAge(sequence=position.sequence, time_ms=position.time_ms)
        """Time since the view was known to be complete."""
        self.last_sequence = position.sequence
        """End of the log at the last poll."""
        self._damage: LogDamagedError | None = None
        self._was_current = False
        self._was_damaged = False
        self._patient_until = asyncio.get_running_loop().time() + _PATIENCE_SECONDS
        self._callbacks: list[FreshnessCallback] = []
        self._poll_now = asyncio.Event()
        self._changed = asyncio.Event()

    @property
    def lag_messages(self) -> int:
        """Messages in the log at the last poll that the view has not applied."""
        return max(0, self.last_sequence - self.age.sequence)

    @property
    def is_damaged(self) -> bool:
        """Whether the partition is refused."""
        return self._damage is not None

    @property
    def is_current(self) -> bool:
        """See `CommitLog.is_current`."""
        return self._damage is None and self.age.is_known and self.age.seconds <= self._max_age_seconds

    def watch_freshness(self, callback: FreshnessCallback) -> None:
        """See `CommitLog.watch_freshness`."""
        self._callbacks.append(callback)

    def advance(self, sequence: int) -> None:
        """Notes that the view has applied everything up to a sequence."""
        self.age.advance(sequence)
        self._wake_waiters()

    def set_damage(self, damage: LogDamagedError | None) -> None:
        """Fails all that waits, or will wait, for the view to be current; None: no more."""
        self._damage = damage
        self._wake_waiters()

    async def require_current(self) -> None:
        """Raises StoreUnavailableError if the view is not current, and LogDamagedError if it is damaged.

        Waits a moment right after the start.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(self._patient_until):
                while not self.is_current and self._damage is None:
                    await self._changed.wait()
        if self._damage is not None:
            raise self._damage.with_traceback(None)
        if not self.is_current:
            raise self._behind()

    async def catch_up(self) -> None:
        """Returns once the view holds everything committed before the call.

        Raises StoreUnavailableError, immediately if the log is unreachable, and LogDamagedError.
        """
        await self.require_current()
        asked_ms = now_ms()
        try:
            async with asyncio.timeout(self._max_age_seconds):
                while self.age.time_ms < asked_ms:
                    self._poll_now.set()
                    await self._changed.wait()
                    if self._damage is not None:
                        raise self._damage.with_traceback(None)
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
            self.last_sequence = state.last_sequence
            if state.has_quorum:
                since = time.monotonic()
                self.age.probe(state.last_sequence, time_ms=time_ms)
                self._wake_waiters()
            elif silent_seconds > _MAX_SECONDS_WITHOUT_QUORUM:
                raise LogUnreachableError(f"{stream.server} sees no quorum")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_INTERVAL_SECONDS):
                    await self._poll_now.wait()

    async def notify(self) -> None:
        """Calls the callbacks when `is_current` or the damage changes; never returns."""
        while True:
            if (self._was_current, self._was_damaged) != (self.is_current, self.is_damaged):
                self._was_current, self._was_damaged = self.is_current, self.is_damaged
                call_all("log-freshness", self._callbacks, self._was_current)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CHECK_SECONDS):
                    await self._changed.wait()

    def _behind(self) -> StoreUnavailableError:
        return StoreUnavailableError(f"behind the log for {self.age.seconds:.0f} s")

    def _wake_waiters(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
