"""The job that expires goes on past damage and failures, in bounded passes, and says what it has removed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from engagement import v1
from engagement_server.clock import now_ms
from engagement_server.errors import RequestError, StoreUnavailableError
from engagement_server.jobs import retention
from engagement_server.jobs.agreement import Terms
from engagement_server.jobs.node_clock import NodeClock
from engagement_server.jobs.retention import MAX_PASS_SECONDS, Retention
from engagement_server.log.committer import Committer
from engagement_server.log.local import LocalLog
from engagement_server.model import ExpiryHold
from engagement_server.operations import Commit, ExpireUploads, RecordBatch, Result, SetRetention
from engagement_server.store.database import DatabaseFile
from engagement_server.store.readers import Readers
from tests.support.events import batch_of, customer_events
from tests.support.store_file import open_store
from tests.support.waiting import eventually

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
NOTHING = ExpireUploads(0)
AGREEMENT_SECONDS = 0.5
MAX_LOOKS = 1000


class ControlledLog(LocalLog):
    """A log that a test cuts off, and commits to as another node; it counts the looks at its freshness."""

    has_other_writers = True
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
    ) -> AsyncIterator[asyncio.Task[None]]:
        """Runs the job; `other_ms` is the time of a commit of another node just before its first pass."""
        clock = NodeClock(
            self.log, agreement_seconds=AGREEMENT_SECONDS
        )  # sees none of the commits of the past
        if other_ms is not None:
            await self.log.commit(Commit([NOTHING], other_ms))
        terms = Terms(None, idle_uploads_ms=HOUR_MS, allows_short=allows_short, folder=self.folder)
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
        total = 0
        for account_id in account_ids or self.accounts:
            bounds = await self.readers.run(lambda reader, each=account_id: reader.bounds(each))
            assert bounds is not None
            total += bounds.last_position - bounds.expired_position
        return total

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
        assert await node.left() == 1
        node.log.is_behind = False
        await node.wait_until_left(0)


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
    await node.committer.close()
    node.open_log()
    caplog.set_level(logging.INFO)
    async with node.job() as job:
        await node.wait_until_left(0, "sound")
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
            return await node.left() < 9000

        await eventually(has_begun, "the first events are gone")
        node.log.is_cut = True
        await eventually(lambda: bool(removed(caplog)), "the pass has ended")
        assert not job.done()
    left = await node.left()
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


@pytest.mark.parametrize(
    ("ahead_ms", "reason"),
    [
        (-3 * DAY_MS, v1.ExpiryHold.REASON_CLOCKS_DISAGREE),
        # This node's own commit is then behind the last one, whoever made that.
        (3 * DAY_MS, v1.ExpiryHold.REASON_CLOCK_BEHIND),
    ],
)
async def test_a_commit_of_another_node_whose_clock_disagrees_holds_expiry(
    node: Node, ahead_ms: int, reason: v1.ExpiryHold.Reason
) -> None:
    await node.fill({"acme": 3}, age_ms=3 * DAY_MS + HOUR_MS)
    other_ms = now_ms() + ahead_ms
    async with node.job(other_ms=other_ms):
        hold = await node.wait_for_hold()
    assert (hold.reason, hold.commit_ms) == (reason, other_ms)


async def test_a_clock_that_gains_a_day_while_the_server_runs_holds_expiry(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    await node.fill({"acme": 3}, retention_ms=20 * HOUR_MS)
    real_time_ns, before_ms = time.time_ns, now_ms()
    async with node.job():
        monkeypatch.setattr(time, "time_ns", lambda: real_time_ns() + 25 * HOUR_MS * 1_000_000)
        await node.log.commit(Commit([SetRetention(19 * HOUR_MS, is_first=False)], now_ms()))
        hold = await node.wait_for_hold()
    assert hold.reason == v1.ExpiryHold.REASON_CLOCK_AHEAD
    assert before_ms <= hold.commit_ms < before_ms + HOUR_MS < hold.clock_ms


async def test_a_hold_ends_by_itself_once_the_commits_of_all_nodes_have_agreed_for_a_while(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "HELD_INTERVAL_SECONDS", 0.02)
    await node.fill({"acme": 3}, age_ms=3 * DAY_MS + HOUR_MS)
    began = time.monotonic()
    async with node.job(other_ms=now_ms() - 3 * DAY_MS):
        hold = await node.wait_for_hold()
        assert hold.reason == v1.ExpiryHold.REASON_CLOCKS_DISAGREE
        await node.wait_until_released()
        assert time.monotonic() - began >= AGREEMENT_SECONDS
        await node.wait_until_left(0)


async def test_a_hold_goes_on_while_a_node_disagrees(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "HELD_INTERVAL_SECONDS", 0.02)
    await node.fill({"acme": 3}, age_ms=3 * DAY_MS + HOUR_MS)
    other_ms, began = now_ms() - 3 * DAY_MS, time.monotonic()
    async with node.job(other_ms=other_ms):
        await node.wait_for_hold()
        await eventually(lambda: time.monotonic() - began > AGREEMENT_SECONDS / 2, "they agree for a moment")
        disagreed = time.monotonic()
        await node.log.commit(Commit([NOTHING], other_ms))
        await node.wait_until_released()
        assert time.monotonic() - disagreed >= AGREEMENT_SECONDS


@pytest.mark.parametrize(("old", "young"), [({"a": 10}, {"b": 90}), ({"a": 5, "b": 5}, {"a": 10, "c": 80})])
async def test_a_first_expiry_of_a_tenth_of_the_events_of_all_accounts_goes_on(
    node: Node, old: Mapping[str, int], young: Mapping[str, int]
) -> None:
    await node.fill(old, age_ms=3 * DAY_MS, retention_ms=2 * DAY_MS)
    await node.fill(young)
    async with node.job(allows_short=False):
        await node.wait_until_left(90)


@pytest.mark.parametrize(("old", "young"), [({"a": 11}, {"b": 89}), ({"a": 5, "b": 6}, {"a": 9, "b": 80})])
async def test_a_first_expiry_of_more_than_a_tenth_of_the_events_of_all_accounts_is_held(
    node: Node, old: Mapping[str, int], young: Mapping[str, int]
) -> None:
    await node.fill(old, age_ms=3 * DAY_MS, retention_ms=2 * DAY_MS)
    await node.fill(young)
    async with node.job(allows_short=False):
        hold = await node.wait_for_hold()
    assert hold.reason == v1.ExpiryHold.REASON_LARGE_REMOVAL


async def test_an_expiry_that_is_not_the_first_since_the_start_may_remove_any_number(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "INTERVAL_SECONDS", 0.02)
    await node.fill({"a": 1}, age_ms=3 * DAY_MS, retention_ms=2 * DAY_MS)
    await node.fill({"a": 20}, age_ms=40 * HOUR_MS)
    async with node.job(allows_short=False):
        await node.wait_until_left(20)
        real_time_ns = time.time_ns
        monkeypatch.setattr(time, "time_ns", lambda: real_time_ns() + 10 * HOUR_MS * 1_000_000)
        await node.wait_until_left(0)


async def test_a_pass_that_failed_is_tried_again_within_a_minute(
    node: Node, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert retention.RETRY_SECONDS <= 60
    monkeypatch.setattr(retention, "RETRY_SECONDS", 0.02)
    await node.fill({"acme": 9000})
    async with node.job():

        async def has_begun() -> bool:
            return await node.left() < 9000

        await eventually(has_begun, "the first events are gone")
        node.log.is_cut = True
        await eventually(lambda: "expiry is tried again in" in caplog.text, "the pass has failed")
        assert await node.left() > 0
        node.log.is_cut = False
        await node.wait_until_left(0)
