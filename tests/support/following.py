"""A program that follows an account: it prints each cursor, and stores one now and then.

`python -m tests.support.following HOST:PORT FOLDER`: the cursor is in FOLDER/cursor; what this run sees goes
to standard output, a cursor a line, the one it starts behind first.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from engagement import EngagementClient

_STORE_EVERY = 7


async def follow(server: str, stored: Path) -> None:
    """Follows until it is killed."""
    cursor = _load(stored)
    os.write(1, f"{cursor}\n".encode())
    async with (
        EngagementClient(server, account_id="acme") as client,
        client.follow(after_cursor=cursor or None, earliest=not cursor) as follower,
    ):
        handled = 0
        async for event in follower:
            os.write(1, f"{event.cursor}\n".encode())
            handled += 1
            if handled % _STORE_EVERY == 0:
                _store(stored, follower.cursor)


def _load(stored: Path) -> str:
    return stored.read_text() if stored.exists() else ""


def _store(stored: Path, cursor: str) -> None:
    scratch = stored.with_suffix(".new")
    scratch.write_text(cursor)
    scratch.replace(stored)


if __name__ == "__main__":
    asyncio.run(follow(sys.argv[1], Path(sys.argv[2]) / "cursor"))
