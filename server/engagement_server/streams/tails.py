"""Where the logs of accounts end, and who is to be woken when they grow."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class Tail:
    """The end of one account's log as one watcher sees it."""

    position: int = 0
    """The last position; 0 until something is known."""
    news: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the log grows; the watcher clears it."""

    def advance(self, position: int) -> None:
        """The log reaches at least to this position."""
        if position > self.position:
            self.position = position
            self.news.set()


class Tails:
    """Passes the growth of logs on to their watchers; lives on the event loop."""

    def __init__(self) -> None:
        self._watchers: dict[str, set[Tail]] = {}

    def advance(self, tails: Mapping[str, int]) -> None:
        """Logs grew to these positions, which readers see."""
        for account_id, position in tails.items():
            for tail in self._watchers.get(account_id, ()):
                tail.advance(position)

    @contextmanager
    def watch(self, account_id: str) -> Iterator[Tail]:
        """A tail that follows an account's log while the context is open."""
        tail = Tail()
        watchers = self._watchers.setdefault(account_id, set())
        watchers.add(tail)
        try:
            yield tail
        finally:
            watchers.remove(tail)
            if not watchers:
                del self._watchers[account_id]
