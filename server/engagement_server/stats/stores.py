"""What the store of a partition holds, looked at without ever waiting for it long."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from engagement_server.clock import now_ms
from engagement_server.errors import RequestError
from engagement_server.jobs.node_clock import MAX_DIFFERENCE_MS
from engagement_server.store.summary import SummaryQuery
from engagement_server.supervision import run_in_background

if TYPE_CHECKING:
    from engagement_server.log.base import CommitLog
    from engagement_server.store.reader import Reader
    from engagement_server.store.readers import Readers
    from engagement_server.store.summary import Summary

READ_SECONDS: Final = 1.0
"""How long a sample waits for a store; then what it said last stands."""
NODE_MS: Final = 3_600_000
"""How long a node counts after its last commit."""
# After a reading of a store with many accounts, so many times its processor time passes before the next.
_PAUSE_FACTOR: Final = 1_000


class StoreWatch:
    """The store and the log of one partition."""

    def __init__(self, number: int, log: CommitLog, readers: Readers) -> None:
        self.number = number
        self.log = log
        self.summary: Summary | None = None
        """What the store said last; None if it has said nothing yet."""
        self._readers = readers
        self._reading: asyncio.Task[None] | None = None
        self._next_reading = 0.0

    async def refresh(self) -> None:
        """Reads the store, unless that is due later; a reading that takes long goes on by itself."""
        if self._reading is None or self._reading.done():
            if time.monotonic() < self._next_reading:
                return
            self._reading = run_in_background("read-summary", self._read)
        await asyncio.wait([self._reading], timeout=READ_SECONDS)

    async def _read(self) -> None:
        clock_ms = now_ms()
        query = SummaryQuery(clock_ms, MAX_DIFFERENCE_MS, clock_ms - NODE_MS)

        def read(reader: Reader) -> tuple[Summary, float]:
            began = time.thread_time()
            return reader.summary(query), time.thread_time() - began

        try:
            self.summary, seconds = await self._readers.run(read)
        except (RequestError, RuntimeError):  # overloaded, damaged or closed: as the checks say
            return
        self._next_reading = time.monotonic() + _PAUSE_FACTOR * seconds
