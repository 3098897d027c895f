"""The expiry of a partition as operators see it: the retention, whether expiry is held, and what is due."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from engagement_server.clock import now_ms
from engagement_server.jobs.node_clock import MAX_DIFFERENCE_MS
from engagement_server.model import DueEvents, RetentionState
from engagement_server.operations import ReleaseExpiry, SetRetention
from engagement_server.supervision import call_all

if TYPE_CHECKING:
    from collections.abc import Callable

    from engagement_server.governor.turns import Caller
    from engagement_server.log.base import CommitLog
    from engagement_server.log.committer import Committer
    from engagement_server.operations import Applied
    from engagement_server.store.reader import Reader
    from engagement_server.store.readers import Readers


class Removal(NamedTuple):
    """What expires from a time on."""

    before_ms: int
    """Events accepted before this time are due."""
    due: int
    stored: int


class Expiry:
    """Reads the state of the partition, and commits what an operator decides."""

    def __init__(
        self, *, log: CommitLog, committer: Committer, readers: Readers, state: RetentionState
    ) -> None:
        """`state` is the one in the store now."""
        self._committer = committer
        self._readers = readers
        self.state = state
        """How long events are kept after the last commit, and the hold."""
        self._callbacks: list[Callable[[], None]] = []
        self._expired: int | None = None
        """Events that were expired, if that is known since the last removal."""
        log.subscribe(self._note)

    def watch(self, callback: Callable[[], None]) -> None:
        """Registers `callback`, which is called when the state changes."""
        self._callbacks.append(callback)

    async def expired_events(self, *, caller: Caller) -> int:
        """How many events expiry has removed so far."""
        if self._expired is None:
            expired = await self._readers.run(
                lambda reader: reader.receive_times.expired_events(), caller=caller
            )
            self._expired = expired
        return self._expired

    async def removal(self, retention_ms: int, *, caller: Caller) -> Removal:
        """What is due now with a retention."""
        clock_ms = now_ms()

        def count(reader: Reader) -> DueEvents:
            with reader.transaction():
                return reader.receive_times.count_due(
                    accepted_before_ms=clock_ms - retention_ms,
                    confirmed_before_ms=0,
                    clock_ms=clock_ms + MAX_DIFFERENCE_MS,
                )

        due = await self._readers.run(count, caller=caller)
        return Removal(clock_ms - retention_ms, due.due, due.stored)

    async def set_retention(self, retention_ms: int, *, caller: Caller) -> None:
        """Changes the retention on all nodes."""
        setting = SetRetention(retention_ms, is_first=False)
        await self._committer.submit(setting, returns=RetentionState, caller=caller)

    async def release(self, *, confirmed_before_ms: int, caller: Caller) -> None:
        """Ends the hold on all nodes: events accepted before the time may go, however many they are."""
        await self._committer.submit(ReleaseExpiry(confirmed_before_ms), returns=int, caller=caller)

    def _note(self, applied: Applied) -> None:
        if applied.has_removed:
            self._expired = None
        if applied.retention != self.state:
            self.state = applied.retention
            call_all("expiry", self._callbacks)
