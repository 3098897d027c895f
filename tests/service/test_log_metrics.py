"""The metrics of a log."""

from __future__ import annotations

from pathlib import Path

from engagement_server.log.nats.connection import NatsSettings
from engagement_server.metrics.exposition import Exposition
from tests.support.events import customer_event
from tests.support.management import Sample, samples
from tests.support.nats_cluster import NatsCluster
from tests.support.replicated_node import ReplicatedNode
from tests.support.waiting import DEADLINE_SECONDS, eventually


async def test_a_log_is_measured(tmp_path: Path) -> None:
    with NatsCluster(tmp_path / "nats", size=1) as nats:
        settings = NatsSettings(nats.urls, name="measured", replicas=1, max_age_seconds=3600)
        node = await ReplicatedNode.open(tmp_path / "node", settings)
        assert value(await scrape(node), "publish_seconds_count") == 0
        assert value(await scrape(node), "foreign_messages_total") == 0
        await node.record(customer_event())

        async def has_snapshot() -> bool:
            return 0 <= value(await scrape(node), "snapshot_age_seconds") < DEADLINE_SECONDS

        await eventually(has_snapshot, "a snapshot is taken")
        found = await scrape(node)
        assert value(found, "publish_seconds_count") == 1
        assert 0 < value(found, "publish_seconds_sum") < DEADLINE_SECONDS
        assert value(found, "apply_lag_messages") == 0
        assert 0 <= value(found, "view_age_seconds") < DEADLINE_SECONDS
        assert value(found, "damaged") == 0
        await node.close()


async def scrape(node: ReplicatedNode) -> dict[Sample, float]:
    return samples((await Exposition(node.measures).render("")).content.decode())


def value(found: dict[Sample, float], name: str) -> float:
    """The value of a metric of the log."""
    return found[f"engagement_log_{name}", (("log", "measured"),)]
