"""Consumers with many events: they are detected, and their events are folded before a read."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from engagement import v1
from engagement_server.governor.turns import Caller
from engagement_server.jobs.hot_consumers import (
    MAX_NEW_EVENTS,
    MAX_SAMPLES,
    MIN_KEPT_EVENTS,
    ConsumerCounts,
    HotConsumers,
)
from engagement_server.log.committer import Committer
from engagement_server.log.local import LocalLog
from engagement_server.operations import RecordBatch, Recorded
from engagement_server.profiles import Profiles
from engagement_server.store.database import DatabaseFile, read_cursors
from engagement_server.store.reader import Reader
from engagement_server.store.readers import Readers
from tests.support.events import batch_of, customer_events
from tests.support.waiting import eventually

CALLER = Caller("peer", "acme")


@dataclass(frozen=True, slots=True)
class Parts:
    """A store and the parts that keep folds of it."""

    committer: Committer
    readers: Readers
    profiles: Profiles

    async def record(self, count: int, *, start: int = 0) -> None:
        batch = batch_of(customer_events(count, start=start))
        await self.committer.submit(RecordBatch("acme", batch, is_atomic=True), returns=Recorded)

    async def count_read(self) -> int:
        """The number of events that a read has to fold now."""

        def fold(reader: Reader) -> int:
            bounds = reader.bounds("acme")
            assert bounds is not None
            folding = reader.profiles.fold_consumer(bounds, "ada")
            reader.profiles.advance(folding)
            return folding.events

        return await self.readers.run(fold)

    async def wait_until_kept(self) -> None:
        async def is_kept() -> bool:
            return await self.count_read() == 0

        await eventually(is_kept, "the fold is kept")


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Parts]:
    database = DatabaseFile(tmp_path)
    log = LocalLog(database)
    connection = database.open_reader()
    cursors = read_cursors(connection)
    connection.close()
    readers = Readers(database, threads=1)
    committer = Committer(log)
    hot_consumers = HotConsumers(readers=readers, committer=committer)
    profiles = Profiles(readers=readers, hot_consumers=hot_consumers, cursors=cursors)
    yield Parts(committer, readers, profiles)
    hot_consumers.close()
    await committer.close()
    readers.close()
    await log.close()
    database.close()


async def test_many_events_of_one_consumer_are_folded_without_a_read(parts: Parts) -> None:
    await parts.record(MAX_NEW_EVENTS // 2)
    assert await parts.count_read() == MAX_NEW_EVENTS // 2
    await parts.record(MAX_NEW_EVENTS, start=MAX_NEW_EVENTS // 2)
    await parts.wait_until_kept()


async def test_more_events_than_a_step_are_folded_step_by_step(parts: Parts) -> None:
    await parts.record(5 * MAX_NEW_EVENTS)
    await parts.wait_until_kept()
    request = v1.GetProfileRequest(account_id="acme", consumer_id="ada")
    assert (await parts.profiles.read(request, caller=CALLER)).customer_info.balance == str(
        5 * MAX_NEW_EVENTS - 1
    )


async def test_what_comes_while_events_are_folded_is_folded_too(parts: Parts) -> None:
    for start in range(0, 5 * MAX_NEW_EVENTS, MAX_NEW_EVENTS):
        await parts.record(MAX_NEW_EVENTS, start=start)
    await parts.wait_until_kept()


async def test_a_read_of_many_events_keeps_what_it_folded(parts: Parts) -> None:
    await parts.record(MIN_KEPT_EVENTS)
    request = v1.GetProfileRequest(account_id="acme", consumer_id="ada")
    first = await parts.profiles.read(request, caller=CALLER)
    await parts.wait_until_kept()
    assert await parts.profiles.read(request, caller=CALLER) == first


async def test_a_read_of_few_events_keeps_nothing(parts: Parts) -> None:
    await parts.record(MIN_KEPT_EVENTS - 1)
    await parts.profiles.read(v1.GetProfileRequest(account_id="acme", consumer_id="ada"), caller=CALLER)
    await parts.record(1, start=MIN_KEPT_EVENTS)
    assert await parts.count_read() == MIN_KEPT_EVENTS


def test_a_consumer_with_many_events_is_counted_among_any_number_of_others() -> None:
    counts = ConsumerCounts(max_counters=100)
    others = random.Random(7)
    sent, found = 0, 0
    for _ in range(2_000):
        tokens = [*("hot" for _ in range(5)), *(str(others.getrandbits(40)) for _ in range(95))]
        sent += 5
        found += counts.add("acme", tokens).count("hot")
        assert counts.size <= 200
    # Up to a hundredth of all events may go uncounted.
    assert found >= (sent - 2_000 * 100 // 100) // MAX_SAMPLES - 1


def test_counts_of_accounts_are_their_own() -> None:
    counts = ConsumerCounts()
    assert counts.add("acme", ["x"] * (MAX_SAMPLES - 1)) == []
    assert counts.add("other", ["x"]) == []
    assert counts.add("acme", ["x"]) == ["x"]
    assert counts.add("acme", ["x"]) == []


def test_few_events_of_a_consumer_are_never_too_many() -> None:
    counts = ConsumerCounts(max_counters=10)
    seen: Counter[str] = Counter()
    chance = random.Random(7)
    for _ in range(3_000):
        token = str(chance.randrange(30))
        seen[token] += 1
        for due in counts.add("acme", [token]):
            assert seen[due] >= MAX_SAMPLES
            seen[due] = 0
