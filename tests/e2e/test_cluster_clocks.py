"""Several nodes, one with a wrong clock or with a retention of its own: nothing is removed on any of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from engagement import EngagementClient, v1
from tests.support.cli_process import Cli
from tests.support.connection import ACCOUNT
from tests.support.events import customer_event, customer_events
from tests.support.nats_cluster import NatsCluster
from tests.support.server_cluster import ServerCluster
from tests.support.server_process import ServerProcess
from tests.support.shifted_clock import ShiftedClock
from tests.support.view_rows import view_rows
from tests.support.waiting import eventually

TWO_YEARS = timedelta(days=730)


class Cluster(NamedTuple):
    """Three nodes; the clock of the last can be shifted."""

    nodes: list[ServerProcess]
    clock: ShiftedClock
    fourth: ServerProcess
    """A node that a test may start."""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    clock = ShiftedClock(tmp_path / "shift")
    with NatsCluster(tmp_path / "nats", size=1) as nats, ServerCluster(tmp_path / "nodes", nats) as servers:
        servers.nodes[2].environment.update(clock.environment)
        settings = servers.nodes[0].environment
        with ServerProcess(
            tmp_path / "nodes/fourth", environment=settings, options=("--retention-days", "0.001")
        ) as fourth:
            yield Cluster(servers.nodes, clock, fourth)


@asynccontextmanager
async def a_client(node: ServerProcess) -> AsyncIterator[EngagementClient]:
    async with EngagementClient(node.address, account_id=ACCOUNT) as client:
        yield client


async def hold_reason(node: ServerProcess) -> v1.ExpiryHold.Reason:
    async with a_client(node) as client:
        (partition,) = (await client.get_server_info()).partitions
    return partition.expiry_hold.reason


async def stored_ids(node: ServerProcess) -> list[str]:
    async with a_client(node) as client:
        return [stored.event.event_id async for stored in client.list_events()]


async def test_a_node_with_a_wrong_clock_or_another_retention_removes_nothing(cluster: Cluster) -> None:
    first, _, wrong = cluster.nodes
    async with a_client(first) as client:
        await client.record_events(customer_events(50))
    wrong.kill()
    cluster.clock.shift(TWO_YEARS)
    wrong.start()
    wrong.wait_until_serving()
    async with a_client(wrong) as client:
        await client.record_event(customer_event("ahead", balance="ahead"))
    async with a_client(first) as client:
        await client.record_event(customer_event("right", balance="right"))
        assert (await client.get_profile(consumer_id="ada")).customer_info.balance == "right"
    ids = [*(event.event_id for event in customer_events(50)), "ahead", "right"]
    for node in cluster.nodes:

        async def has_all(node: ServerProcess = node) -> bool:
            is_held = await hold_reason(node) == v1.ExpiryHold.REASON_CLOCK_AHEAD
            return is_held and await stored_ids(node) == ids

        await eventually(has_all, "a node has all events and holds expiry")

    wrong.kill()
    cluster.clock.shift(timedelta())
    wrong.start()
    wrong.wait_until_serving()
    released = Cli(first.data_dir.parent, server=first.address).run_process("expiry", "release", "--yes")
    assert released.stdout.startswith("Expiry goes on. Removed now: 0 of 52 events"), released.stderr

    async def is_released() -> bool:
        return not any([await hold_reason(node) for node in cluster.nodes])

    await eventually(is_released, "the hold has ended on all nodes")
    await eventually(lambda: views_are_equal(cluster), "the views are equal")

    cluster.fourth.environment["ENGAGEMENT_ALLOW_SHORT_RETENTION"] = "1"
    cluster.fourth.launch()
    assert cluster.fourth.wait() == 2
    assert "keeps events for 396 days, and retention_days asks for 1.44 minutes" in cluster.fourth.messages
    for node in cluster.nodes:
        assert await stored_ids(node) == ids


def views_are_equal(cluster: Cluster) -> bool:
    first, *others = (view_rows(node.data_dir) for node in cluster.nodes)
    return all(other == first for other in others)
