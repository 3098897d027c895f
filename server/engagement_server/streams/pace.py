"""Keeps subscriptions from taking processor time that ingest needs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engagement_server.log.committer import Committer

# Limit on frames a second, over all subscriptions, while ingest runs: enough for tens of subscribers to
# keep up with the fastest upload, at a small share of a core.
_TURNS_A_SECOND = 100


class Pace:
    """Grants turns: at once while nothing is being committed, evenly spaced otherwise."""

    def __init__(self, committer: Committer) -> None:
        self._committer = committer
        self._next_turn = 0.0

    async def turn(self) -> None:
        """Waits for the next turn."""
        if not self._committer.is_busy:
            return
        now = asyncio.get_running_loop().time()
        self._next_turn = max(now, self._next_turn) + 1 / _TURNS_A_SECOND
        await asyncio.sleep(self._next_turn - now)
