"""How far subscriptions are behind: those that do not read, and those that have nothing to read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engagement import v1
from engagement_server.clock import now_ms
from engagement_server.streams.lags import MAX_LAGS, SubscriptionLags
from tests.support.subscription_bench import Bench, at_tail
from tests.support.waiting import eventually

_NOTHING = v1.EventFilter(text="nothing has this")


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    await bench.close()


async def test_one_that_does_not_read_is_behind_by_what_it_was_not_sent(bench: Bench) -> None:
    before_ms = now_ms()
    reader, stopped = await at_tail(bench), await at_tail(bench)
    lags = SubscriptionLags(bench.subscriptions, bench.readers)
    stopped.gate.clear()
    await bench.record(1)
    accepted_ms = now_ms()
    await bench.record(600, start=1)
    await reader.until(lambda each: len(each.ids) == 601)

    async def is_told() -> bool:
        return [each.events > 0 for each in (await lags.read()).slowest] == [True, False]

    await eventually(is_told, "one is behind")
    found = await lags.read()
    slow, other = found.slowest
    assert found.open_subscriptions == 2
    assert (slow.account_id, other.account_id) == ("acme", "acme")
    assert before_ms <= slow.start_ms <= accepted_ms
    assert 0 < slow.events <= 600
    assert 0 <= slow.age_ms <= now_ms() - before_ms
    assert (other.events, other.age_ms) == (0, 0)
    stopped.gate.set()
    await stopped.until(lambda each: len(each.ids) == 601)

    async def has_caught_up() -> bool:
        return all(each.events == each.age_ms == 0 for each in (await lags.read()).slowest)

    await eventually(has_caught_up, "none is behind")
    for each in (reader, stopped):
        await each.end()
    assert (await lags.read()) == (0, [])


async def test_one_whose_filter_matches_nothing_is_not_behind(bench: Bench) -> None:
    await bench.record(1)
    waiting = await at_tail(bench, wanted=_NOTHING)
    lags = SubscriptionLags(bench.subscriptions, bench.readers)
    await bench.record(100, start=1)

    async def has_passed() -> bool:
        (only,) = (await lags.read()).slowest
        return only.events == 0

    await eventually(has_passed, "it has passed by the events")
    await waiting.end()


async def test_only_the_slowest_are_told_one_by_one(bench: Bench) -> None:
    await bench.record(1)
    readers = [await at_tail(bench) for _ in range(MAX_LAGS + 1)]
    stopped = readers[-1]
    stopped.gate.clear()
    await bench.record(600, start=1)
    lags = SubscriptionLags(bench.subscriptions, bench.readers)

    async def is_first() -> bool:
        found = await lags.read()
        assert (found.open_subscriptions, len(found.slowest)) == (MAX_LAGS + 1, MAX_LAGS)
        return [bool(each.events) for each in found.slowest] == [True] + [False] * (MAX_LAGS - 1)

    await eventually(is_first, "the one that does not read comes first")
    for reader in readers:
        reader.gate.set()
        await reader.end()
