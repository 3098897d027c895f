"""A store with old events, and the job that expires them, over a log that tests control."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from engagement_server.clock import now_ms
from engagement_server.errors import RequestError, StoreUnavailableError
from engagement_server.jobs.agreement import Terms
from engagement_server.jobs.node_clock import NodeClock
from engagement_server.jobs.retention import MAX_PASS_SECONDS, Retention
from engagement_server.log.committer import Committer
from engagement_server.log.local import LocalLog
from engagement_server.model import ExpiryHold
from engagement_server.operations import (
    Commit,
    ExpireEvents,
    ExpireUploads,
    RecordBatch,
    Result,
    SetRetention,
)
from engagement_server.store.database import DatabaseFile
from engagement_server.store.reader import Reader
from engagement_server.store.readers import Readers
from tests.support.events import batch_of, customer_events
from tests.support.waiting import eventually

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
AGREEMENT_SECONDS = 0.5
MAX_LOOKS = 1000
NOTHING = ExpireUploads(0)
"""Changes nothing, and shows the clock of its node."""


class ControlledLog(LocalLog):
    """A log that a test cuts off, and commits to as another node; it counts the looks at its freshness."""

    has_other_writers = True
    takes_lanes_apart = True
    is_cut = False
    is_behind = False
    looks = 0
    commits = 0

    def __init__(self, database: DatabaseFile) -> None:
        super().__init__(database)
        self.takes_calls = asyncio.Event()
        self.takes_calls.set()
        self.steps: dict[str, list[tuple[float, float]]] = {}
        """When each commit that expires events of an account began and ended."""

    @property
    def is_current(self) -> bool:
        self.looks += 1
        assert self.looks < MAX_LOOKS, "the job spins"
        return not self.is_behind

    async def commit(self, commit: Commit) -> list[Result | RequestError]:
        if self.is_cut:
            raise StoreUnavailableError("cut")
        if any(isinstance(operation, RecordBatch) for operation in commit.operations):
            await self.takes_calls.wait()
        began = time.monotonic()
        results = await super().commit(commit)
        self.commits += 1
        for operation in commit.operations:
            if isinstance(operation, ExpireEvents):
                self.steps.setdefault(operation.account_id, []).append((began, time.monotonic()))
        return results


class ExpiringNode:
    """A store with events that a job expires; by default, they are two hours old and are kept for one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = DatabaseFile(folder)
        self.readers = Readers(self.database, threads=1)
        self.events = 0
        self.accounts: set[str] = set()
        self.open_log()

    def open_log(self) -> None:
        self.log = ControlledLog(self.database)
        self.committer = Committer(self.log)

    async def fill(
        self, counts: Mapping[str, int], *, age_ms: int = 2 * HOUR_MS, retention_ms: int = HOUR_MS
    ) -> None:
        old_ms = now_ms() - age_ms
        for account_id, count in counts.items():
            batch = batch_of(customer_events(count, start=self.events))
            self.events += count
            self.accounts.add(account_id)
            await self.log.commit(Commit([RecordBatch(account_id, batch, is_atomic=True)], old_ms))
        await self.log.commit(Commit([SetRetention(retention_ms, is_first=True)], old_ms))

    @contextlib.asynccontextmanager
    async def job(
        self,
        *,
        max_pass_seconds: float = MAX_PASS_SECONDS,
        allows_short: bool = True,
        other_ms: int | None = None,
        retention_ms: int | None = None,
    ) -> AsyncIterator[asyncio.Task[None]]:
        """Runs the job of a server that may have been started with a retention.

        `other_ms` is the time of a commit that another node makes just before its first pass.
        """
        # It sees none of the commits before.
        clock = NodeClock(self.log, agreement_seconds=AGREEMENT_SECONDS)
        if other_ms is not None:
            await self.log.commit(Commit([NOTHING], other_ms))
        terms = Terms(retention_ms, idle_uploads_ms=HOUR_MS, allows_short=allows_short, folder=self.folder)
        job = Retention(
            terms,
            committer=self.committer,
            readers=self.readers,
            log=self.log,
            clock=clock,
            max_pass_seconds=max_pass_seconds,
        )
        task = asyncio.create_task(job.run())
        yield task
        task.cancel()
        await asyncio.wait([task])

    async def left(self, *account_ids: str) -> int:
        """How many events are left of these accounts, or of all."""
        wanted = account_ids or sorted(self.accounts)

        def count(reader: Reader) -> int:
            bounds = [reader.bounds(account_id) for account_id in wanted]
            return sum(each.last_position - each.expired_position for each in bounds if each is not None)

        return await self.readers.run(count)

    async def wait_until_left(self, count: int, *account_ids: str) -> None:
        """Fails at once if expiry is held."""

        async def are_left() -> bool:
            assert await self.hold() is None
            return await self.left(*account_ids) == count

        await eventually(are_left, f"{count} events are left")

    async def hold(self) -> ExpiryHold | None:
        return (await self.readers.run(lambda reader: reader.retention())).hold

    async def wait_for_hold(self) -> ExpiryHold:
        """Fails as soon as an event has expired."""

        async def is_held() -> bool:
            assert await self.left() == self.events
            return await self.hold() is not None

        await eventually(is_held, "expiry is held")
        hold = await self.hold()
        assert hold is not None
        return hold

    async def wait_until_released(self) -> None:
        async def is_released() -> bool:
            return await self.hold() is None

        await eventually(is_released, "the hold has ended")

    async def close(self) -> None:
        await self.committer.close()
        self.readers.close()
        await self.log.close()
        self.database.close()
