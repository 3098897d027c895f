"""What a node has used of the quotas: its only process counts, or the parent of its workers."""

from __future__ import annotations

from typing import Protocol

from engagement_server.access.buckets import Buckets, Draw, Rates
from engagement_server.access.holds import Holds


class Ledger(Protocol):
    """The use of quotas, for all processes of a node."""

    async def draw(self, rates: Rates, *, events: int) -> Draw:
        """Lets events in if no limit is used up; see `Buckets.draw`."""

    async def hold(self, group: str, name: str) -> int:
        """Holds a name until it is released; returns how many are held in its group, with this one."""

    def release(self, group: str, name: str) -> None:
        """Ends one hold of a name."""


class OwnLedger:
    """The ledger of a process that serves alone."""

    def __init__(self) -> None:
        self._buckets = Buckets()
        self._holds = Holds()

    async def draw(self, rates: Rates, *, events: int) -> Draw:
        """See `Ledger.draw`."""
        return self._buckets.draw(rates, events=events)

    async def hold(self, group: str, name: str) -> int:
        """See `Ledger.hold`."""
        return self._holds.hold(group, name, holder=None)

    def release(self, group: str, name: str) -> None:
        """See `Ledger.release`."""
        self._holds.release(group, name, holder=None)
