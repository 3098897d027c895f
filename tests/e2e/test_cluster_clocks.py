"""Several nodes, one with a wrong clock or a retention of its own: nothing is removed, and all agree."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from engagement import EngagementClient, v1
from tests.support.agreement import views_agree
from tests.support.cli_process import Cli
from tests.support.connection import ACCOUNT
from tests.support.events import customer_event, customer_events
from tests.support.nats_cluster import NatsCluster
from tests.support.server_cluster import ServerCluster
from tests.support.server_process import ServerProcess
from tests.support.shifted_clock import ShiftedClock
from tests.support.waiting import eventually

MOMENT = timedelta(seconds=1)
HOUR = timedelta(hours=1)
TWO_YEARS = timedelta(days=730)


class Cluster(NamedTuple):
    """Nodes over one log; the clock of the last can be shifted."""

    nodes: list[ServerProcess]
    clock: ShiftedClock


@contextmanager
def a_cluster(folder: Path, *, size: int = 3, workers: int = 1) -> Iterator[Cluster]:
    clock = ShiftedClock(folder / "shift")
    settings = {"ENGAGEMENT_WORKERS": str(workers)}
    with (
        NatsCluster(folder / "nats", size=1) as nats,
        ServerCluster(folder / "nodes", nats, size=size, environment=settings) as servers,
    ):
        servers.nodes[-1].environment.update(clock.environment)
        yield Cluster(servers.nodes, clock)


def start(node: ServerProcess) -> None:
    node.start()
    node.wait_until_serving()


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


async def record(node: ServerProcess, event_id: str) -> None:
    async with a_client(node) as client:
        await client.record_event(customer_event(event_id, balance=event_id))


async def followed_ids(node: ServerProcess, start_time: datetime) -> list[str]:
    async with a_client(node) as client:
        follower = client.follow(start_time=start_time, stop_at_tail=True)
        return [stored.event.event_id async for stored in follower]


async def profile(node: ServerProcess) -> v1.Profile:
    async with a_client(node) as client:
        return await client.get_profile(consumer_id="ada")


async def wait_for_hold(cluster: Cluster) -> None:
    """Waits until all nodes hold expiry."""
    ahead = v1.ExpiryHold.REASON_CLOCK_AHEAD

    async def is_held() -> bool:
        return [await hold_reason(node) for node in cluster.nodes] == [ahead] * len(cluster.nodes)

    await eventually(is_held, "all nodes hold expiry")


@pytest.mark.parametrize(("size", "workers"), [(3, 1), (2, 2)])
async def test_a_clock_that_is_wrong_at_one_node_for_two_starts_leaves_all_nodes_the_same(
    tmp_path: Path, size: int, workers: int
) -> None:
    with a_cluster(tmp_path, size=size, workers=workers) as cluster:
        first, wrong = cluster.nodes[0], cluster.nodes[-1]
        ids = [event.event_id for event in customer_events(50)]
        async with a_client(first) as client:
            await client.record_events(customer_events(50))
        wrong.kill()
        right_time = datetime.now(UTC)
        cluster.clock.shift(TWO_YEARS)
        for name in ("first", "second"):
            ids += [f"right-{name}", f"ahead-{name}"]
            await record(first, f"right-{name}")
            start(wrong)  # behind the log
            await record(wrong, f"ahead-{name}")
            await wait_for_hold(cluster)
            wrong.kill()
        cluster.clock.shift(timedelta())
        start(wrong)
        await record(wrong, "back")
        ids.append("back")
        for node in cluster.nodes:
            await wait_until_stored(node, ids)
            assert await followed_ids(node, right_time - HOUR) == ids
            assert await followed_ids(node, right_time) == ids[50:]
            assert await followed_ids(node, right_time + TWO_YEARS / 2) == ids[51:]
            assert await followed_ids(node, right_time + 2 * TWO_YEARS) == []
            assert (await profile(node)).customer_info.balance == "back"
        profiles = [(await profile(node)).SerializeToString(deterministic=True) for node in cluster.nodes]
        assert len(set(profiles)) == 1
        released = Cli(tmp_path, server=first.address).run_process("expiry", "release", "--yes")
        assert released.stdout.startswith("Expiry goes on. Removed now: 0 of 55 events"), released.stderr

        async def is_released() -> bool:
            return not any([await hold_reason(node) for node in cluster.nodes])

        await eventually(is_released, "the hold has ended on all nodes")
        await views_agree([node.data_dir for node in cluster.nodes])
        for node in cluster.nodes:
            assert " ERROR engagement_server" not in node.messages  # workers name themselves before


@pytest.mark.parametrize(("size", "workers"), [(3, 1), (2, 2)])
async def test_a_node_that_wants_a_short_retention_is_refused_and_removes_nothing(
    tmp_path: Path, size: int, workers: int
) -> None:
    with a_cluster(tmp_path, size=size, workers=workers) as cluster:
        async with a_client(cluster.nodes[0]) as client:
            await client.record_events(customer_events(50))
        recorded_time = datetime.now(UTC)
        settings = {**cluster.nodes[0].environment, "ENGAGEMENT_ALLOW_SHORT_RETENTION": "1"}
        options = ("--retention-days", f"{MOMENT / timedelta(days=1)}")
        with ServerProcess(tmp_path / "nodes/short", environment=settings, options=options) as short:
            await eventually(lambda: datetime.now(UTC) > recorded_time + MOMENT, "the events are older")
            short.launch()
            assert short.wait() == 2
        assert "keeps events for 396 days, and --retention-days asks for 1 second" in short.messages
        for node in cluster.nodes:
            assert await stored_ids(node) == [event.event_id for event in customer_events(50)]
            async with a_client(node) as client:
                (partition,) = (await client.get_server_info()).partitions
            assert partition.expired_events == 0
            assert partition.retention.ToTimedelta() == timedelta(days=396)
        await views_agree([node.data_dir for node in cluster.nodes])


async def wait_until_stored(node: ServerProcess, ids: list[str]) -> None:
    async def has_all() -> bool:
        return await stored_ids(node) == ids

    await eventually(has_all, "a node has all events")
