"""The commit log of a single machine: one SQLite transaction both logs and applies a commit."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from engagement_server.clock import now_ms
from engagement_server.errors import SubscriberError
from engagement_server.log.disk_room import apply_with_reserve
from engagement_server.log.writer_thread import WriterThread
from engagement_server.supervision import call_all

if TYPE_CHECKING:
    from engagement_server.errors import DataLossError, RequestError
    from engagement_server.log.base import AppliedCallback, FreshnessCallback, SettleCallback
    from engagement_server.operations import Commit, Result
    from engagement_server.store.database import DatabaseFile
    from engagement_server.store.reserve import Reserve


class LocalLog:
    """Applies each commit to the store."""

    max_concurrent_commits = 1
    takes_lanes_apart = False
    has_other_writers = False
    node_id = ""
    lag_messages = 0

    def __init__(self, database: DatabaseFile, *, reserve: Reserve | None = None) -> None:
        """Takes over the reserve: disk space for removal."""
        self._reserve = reserve
        self._writer = WriterThread(database)
        self._callbacks: list[AppliedCallback] = []
        self._settle_callbacks: list[SettleCallback] = []
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def view_time_ms(self) -> int:
        """See `CommitLog.view_time_ms`."""
        return now_ms()

    @property
    def is_current(self) -> bool:
        """See `CommitLog.is_current`."""
        return True

    @property
    def damage(self) -> DataLossError | None:
        """See `CommitLog.damage`."""
        return None

    def subscribe(self, callback: AppliedCallback) -> None:
        """See `CommitLog.subscribe`."""
        self._callbacks.append(callback)

    def want_events(self, account_id: str, *, are_wanted: bool) -> None:
        """See `CommitLog.want_events`."""

    def watch_freshness(self, callback: FreshnessCallback) -> None:
        """See `CommitLog.watch_freshness`."""

    async def commit(self, commit: Commit) -> list[Result | RequestError]:
        """See `CommitLog.commit`."""
        applied = await self._writer.run(lambda writer: apply_with_reserve(writer, commit, self._reserve))
        error = call_all("commit-log", self._callbacks, applied)
        if error is not None and not self.failure.done():
            self.failure.set_exception(SubscriberError(error))
        return applied.results

    async def catch_up(self) -> bool:
        """See `CommitLog.catch_up`."""
        return False

    async def purge(self) -> None:
        """See `CommitLog.purge`."""
        await self._writer.purge()

    def watch_settling(self, callback: SettleCallback) -> None:
        """See `CommitLog.watch_settling`."""
        self._settle_callbacks.append(callback)

    async def settle(self) -> None:
        """See `CommitLog.settle`."""
        await asyncio.gather(*(callback() for callback in self._settle_callbacks))

    async def close(self) -> None:
        """See `CommitLog.close`."""
        await self._writer.close()
        if self.failure.done():
            self.failure.exception()  # marks it as retrieved
        if self._reserve is not None:
            self._reserve.close()
