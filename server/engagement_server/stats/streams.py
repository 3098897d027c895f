"""The open streams of a server: each process knows its own, and one of them adds them up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from engagement_server.streams.lags import MAX_LAGS, Lag, SubscriptionLags

if TYPE_CHECKING:
    from engagement_server.partitions import Partition

REFRESH_SECONDS: Final = 2.0
"""How often a worker looks at its subscriptions."""
STALE_SECONDS: Final = 4.0
"""How long the streams of another process count after it has sent them last, as it does each second."""


class OpenStreams(NamedTuple):
    """The open streams of one process, or of all."""

    process: int
    subscriptions: int
    uploads: int
    slowest: Sequence[Lag]
    """The subscriptions that are furthest behind, the slowest first: at most `MAX_LAGS`."""

    @property
    def max_lag_events(self) -> int:
        """Events that the slowest subscription is behind."""
        return max((lag.events for lag in self.slowest), default=0)

    @property
    def max_lag_ms(self) -> int:
        """Age of the oldest event that one of the slowest subscriptions has yet to read."""
        return max((lag.age_ms for lag in self.slowest), default=0)


class _Reported(NamedTuple):
    """The streams of another process."""

    until: float
    """By the monotonic clock."""
    streams: OpenStreams


class Streams:
    """The streams of this process, and those of others that are merged: see `Mergeable`."""

    def __init__(self, partitions: Iterable[Partition], *, process: int = 0) -> None:
        """`process` is the number of a worker; one that replaces another has its number."""
        self._uploads = [partition.uploads for partition in partitions]
        self._lags = [SubscriptionLags(each.subscriptions, each.readers) for each in partitions]
        self._own = OpenStreams(process, 0, 0, [])
        self._reported: dict[int, _Reported] = {}

    @property
    def own(self) -> OpenStreams:
        """Those of this process when it looked at them last."""
        return self._own

    async def refresh(self) -> None:
        """Looks at the streams of this process."""
        found = [await each.read() for each in self._lags]
        self._own = OpenStreams(
            self._own.process,
            sum(lags.open_subscriptions for lags in found),
            sum(uploads.open_streams for uploads in self._uploads),
            _slowest(lag for lags in found for lag in lags.slowest),
        )

    async def refresh_periodically(self) -> None:
        """Looks at them again and again, for a process that sends them to another."""
        while True:
            await self.refresh()
            await asyncio.sleep(REFRESH_SECONDS)

    def drain(self) -> OpenStreams:
        """The streams of this process: see `Mergeable.drain`. Nothing is discarded."""
        return self._own

    def merge(self, snapshot: OpenStreams) -> None:
        """Takes the streams of another process in place of what it has sent before."""
        self._reported[snapshot.process] = _Reported(time.monotonic() + STALE_SECONDS, snapshot)

    def of(self, subject: str) -> OpenStreams:
        """The streams of all processes, whatever the subject."""
        now = time.monotonic()
        found = [self._own, *(each.streams for each in self._reported.values() if each.until > now)]
        return OpenStreams(
            self._own.process,
            sum(each.subscriptions for each in found),
            sum(each.uploads for each in found),
            _slowest(lag for each in found for lag in each.slowest),
        )


def _slowest(lags: Iterable[Lag]) -> list[Lag]:
    return sorted(lags, key=lambda lag: (-lag.events, -lag.age_ms, lag.start_ms))[:MAX_LAGS]
