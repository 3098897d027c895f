"""The Prometheus metrics of a log."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import REGISTRY

from engagement_server.log.nats.connection import NatsSettings
from tests.support.events import customer_event
from tests.support.nats_cluster import NatsCluster
from tests.support.replicated_node import ReplicatedNode
from tests.support.waiting import DEADLINE_SECONDS, eventually


async def test_a_log_is_measured_while_it_is_open(tmp_path: Path) -> None:
    with NatsCluster(tmp_path / "nats", size=1) as nats:
        settings = NatsSettings(nats.urls, name="measured", replicas=1, max_age_seconds=3600)
        node = await ReplicatedNode.open(tmp_path / "node", settings)
        await node.record(customer_event())
        await eventually(lambda: 0 <= value("snapshot_age_seconds") < DEADLINE_SECONDS, "a snapshot is taken")
        assert value("publish_seconds_count") == 1
        assert 0 < value("publish_seconds_sum") < DEADLINE_SECONDS
        assert value("apply_lag_messages") == 0
        assert 0 <= value("view_age_seconds") < DEADLINE_SECONDS
        await node.close()
    assert "measured" not in {
        label
        for metric in REGISTRY.collect()
        for sample in metric.samples
        for label in sample.labels.values()
    }


def value(name: str) -> float:
    """The value of a metric of the log."""
    found = REGISTRY.get_sample_value(f"engagement_log_{name}", {"log": "measured"})
    return -1.0 if found is None else found
