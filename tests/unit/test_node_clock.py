"""The clock of a node is compared with its own course and with commits of other nodes."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engagement import v1
from engagement_server.clock import now_ms
from engagement_server.jobs.node_clock import NodeClock
from engagement_server.log.local import LocalLog
from engagement_server.operations import Commit, ExpireUploads, HoldExpiry, ReleaseExpiry
from engagement_server.store.database import DatabaseFile
from tests.support.waiting import eventually

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
NOTHING = ExpireUploads(0)


class SharedLog(LocalLog):
    """A log to which the test commits as other nodes do."""

    has_other_writers = True


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[SharedLog]:
    database = DatabaseFile(tmp_path / "data")
    opened = SharedLog(database)
    yield opened
    await opened.close()
    database.close()


async def test_a_commit_with_another_time_is_a_fault_until_all_have_agreed_for_a_while(
    log: SharedLog,
) -> None:
    clock = NodeClock(log, agreement_seconds=0.3)
    await log.commit(Commit([NOTHING], now_ms() - HOUR_MS // 2))
    assert clock.fault() is None
    other_ms = now_ms() + 3 * DAY_MS
    await log.commit(Commit([NOTHING], other_ms))
    fault = clock.fault()
    assert fault is not None
    assert (fault.reason, fault.commit_ms) == (v1.ExpiryHold.REASON_CLOCKS_DISAGREE, other_ms)
    assert not clock.agrees
    await eventually(lambda: clock.agrees, "the clocks agree")
    assert clock.fault() is None


async def test_a_clock_whose_log_has_no_other_writers_agrees_with_itself(log: SharedLog) -> None:
    assert not NodeClock(log).agrees
    log.has_other_writers = False
    assert NodeClock(log).agrees


async def test_a_release_ends_the_fault(log: SharedLog) -> None:
    clock = NodeClock(log)
    await log.commit(Commit([HoldExpiry(v1.ExpiryHold.REASON_CLOCKS_DISAGREE, 1, 2)], now_ms() + 3 * DAY_MS))
    assert clock.fault() is not None
    await log.commit(Commit([ReleaseExpiry(1)], now_ms()))
    assert clock.fault() is None


async def test_a_clock_that_gains_a_day_while_it_runs_has_jumped(
    log: SharedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = NodeClock(log)
    assert clock.fault() is None
    real_time_ns, before_ms = time.time_ns, now_ms()
    monkeypatch.setattr(time, "time_ns", lambda: real_time_ns() + 25 * HOUR_MS * 1_000_000)
    fault = clock.fault()
    assert fault is not None
    assert fault.reason == v1.ExpiryHold.REASON_CLOCK_AHEAD
    assert before_ms <= fault.commit_ms < before_ms + HOUR_MS < fault.clock_ms
    assert clock.fault() == fault  # until it is committed
    await log.commit(Commit([fault], now_ms()))
    assert clock.fault() is None
