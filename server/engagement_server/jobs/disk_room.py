"""Looks whether a full disk has room again: while health says that it is full, commits may stay away."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from engagement_server.log.base import CommitLog

LOOK_SECONDS: Final = 1.0


async def watch_room(log: CommitLog) -> None:
    """Lets a log look for room every second; never returns."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        await log.look_for_room()
