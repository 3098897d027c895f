"""Health names the service whose background job keeps failing; the others go on."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from engagement import EngagementClient
from engagement_server.config import Config
from engagement_server.node import Server
from engagement_server.workers.parent import Parent
from tests.support.events import customer_event
from tests.support.store_file import damage_root
from tests.support.waiting import eventually

SERVING = health_pb2.HealthCheckResponse.SERVING
_OWN_CONNECTION = [("grpc.use_local_subchannel_pool", 1)]


class Health:
    """The health of a server, or of one worker."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub: Any = health_pb2_grpc.HealthStub(channel)  # Any: the stubs describe synchronous calls

    async def is_serving(self, service: str) -> bool:
        request = health_pb2.HealthCheckRequest(service=service)
        return bool((await self._stub.Check(request)).status == SERVING)

    async def services(self) -> dict[str, bool]:
        request = health_pb2.HealthListRequest()  # type: ignore[attr-defined]  # the stubs are older
        listed = (await self._stub.List(request)).statuses
        return {name: response.status == SERVING for name, response in listed.items()}

    async def has_stalled(self) -> bool:
        return not await self.is_serving("engagement.v1.PrivacyService")


@asynccontextmanager
async def connected(address: str) -> AsyncIterator[Health]:
    """Health over a connection of its own."""
    async with grpc.aio.insecure_channel(address, options=_OWN_CONNECTION) as channel:
        yield Health(channel)


@pytest.mark.skipif(sys.platform != "linux", reason="workers share a port")
async def test_each_worker_names_the_service_whose_job_stalls_in_their_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Config(listen="127.0.0.1:0", data=tmp_path / "data")
    await (await Server.start(config)).stop()
    damage_root(tmp_path / "data", "erasures_running")
    monkeypatch.setattr("engagement_server.supervision.MIN_RESTART_SECONDS", 0.001)
    parent = await Parent.start(config, None, worker_count=2)
    try:
        for _ in range(8):  # the system spreads connections over the workers
            async with connected(parent.address) as health:
                await eventually(health.has_stalled, "health says that erasures are not resumed")
                assert await health.is_serving("engagement.v1.IngestService")
    finally:
        await parent.stop()


async def test_rows_that_cannot_be_read_stall_erasures_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Config(listen="127.0.0.1:0", data=tmp_path / "data")
    await (await Server.start(config)).stop()
    damage_root(tmp_path / "data", "erasures_running")
    monkeypatch.setattr("engagement_server.supervision.MIN_RESTART_SECONDS", 0.001)
    server = await Server.start(config)
    async with (
        connected(server.address) as health,
        EngagementClient(server.address, account_id="acme") as client,
    ):
        await eventually(health.has_stalled, "health says that erasures are not resumed")
        for service in ("", "engagement.v1.IngestService", "engagement.v1.EventService", "expiry"):
            assert await health.is_serving(service), service
        services = await health.services()
        assert [name for name, is_serving in services.items() if not is_serving] == [
            "engagement.v1.PrivacyService"
        ]
        assert {"", "expiry", "engagement.v1.EventService"} < services.keys()
        await client.record_event(customer_event())
    await server.stop()
