"""GetServerStats of a replicated log: which nodes commit, and how far this one is behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from engagement import EngagementClient, v1
from engagement_server.config import Config
from engagement_server.log.nats.config import LogConfig
from engagement_server.node import Server
from engagement_server.stats import server_stats
from tests.support.events import customer_event
from tests.support.nats_cluster import NatsCluster
from tests.support.waiting import eventually

HERE, ELSEWHERE = "brand-1", "brand-4"
"""Accounts of the partitions 0 and 1 of two."""


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples come soon."""
    monkeypatch.setattr(server_stats, "SAMPLE_SECONDS", 0.05)


async def start(cluster: NatsCluster, folder: Path, log_name: str) -> Server:
    config = Config(listen="127.0.0.1:0", data=folder, partitions="0,1/2")
    return await Server.start(config, LogConfig(log=cluster.url, log_name=log_name, log_replicas=1))


def own_ids(stats: v1.GetServerStatsResponse) -> list[str]:
    return [node.node_id for node in stats.nodes if node.self]


async def test_each_node_tells_of_all_and_has_one_id_in_all_partitions(
    cluster: NatsCluster, tmp_path: Path
) -> None:
    one, other = [await start(cluster, tmp_path / name, "stats-nodes") for name in ("one", "other")]
    for server, account_id in ((one, HERE), (other, ELSEWHERE)):
        async with EngagementClient(server.address, account_id=account_id) as client:
            await client.record_event(customer_event("a"))

    def agree() -> bool:
        ids = [{node.node_id for node in server.stats.nodes} for server in (one, other)]
        return ids[0] == ids[1] and len(ids[0]) == 2

    await eventually(agree, "both nodes tell of both")
    found = [own_ids(server.stats) for server in (one, other)]
    assert [len(ids) for ids in found] == [1, 1]
    assert found[0] != found[1]
    for server in (one, other):
        partitions = server.stats.partitions
        assert [partition.number for partition in partitions] == [0, 1]
        assert all(partition.current for partition in partitions)
        assert all(partition.HasField("view_age") for partition in partitions)
        assert all(node.last_commit_time.seconds for node in server.stats.nodes)

    def has_both(server: Server) -> bool:
        return [partition.stored_events for partition in server.stats.partitions] == [1, 1]

    await eventually(lambda: has_both(one) and has_both(other), "both nodes have the events of both")
    await other.stop()
    again = await start(cluster, tmp_path / "other", "stats-nodes")
    await eventually(lambda: bool(own_ids(again.stats)), "the node that starts again has committed")
    assert own_ids(again.stats) not in found
    await again.stop()
    await one.stop()


async def test_a_node_without_its_log_says_so_and_its_view_ages(tmp_path: Path) -> None:
    with NatsCluster(tmp_path / "nats", size=1) as nats:
        config = Config(listen="127.0.0.1:0", data=tmp_path / "data")
        log = LogConfig(log=nats.url, log_name="lost", log_replicas=1, max_view_age_seconds=1)
        server = await Server.start(config, log)
        await eventually(lambda: server.stats.partitions[0].current, "the node is current")
        nats.kill()
        await eventually(lambda: not server.stats.partitions[0].current, "the node is cut off")
        (partition,) = server.stats.partitions
        assert partition.view_age.ToMilliseconds() > 1_000
        problems = {check.name: check.problem for check in server.stats.checks}
        assert problems["log of partition 0"] == "behind, or cut off"
        await server.stop()
