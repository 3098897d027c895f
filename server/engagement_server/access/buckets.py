"""Token buckets: how many events may come, and when the next ones.

A bucket earns events at its rate, up to a burst. Events are let in while there is one in it at least, and may
overdraw it. Time is that of a clock that is never set.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

from engagement.limits import MAX_BATCH_EVENTS

MAX_BUCKETS: Final = 10_000
"""Buckets of grants that are remembered, and of addresses; those that were used last stay."""
SPARE_SECONDS: Final = 0.25
"""How many seconds of its rate a process may have of a bucket, to use without asking again."""
MIN_DELAY_SECONDS: Final = 0.1

Clock: TypeAlias = Callable[[], float]


class Rate(NamedTuple):
    """A limit of events a second, and the bucket that they come from."""

    per_second: float
    grant: str
    account_id: str = ""
    """Empty if all accounts share the bucket."""
    address: str = ""
    """Empty if all callers share the bucket."""

    @property
    def burst(self) -> float:
        """The most events that the bucket holds."""
        return max(float(MAX_BATCH_EVENTS), self.per_second)


Rates: TypeAlias = tuple[Rate, ...]
"""Limits that hold at the same time."""


class Draw(NamedTuple):
    """What came of an attempt to let events in."""

    spare: int = 0
    """Further events that the caller may let in without asking."""
    delay_seconds: float = 0.0
    """How long to wait before the next attempt; 0 if the events were let in."""
    limit: float = 0.0
    """The rate that makes it wait."""


LET_IN: Final = Draw()


class Buckets:
    """The buckets of all limits."""

    def __init__(self, *, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._of_grants: OrderedDict[tuple[str, ...], _Bucket] = OrderedDict()
        # Apart, so that many addresses do not push grants out.
        self._of_addresses: OrderedDict[tuple[str, ...], _Bucket] = OrderedDict()

    def draw(self, rates: Rates, *, events: int, spare_seconds: float = 0.0) -> Draw:
        """Lets events in if no bucket is empty; else takes nothing. No events at all: only looks.

        The answer may hold spare events of so many seconds of the rate, as far as they are there.
        """
        now = self._clock()
        buckets = [(rate, self._earned(rate, now=now)) for rate in rates]
        for rate, bucket in buckets:
            if bucket.used > rate.burst - 1:
                delay_seconds = (bucket.used - rate.burst + 1) / rate.per_second
                return Draw(delay_seconds=max(delay_seconds, MIN_DELAY_SECONDS), limit=rate.per_second)
        spare = min(
            int(min(rate.per_second * spare_seconds, rate.burst - bucket.used - events))
            for rate, bucket in buckets
        )
        spare = max(spare, 0)
        for _, bucket in buckets:
            bucket.used += events + spare
        return Draw(spare=spare)

    def give_back(self, rates: Rates, *, events: int) -> None:
        """Puts events back that were not used."""
        now = self._clock()
        for rate in rates:
            bucket = self._earned(rate, now=now)
            bucket.used = max(0.0, bucket.used - events)

    def _earned(self, rate: Rate, *, now: float) -> _Bucket:
        """The bucket of a limit with all that it has earned until now."""
        buckets = self._of_addresses if rate.address else self._of_grants
        key = rate[1:]
        bucket = buckets.get(key)
        if bucket is None:
            bucket = buckets[key] = _Bucket(now)
            if len(buckets) > MAX_BUCKETS:
                buckets.popitem(last=False)
        buckets.move_to_end(key)
        bucket.used = max(0.0, bucket.used - max(0.0, now - bucket.seen) * rate.per_second)
        bucket.seen = now
        return bucket


class _Bucket:
    """Events that were taken and not yet earned again."""

    __slots__ = ("seen", "used")

    def __init__(self, now: float) -> None:
        self.used = 0.0
        self.seen = now
