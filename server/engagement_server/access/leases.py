"""Leases: what one of several processes may let in of the rates that they share.

A lease holds spare events that were taken from the shared buckets already, so all processes together let in
what the buckets allow. One that runs out is given back before more is asked for, and one that nobody uses
after a second. What a killed process held is spent: a quarter of a second of its rate.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Protocol

from engagement_server.access.buckets import LET_IN, Draw

if TYPE_CHECKING:
    from engagement_server.access.buckets import Clock, Rates

MAX_LEASES: Final = 10_000
"""Leases that a process holds; what was used longest ago goes first."""
IDLE_SECONDS: Final = 1.0
"""A lease that was not used for so long is given back."""


class Lender(Protocol):
    """Whoever has the shared buckets."""

    async def lend(self, rates: Rates, *, returned: int, events: int) -> Draw:
        """Takes spare events back, and lets events in if no limit is used up."""

    def take_back(self, rates: Rates, *, returned: int) -> None:
        """Takes spare events back."""


class _Lease:
    __slots__ = ("asking", "limit", "refused_until", "spare", "used_at")

    def __init__(self) -> None:
        self.spare = 0
        self.used_at = 0.0
        self.refused_until = 0.0
        self.limit = 0.0
        self.asking = asyncio.Lock()


class Leases:
    """The leases of one process."""

    def __init__(self, lender: Lender, *, clock: Clock = time.monotonic) -> None:
        self._lender = lender
        self._clock = clock
        self._leases: OrderedDict[Rates, _Lease] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None

    async def draw(self, rates: Rates, *, events: int) -> Draw:
        """Lets events in if no limit is used up; see `Buckets.draw`."""
        lease = self._of(rates)
        if _has(lease, events):
            lease.spare -= events
            return LET_IN
        async with lease.asking:
            if _has(lease, events):
                lease.spare -= events
                return LET_IN
            delay_seconds = lease.refused_until - self._clock()
            if delay_seconds > 0:
                return Draw(delay_seconds=delay_seconds, limit=lease.limit)
            returned, lease.spare = lease.spare, 0
            drawn = await self._lender.lend(rates, returned=returned, events=events)
            if drawn.delay_seconds:
                lease.refused_until = self._clock() + drawn.delay_seconds
                lease.limit = drawn.limit
                return drawn
            lease.spare += drawn.spare
        if self._leases.get(rates) is not lease:  # it was pushed out meanwhile
            self._give_back(rates, lease)
        return LET_IN

    def give_back_idle(self, *, used_before: float) -> None:
        """Gives back what was not used since a time."""
        for rates, lease in list(self._leases.items()):
            is_refused = lease.refused_until > self._clock()
            if lease.used_at < used_before and not lease.asking.locked() and not is_refused:
                del self._leases[rates]
                self._give_back(rates, lease)

    def _of(self, rates: Rates) -> _Lease:
        lease = self._leases.get(rates)
        if lease is None:
            lease = self._leases[rates] = _Lease()
            if len(self._leases) > MAX_LEASES:
                self._give_back(*self._leases.popitem(last=False))
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._look)
        lease.used_at = self._clock()
        self._leases.move_to_end(rates)
        return lease

    def _look(self) -> None:
        self._timer = None
        self.give_back_idle(used_before=self._clock() - IDLE_SECONDS)
        if self._leases:
            self._timer = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._look)

    def _give_back(self, rates: Rates, lease: _Lease) -> None:
        if lease.spare:
            self._lender.take_back(rates, returned=lease.spare)
            lease.spare = 0


def _has(lease: _Lease, events: int) -> bool:
    return lease.spare >= max(events, 1)
