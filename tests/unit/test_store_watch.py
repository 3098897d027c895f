"""What a store holds at a glance, and what is told while it does not answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engagement_server.clock import now_ms
from engagement_server.log.local import LocalLog
from engagement_server.model import ErasureState, Subject
from engagement_server.operations import BeginErasure, Commit, ExpireEvents, RecordBatch, SetRetention
from engagement_server.stats import stores
from engagement_server.stats.stores import StoreWatch
from engagement_server.store.database import DatabaseFile
from engagement_server.store.reader import Reader
from engagement_server.store.readers import Readers
from engagement_server.store.summary import Summary
from tests.support.events import batch_of, customer_events
from tests.support.waiting import eventually

DAY_MS = 86_400_000
BLOCK_EVENTS = 4_096


class Bench:
    """A store with one reading thread."""

    def __init__(self, folder: Path) -> None:
        self._database = DatabaseFile(folder)
        self.log = LocalLog(self._database)
        self.readers = Readers(self._database, threads=1)
        self.watch = StoreWatch(0, self.log, self.readers)

    async def record(self, account_id: str, count: int, *, time_ms: int, start: int = 0) -> None:
        batch = batch_of(customer_events(count, start=start))
        await self.log.commit(Commit([RecordBatch(account_id, batch, is_atomic=False)], time_ms))

    async def summary(self) -> Summary:
        """The store as it is now."""
        watch = StoreWatch(0, self.log, self.readers)
        await watch.refresh()
        assert watch.summary is not None
        return watch.summary

    async def close(self) -> None:
        self.readers.close()
        await self.log.close()
        self._database.close()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    await bench.close()


async def test_the_oldest_event_is_the_oldest_of_all_accounts(bench: Bench) -> None:
    now = now_ms()
    assert (await bench.summary())[:4] == (0, 0, None, 0)
    await bench.record("old", 3, time_ms=now - 9_000)
    await bench.record("older", 3, time_ms=now - 9_000 + 1)
    await bench.record("old", 3, time_ms=now - 8_000, start=3)
    assert (await bench.summary())[:3] == (9, 0, now - 9_000)
    # Its block still has the time of what is gone.
    await bench.log.commit(Commit([ExpireEvents("old", now - 8_999, max_events=3)], now))
    assert (await bench.summary())[:3] == (6, 3, now - 8_999)
    await bench.log.commit(Commit([ExpireEvents("older", now, max_events=3)], now))
    assert (await bench.summary())[:3] == (3, 6, now - 8_000)


async def test_blocks_whose_events_are_all_gone_are_passed(bench: Bench) -> None:
    now = now_ms()
    await bench.record("acme", BLOCK_EVENTS + 5, time_ms=now - 5_000)
    await bench.record("acme", 1, time_ms=now, start=BLOCK_EVENTS + 5)
    await bench.log.commit(Commit([ExpireEvents("acme", now - 1, max_events=BLOCK_EVENTS + 5)], now))
    assert (await bench.summary())[:3] == (1, BLOCK_EVENTS + 5, now)


async def test_erasures_that_are_not_complete_are_counted(bench: Bench) -> None:
    await bench.record("acme", 1, time_ms=now_ms())
    begin = BeginErasure("acme", "r", "e", [Subject(1, "someone")], suppress=True)
    (state,) = await bench.log.commit(Commit([begin], now_ms()))
    assert isinstance(state, ErasureState)
    assert (await bench.summary()).pending_erasures == 1


async def test_a_hold_is_told_with_what_is_due(bench: Bench) -> None:
    now = now_ms()
    await bench.log.commit(Commit([SetRetention(DAY_MS, is_first=True)], now - 30 * DAY_MS))
    await bench.record("acme", 3, time_ms=now - 30 * DAY_MS)
    await bench.record("acme", 1, time_ms=now, start=3)
    found = await bench.summary()
    assert found.retention.hold is not None
    assert found.due is not None
    assert (found.due.due, found.due.stored) == (3, 4)


async def test_while_the_store_does_not_answer_its_last_answer_stands(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "READ_SECONDS", 0.01)
    monkeypatch.setattr(stores, "_PAUSE_FACTOR", 0)
    await bench.record("acme", 3, time_ms=now_ms())

    async def refreshed(events: int) -> bool:
        await bench.watch.refresh()
        return bench.watch.summary is not None and bench.watch.summary.events == events

    await eventually(lambda: refreshed(3), "the store has answered")
    entered, release = threading.Event(), threading.Event()

    def block(_: Reader) -> None:
        entered.set()
        release.wait()

    blocking = asyncio.ensure_future(bench.readers.run(block))
    await asyncio.to_thread(entered.wait)
    await bench.record("acme", 4, time_ms=now_ms(), start=3)
    for _ in range(3):
        assert await refreshed(3)
    release.set()
    await blocking
    await eventually(lambda: refreshed(7), "the store answers again")


async def test_a_store_that_takes_long_to_read_is_read_rarely(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "_PAUSE_FACTOR", 1e9)
    await bench.watch.refresh()
    before = bench.watch.summary
    await bench.record("acme", 3, time_ms=now_ms())
    await bench.watch.refresh()
    assert before is not None
    assert bench.watch.summary is before
