"""The replicated log keeps the promises of the port."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import nats
import pytest

from engagement_server.log.jetstream import JetStreamLog
from engagement_server.log.joining import join
from engagement_server.log.nats_stream import NatsSettings
from engagement_server.store.database import DatabaseFile, Identity
from engagement_server.store.readers import Readers
from tests.conformance.commit_log import CommitLogConformance
from tests.nats_cluster import NatsCluster

_SPARE_BYTES = 8_000


class JetStreamNode:
    """A view in a folder, and the log that it follows."""

    def __init__(self, database: DatabaseFile, settings: NatsSettings, identity: Identity | None) -> None:
        self._database = database
        self._settings = settings
        self.log = JetStreamLog(database, settings, identity=identity, max_view_age_seconds=10)
        self.readers = Readers(database, threads=2)

    @classmethod
    async def open(cls, data_dir: Path, settings: NatsSettings) -> JetStreamNode:
        database = DatabaseFile(data_dir, is_view=True)
        return cls(database, settings, await join(settings, database))

    async def close(self) -> None:
        self.readers.close()
        await self.log.close()
        self._database.close()

    async def fill_storage(self) -> None:
        await self._limit_stream(_SPARE_BYTES)

    async def free_storage(self) -> None:
        await self._limit_stream(None)

    async def _limit_stream(self, spare_bytes: int | None) -> None:
        """Lets the stream take so many bytes more, or any number."""
        client = await nats.connect(list(self._settings.servers))
        manager = client.jetstream()
        info = await manager.stream_info(self._settings.name)
        limit = -1 if spare_bytes is None else info.state.bytes + spare_bytes
        await manager.update_stream(replace(info.config, max_bytes=limit))
        await client.close()


class TestJetStreamLog(CommitLogConformance):
    cluster: NatsCluster

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _servers(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
        with NatsCluster(tmp_path_factory.mktemp("nats"), size=1) as cls.cluster:
            yield

    async def open_node(self, data_dir: Path) -> JetStreamNode:
        name = f"log-{zlib.crc32(bytes(data_dir)):08x}"
        settings = NatsSettings(self.cluster.urls, name=name, replicas=1, max_age_seconds=3600)
        return await JetStreamNode.open(data_dir, settings)
