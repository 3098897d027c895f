"""Keeps subscriptions from taking processor time that ingest needs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engagement_server.log.committer import Committer

# Of the processor time, beside commits: enough for tens of followers to keep up with the fastest upload.
_SHARE = 0.2
# Time that followers may catch up on: beside single events, none of them waits.
_BURST_SECONDS = 0.1
_CHECK_SECONDS = 0.05
# What a frame costs this process and its client, roughly, which may run on the same machine.
FRAME_SECONDS = 60e-6
_BYTE_SECONDS = 7.5e-9
# What committing an event takes, roughly.
_COMMIT_SECONDS = 20e-6
READ_SECONDS = 1e-3
"""What reading a segment from the store costs, roughly."""


class Pace:
    """Grants turns: at once while nothing is being committed, else for a share of the processor time."""

    def __init__(self, committer: Committer) -> None:
        self._committer = committer
        self._next_turn = 0.0
        self._busy_until = 0.0

    def note_growth(self, events: int) -> None:
        """Notes a commit, of any process: in a worker, the committer knows of its own only."""
        end = asyncio.get_running_loop().time() + events * _COMMIT_SECONDS
        self._busy_until = max(self._busy_until, end)

    def charge(self, frame: bytes) -> None:
        """Delays the next turns by what sending a frame costs for its size."""
        self._next_turn += _BYTE_SECONDS * len(frame) / _SHARE

    async def turn(self, seconds: float) -> None:
        """Waits for a turn that costs this much processor time."""
        if not self._is_busy():
            self._next_turn = 0.0
            return
        loop = asyncio.get_running_loop()
        turn = max(loop.time() - _BURST_SECONDS, self._next_turn)
        self._next_turn = turn + seconds / _SHARE
        while (wait_seconds := turn - loop.time()) > 0:
            await asyncio.sleep(min(wait_seconds, _CHECK_SECONDS))
            if not self._is_busy():
                self._next_turn = 0.0
                return

    def _is_busy(self) -> bool:
        return self._committer.is_busy or asyncio.get_running_loop().time() < self._busy_until
