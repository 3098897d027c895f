"""Server info about partitions: the only one of a single machine, and some of several."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import timedelta

import grpc
import pytest

from engagement import EngagementClient, v1
from engagement.v1 import server_service_pb2
from engagement_server.api.account_pages import AccountPages
from engagement_server.api.grpc.methods import service_handler
from engagement_server.api.grpc.running import CallLimits, RunningCalls
from engagement_server.api.observers import Observers
from engagement_server.api.server import ServerHandlers, ServerLimits
from engagement_server.model import PartitionState
from engagement_server.node import Server

_LIMITS = ServerLimits(
    identity_required=False,
    heartbeat_interval=timedelta(seconds=15),
    max_stream_age=timedelta(hours=1),
    upload_idle_timeout=timedelta(days=1),
    min_keepalive_interval=timedelta(seconds=10),
    allows_short_retention=False,
    max_metadata_bytes=32 * 1024,
    encrypted=False,
)


@pytest.fixture
def states() -> list[PartitionState]:
    """The partitions of a node, out of eight; tests change them."""
    return [
        PartitionState(number=2, log_epoch="0000000a", view_time_ms=1_700_000_000_123, is_current=True),
        PartitionState(
            number=5, log_epoch="0000000b", view_time_ms=None, is_current=False, damage="a message is missing"
        ),
    ]


@pytest.fixture
async def node(states: list[PartitionState]) -> AsyncIterator[EngagementClient]:
    """A client of that node."""
    server = grpc.aio.server()

    async def stats() -> v1.GetServerStatsResponse:
        return v1.GetServerStatsResponse()

    handlers = ServerHandlers(
        _LIMITS,
        version="1",
        partition_count=8,
        partitions=lambda: states,
        accounts=AccountPages(()),
        expiries={},
        read_stats=stats,
    )
    service = server_service_pb2.DESCRIPTOR.services_by_name["ServerService"]
    running = RunningCalls(view_time_ms=lambda _: None, limits=CallLimits(100, 100, 10, 1 << 20))
    server.add_generic_rpc_handlers(
        [service_handler(service, handlers, running=running, observers=Observers())]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with EngagementClient(f"127.0.0.1:{port}", account_id="acme") as client:
        yield client
    await server.stop(None)


async def test_a_single_machine_has_one_partition_that_is_always_current(server: Server) -> None:
    async with EngagementClient(server.address, account_id="acme") as client:
        asked_ms = time.time_ns() // 1_000_000
        info = await client.get_server_info()
        answered_ms = time.time_ns() // 1_000_000
    (partition,) = info.partitions
    assert info.partition_count == 1
    assert (partition.number, partition.current) == (0, True)
    assert partition.log_epoch == info.log_epoch != ""
    assert asked_ms <= partition.view_time.ToMilliseconds() <= answered_ms


async def test_a_node_tells_each_partition_that_it_carries(node: EngagementClient) -> None:
    info = await node.get_server_info()
    current, new = info.partitions
    assert (info.partition_count, info.log_epoch) == (8, "0000000a")
    assert (current.number, current.log_epoch, current.current) == (2, "0000000a", True)
    assert current.view_time.ToMilliseconds() == 1_700_000_000_123
    assert new == v1.Partition(number=5, log_epoch="0000000b", damage="a message is missing")


async def test_partitions_are_as_they_are_at_the_time_of_the_call(
    node: EngagementClient, states: list[PartitionState]
) -> None:
    before = await node.get_server_info()
    states[:] = [
        PartitionState(number=2, log_epoch="0000000c", view_time_ms=1_700_000_000_123, is_current=False)
    ]
    after = await node.get_server_info()
    assert [each.current for each in before.partitions] == [True, False]
    assert [each.current for each in after.partitions] == [False]
    assert after.log_epoch == "0000000c"
    assert after.limits == before.limits
