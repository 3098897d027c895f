"""Lets subscriptions take what ingest leaves of the processor."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engagement_server.log.committer import Committer

# Beside ingest all subscriptions together send so many messages a second at the most: enough for tens of
# subscribers to follow the fastest upload, and a small part of a core.
_TURNS_A_SECOND = 100


class Pace:
    """Gives turns, at once while nothing is being committed and evenly spaced while something is."""

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
