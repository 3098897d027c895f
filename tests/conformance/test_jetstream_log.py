"""The replicated log keeps the promises of the port."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from engagement_server.log.nats.connection import NatsSettings
from tests.conformance.commit_log import CommitLogConformance
from tests.support.nats_cluster import NatsCluster
from tests.support.replicated_node import ReplicatedNode


class TestJetStreamLog(CommitLogConformance):
    cluster: NatsCluster

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _servers(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
        with NatsCluster(tmp_path_factory.mktemp("nats"), size=1) as cls.cluster:
            yield

    async def open_node(self, data_dir: Path) -> ReplicatedNode:
        name = f"log-{zlib.crc32(bytes(data_dir)):08x}"
        settings = NatsSettings(self.cluster.urls, name=name, replicas=1, max_age_seconds=3600)
        return await ReplicatedNode.open(data_dir, settings)
