"""The ends of the accounts' logs, and the subscriptions that wait for them to grow."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class Tail:
    """The end of one account's log, as one subscription watches it."""

    position: int = 0
    """The last position; 0 until it is known."""
    growth: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the log grows; the watcher clears it."""

    def advance(self, position: int) -> None:
        """Notes that the log reaches at least to this position."""
        if position > self.position:
            self.position = position
            self.growth.set()


class Tails:
    """Wakes the watchers of logs that grow; lives on the event loop."""

    def __init__(self) -> None:
        self._watchers: dict[str, set[Tail]] = {}

    def advance(self, tails: Mapping[str, int]) -> None:
        """Notes that logs, by account, have grown to these positions, and that readers see them."""
        for account_id, position in tails.items():
            for tail in self._watchers.get(account_id, ()):
                tail.advance(position)

    @contextmanager
    def watch(self, account_id: str) -> Iterator[Tail]:
        """A tail that is kept up to date while the context is open."""
        tail = Tail()
        watchers = self._watchers.setdefault(account_id, set())
        watchers.add(tail)
        try:
            yield tail
        finally:
            watchers.remove(tail)
            if not watchers:
                del self._watchers[account_id]
