"""The job that expires goes on past damage and failures, in bounded passes, and says what it has removed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from engagement_server.clock import now_ms
from engagement_server.errors import RequestError, StoreUnavailableError
from engagement_server.jobs.agreement import Terms
from engagement_server.jobs.node_clock import NodeClock
from engagement_server.jobs.retention import MAX_PASS_SECONDS, Retention
from engagement_server.log.committer import Committer
from engagement_server.log.local import LocalLog
from engagement_server.operations import Commit, RecordBatch, Result, SetRetention
from engagement_server.store.database import DatabaseFile
from engagement_server.store.readers import Readers
from tests.support.events import batch_of, customer_events
from tests.support.store_file import open_store
from tests.support.waiting import eventually

HOUR_MS = 3_600_000
MAX_LOOKS = 1000


class ControlledLog(LocalLog):
    """A log that a test cuts off, and whose looks at freshness it counts."""

    is_cut = False
    is_behind = False
    looks = 0

    @property
    def is_current(self) -> bool:
        self.looks += 1
        assert self.looks < MAX_LOOKS, "the job spins"
        return not self.is_behind

    async def commit(self, commit: Commit) -> list[Result | RequestError]:
        if self.is_cut:
            raise StoreUnavailableError("cut")
        return await super().commit(commit)


class Node:
    """A store with events of two hours ago, which are kept for one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = DatabaseFile(folder)
        self.log = ControlledLog(self.database)
        self.committer = Committer(self.log)
        self.readers = Readers(self.database, threads=1)

    async def fill(self, counts: Mapping[str, int]) -> None:
        old_ms = now_ms() - 2 * HOUR_MS
        for account_id, count in counts.items():
            batch = batch_of(customer_events(count))
            await self.log.commit(Commit([RecordBatch(account_id, batch, is_atomic=True)], old_ms))
        await self.log.commit(Commit([SetRetention(HOUR_MS, is_first=True)], old_ms))

    @contextlib.asynccontextmanager
    async def job(self, *, max_pass_seconds: float = MAX_PASS_SECONDS) -> AsyncIterator[asyncio.Task[None]]:
        terms = Terms(None, idle_uploads_ms=HOUR_MS, allows_short=True, folder=self.folder)
        retention = Retention(
            terms,
            committer=self.committer,
            readers=self.readers,
            log=self.log,
            clock=NodeClock(self.log),
            max_pass_seconds=max_pass_seconds,
        )
        task = asyncio.create_task(retention.run())
        yield task
        task.cancel()
        await asyncio.wait([task])

    async def left(self, account_id: str) -> int:
        bounds = await self.readers.run(lambda reader: reader.bounds(account_id))
        assert bounds is not None
        return bounds.last_position - bounds.expired_position

    async def close(self) -> None:
        await self.committer.close()
        self.readers.close()
        await self.log.close()
        self.database.close()


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    opened = Node(tmp_path / "data")
    yield opened
    await opened.close()


def removed(caplog: pytest.LogCaptureFixture) -> list[int]:
    """How many events the log lines say were removed."""
    found = (re.match(r"removed (\d+) events that were accepted before", each) for each in caplog.messages)
    return [int(each[1]) for each in found if each]


async def test_a_node_that_is_behind_does_not_spin_when_the_retention_changes(node: Node) -> None:
    await node.fill({"acme": 1})
    node.log.is_behind = True
    async with node.job() as job:
        await node.log.commit(Commit([SetRetention(2 * HOUR_MS, is_first=False)], now_ms()))
        await node.log.commit(Commit([SetRetention(HOUR_MS, is_first=False)], now_ms()))
        looks = node.log.looks
        await eventually(lambda: node.log.looks > looks or job.done(), "the job looks again")
        assert not job.done()
        assert await node.left("acme") == 1
        node.log.is_behind = False

        async def has_expired() -> bool:
            return await node.left("acme") == 0

        await eventually(has_expired, "the event has expired")


async def test_an_account_with_damage_that_cannot_be_removed_holds_up_no_other(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    await node.fill({"damaged": 600, "sound": 700})
    await node.log.close()
    with contextlib.closing(open_store(node.folder)) as connection:
        rows = connection.execute("SELECT pageno FROM dbstat WHERE name = 'events' AND pagetype = 'leaf'")
        page = [int(str(number)) for (number,) in rows][3]
    file = node.folder / "engagement.db"
    content = bytearray(file.read_bytes())
    content[(page - 1) * 4096] ^= 1  # the kind of the page
    file.write_bytes(content)
    node.log = ControlledLog(node.database)
    await node.committer.close()
    node.committer = Committer(node.log)
    caplog.set_level(logging.INFO)
    async with node.job() as job:

        async def has_expired() -> bool:
            return await node.left("sound") == 0

        await eventually(has_expired, "the sound account has expired")
        await eventually(lambda: sum(removed(caplog)) >= 700, "the pass has ended")
        assert not job.done()
    assert await node.left("damaged") > 0
    (message,) = (each for each in caplog.messages if "engagement check" in each)
    assert "damaged" in message


async def test_a_pass_that_is_stopped_or_fails_says_what_it_has_removed(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await node.fill({"acme": 9000})
    async with node.job() as job:

        async def has_begun() -> bool:
            return await node.left("acme") < 9000

        await eventually(has_begun, "the first events are gone")
        node.log.is_cut = True
        await eventually(lambda: bool(removed(caplog)), "the pass has ended")
        assert not job.done()
    left = await node.left("acme")
    assert left > 0
    assert removed(caplog) == [9000 - left]


async def test_a_pass_ends_in_time_and_begins_with_the_accounts_that_have_least_to_remove(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await node.fill({"a": 900, "b": 20, "c": 700})
    async with node.job(max_pass_seconds=0):
        await eventually(lambda: sum(removed(caplog)) == 1620, "everything has expired")
    assert removed(caplog) == [20, 700, 900]
