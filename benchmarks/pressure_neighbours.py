"""One rude neighbour in a process of its own: python -m benchmarks.pressure_neighbours KIND ADDRESS OPTIONS.

It reports `ready`, begins and ends with a line each, and reports what came of it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable
from typing import Final

import uvloop

from benchmarks import pressure_calls, pressure_connections, pressure_singles, pressure_uploads
from benchmarks.child import Parent
from benchmarks.pressure_load import Load

KINDS: Final[dict[str, Callable[[Load], Awaitable[None]]]] = {
    "upload": pressure_uploads.upload,
    "crowd": pressure_uploads.crowd,
    "invalid": pressure_uploads.invalid,
    "search": pressure_calls.search,
    "profiles": pressure_calls.profiles,
    "record": pressure_calls.record,
    "record-batches": pressure_calls.record_batches,
    "lone-event": pressure_calls.lone_event,
    "large-messages": pressure_calls.large_messages,
    "subscriptions": pressure_calls.subscriptions,
    "followers": pressure_calls.followers,
    "unread-lists": pressure_connections.unread_lists,
    "flood": pressure_connections.flood,
    "closed-loop": pressure_singles.closed_loop,
    "open-loop": pressure_singles.open_loop,
}


async def _run(kind: str, address: str, options: str) -> None:
    parent = Parent()
    await parent.connect()
    load = Load(address, json.loads(options), parent)
    await KINDS[kind](load)
    parent.report(load.report())


if __name__ == "__main__":
    uvloop.run(_run(*sys.argv[1:]))
