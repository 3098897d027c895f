"""Health has a name for each part of a server, and a bound on who watches it."""

from __future__ import annotations

from contextlib import AsyncExitStack

import grpc
import pytest
from grpc_health.v1 import health_pb2

from engagement_server.api.grpc.health import MAX_WATCHES
from engagement_server.node import Server
from tests.support.health import statuses, watch
from tests.support.waiting import deadline

_SERVICES = ("Entity", "Event", "Ingest", "Privacy", "Server")


async def test_all_parts_of_a_server_have_names(server: Server) -> None:
    async with grpc.aio.insecure_channel(server.address) as channel:
        names = {"", "expiry", "partition/0", *(f"engagement.v1.{name}Service" for name in _SERVICES)}
        assert await statuses(channel) == dict.fromkeys(names, "SERVING")


async def _open_watches(channel: grpc.aio.Channel) -> None:
    """Opens as many as there may be, all of which stay open. Raises AioRpcError once one is refused."""
    watches = [watch(channel) for _ in range(MAX_WATCHES)]
    for each in watches:
        await each.read()


async def test_one_connection_cannot_take_all_watches(server: Server) -> None:
    async with AsyncExitStack() as stack:
        greedy, other = [
            await stack.enter_async_context(
                grpc.aio.insecure_channel(server.address, options=[("grpc.use_local_subchannel_pool", 1)])
            )
            for _ in range(2)
        ]
        async with deadline("a watch was refused"):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await _open_watches(greedy)
        assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "watches" in str(refused.value.details())
        response = await watch(other, "partition/0").read()
        assert isinstance(response, health_pb2.HealthCheckResponse)
        assert response.status == health_pb2.HealthCheckResponse.SERVING
