"""A node compares its clock with those of others, but not with what they committed while it was away."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from engagement_server.clock import now_ms
from engagement_server.jobs.node_clock import NodeClock
from engagement_server.log.nats.opening import bootstrap
from engagement_server.operations import ExpireUploads
from tests.support.full_disk import BoundedDatabaseFile
from tests.support.nats_cluster import NatsCluster
from tests.support.replicated_log import ReplicatedLog
from tests.support.replicated_node import ReplicatedNode
from tests.support.waiting import eventually

HOUR_MS = 3_600_000
NOTHING = ExpireUploads(0)


@pytest.fixture
async def log(tmp_path: Path, cluster: NatsCluster) -> AsyncIterator[ReplicatedLog]:
    async with ReplicatedLog.opened(tmp_path, cluster) as opened:
        yield opened


async def test_commits_of_hours_ago_that_a_node_applies_when_it_is_back_are_no_disagreement(
    log: ReplicatedLog,
) -> None:
    first = await log.open("first")
    for hours in range(20, 0, -1):
        await first.commit(NOTHING, time_ms=now_ms() - hours * HOUR_MS)
    await first.commit(NOTHING, time_ms=now_ms())
    async with AsyncExitStack() as stack:
        database = BoundedDatabaseFile(log.folder / "back", is_view=True)
        node = ReplicatedNode(database, log.settings, await bootstrap(log.settings, database))
        stack.push_async_callback(node.close)
        clock = NodeClock(node.log)
        await eventually(lambda: node.log.is_current, "the view is current")
        await node.catch_up_with(first)
        assert clock.fault() is None

        await first.commit(NOTHING, time_ms=now_ms() - 2 * HOUR_MS)
        await eventually(lambda: clock.fault() is not None, "the clocks disagree")
