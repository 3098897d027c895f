"""The job holds expiry when a clock looks wrong or too much would go, and goes on once all is right again."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from engagement import v1
from engagement_server.clock import now_ms
from engagement_server.jobs import retention
from engagement_server.operations import Commit, SetRetention
from tests.support.expiring_node import (
    AGREEMENT_SECONDS,
    DAY_MS,
    HOUR_MS,
    NOTHING,
    ControlledLog,
    ExpiringNode,
)
from tests.support.waiting import eventually


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[ExpiringNode]:
    opened = ExpiringNode(tmp_path / "data")
    yield opened
    await opened.close()


@pytest.mark.parametrize(
    ("ahead_ms", "reason"),
    [
        (-3 * DAY_MS, v1.ExpiryHold.REASON_CLOCKS_DISAGREE),
        # This node's own commit is then behind the last one, whoever made that.
        (3 * DAY_MS, v1.ExpiryHold.REASON_CLOCK_BEHIND),
    ],
)
async def test_a_commit_of_another_node_whose_clock_disagrees_holds_expiry(
    node: ExpiringNode, ahead_ms: int, reason: v1.ExpiryHold.Reason
) -> None:
    await node.fill({"acme": 3}, age_ms=3 * DAY_MS + HOUR_MS)
    other_ms = now_ms() + ahead_ms
    async with node.job(other_ms=other_ms):
        hold = await node.wait_for_hold()
    assert (hold.reason, hold.commit_ms) == (reason, other_ms)


async def test_a_clock_that_gains_a_day_while_the_server_runs_holds_expiry(
    node: ExpiringNode, monkeypatch: pytest.MonkeyPatch
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
    node: ExpiringNode, monkeypatch: pytest.MonkeyPatch
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


async def test_a_hold_goes_on_while_a_node_disagrees(
    node: ExpiringNode, monkeypatch: pytest.MonkeyPatch
) -> None:
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


async def test_a_hold_of_a_clock_that_was_ahead_ends_once_it_is_back_and_all_nodes_have_agreed(
    node: ExpiringNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "HELD_INTERVAL_SECONDS", 0.02)
    await node.fill({"acme": 3})
    real_time_ns, began = time.time_ns, time.monotonic()
    with monkeypatch.context() as ahead:
        ahead.setattr(time, "time_ns", lambda: real_time_ns() + 14 * DAY_MS * 1_000_000)
        async with node.job():
            hold = await node.wait_for_hold()
            assert hold.reason == v1.ExpiryHold.REASON_CLOCK_AHEAD
            await eventually(lambda: time.monotonic() - began > AGREEMENT_SECONDS, "the nodes agree")
            commits = node.log.commits
            await eventually(lambda: node.log.commits > commits + 3, "the job has looked at the clock")
            assert await node.hold() == hold
            disagreed, other_ms = time.monotonic(), now_ms() + 3 * DAY_MS
            await node.log.commit(Commit([NOTHING], other_ms))  # of a node whose clock is further ahead
            ahead.undo()
            await node.wait_until_released()
            assert time.monotonic() - disagreed >= AGREEMENT_SECONDS
            await node.wait_until_left(0)


@pytest.mark.parametrize(("old", "young"), [({"a": 10}, {"b": 90}), ({"a": 5, "b": 5}, {"a": 10, "c": 80})])
async def test_a_first_expiry_of_a_tenth_of_the_events_of_all_accounts_goes_on(
    node: ExpiringNode, old: Mapping[str, int], young: Mapping[str, int]
) -> None:
    await node.fill(old, age_ms=3 * DAY_MS, retention_ms=2 * DAY_MS)
    await node.fill(young)
    async with node.job(allows_short=False):
        await node.wait_until_left(90)


@pytest.mark.parametrize(("old", "young"), [({"a": 11}, {"b": 89}), ({"a": 5, "b": 6}, {"a": 9, "b": 80})])
async def test_a_first_expiry_of_more_than_a_tenth_of_the_events_of_all_accounts_is_held(
    node: ExpiringNode, old: Mapping[str, int], young: Mapping[str, int]
) -> None:
    await node.fill(old, age_ms=3 * DAY_MS, retention_ms=2 * DAY_MS)
    await node.fill(young)
    async with node.job(allows_short=False):
        hold = await node.wait_for_hold()
    assert hold.reason == v1.ExpiryHold.REASON_LARGE_REMOVAL


async def test_an_expiry_that_is_not_the_first_since_the_start_may_remove_any_number(
    node: ExpiringNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A commit from before the clock moves would look like that of another node.
    monkeypatch.setattr(ControlledLog, "has_other_writers", False)
    monkeypatch.setattr(retention, "INTERVAL_SECONDS", 0.02)
    await node.fill({"a": 1}, age_ms=3 * DAY_MS, retention_ms=2 * DAY_MS)
    await node.fill({"a": 20}, age_ms=40 * HOUR_MS)
    async with node.job(allows_short=False):
        await node.wait_until_left(20)
        real_time_ns = time.time_ns
        monkeypatch.setattr(time, "time_ns", lambda: real_time_ns() + 10 * HOUR_MS * 1_000_000)
        await node.wait_until_left(0)
