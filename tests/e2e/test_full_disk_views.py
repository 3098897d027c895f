"""A node whose disk is full applies what others accept, from its reserve, and refuses writes of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from engagement import EngagementClient, v1
from tests.support.connection import ACCOUNT, connect
from tests.support.events import customer_event, noise
from tests.support.nats_cluster import NatsCluster
from tests.support.refused_call import expect_refused
from tests.support.server_process import ServerProcess
from tests.support.small_disk import SmallDiskServer, small_disk
from tests.support.waiting import eventually

_DISK_BYTES = 64 << 20
_RESERVE_MEGABYTES = 40


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of nodes of one log."""
    with NatsCluster(tmp_path / "nats", size=1) as nats:
        yield {"ENGAGEMENT_LOG": nats.url, "ENGAGEMENT_LOG_REPLICAS": "1"}


@pytest.fixture
def roomy(tmp_path: Path, settings: dict[str, str]) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path / "roomy", environment=settings).start() as server:
        yield server


@pytest.fixture
def small(tmp_path: Path, settings: dict[str, str], roomy: ServerProcess) -> Iterator[SmallDiskServer]:
    """A node of the same log on a small disk."""
    options = ("--reserve-megabytes", str(_RESERVE_MEGABYTES))
    process = SmallDiskServer(tmp_path / "small", environment=settings, options=options)
    with small_disk(process, size_bytes=_DISK_BYTES):
        yield process.start()


def large_events(start: int) -> list[v1.Event]:
    """A megabyte of events."""
    return [
        customer_event(f"event-{number:06}", user_name=noise(40_000, seed=str(number)))
        for number in range(start, start + 25)
    ]


async def stored_ids(client: EngagementClient) -> list[str]:
    return [stored.event.event_id async for stored in client.list_events(read_mask=["event.event_id"])]


async def test_a_node_with_a_full_disk_keeps_up_from_its_reserve_and_recovers_by_an_erasure(
    roomy: ServerProcess, small: SmallDiskServer
) -> None:
    accepted: list[str] = []
    async with (
        connect(roomy.address) as other,
        connect(small.address) as connection,
        EngagementClient(small.address, account_id=ACCOUNT) as client,
    ):

        async def keeps_up() -> bool:
            return await stored_ids(client) == accepted

        while "gave up the reserve" not in small.messages:
            assert len(accepted) < 1000
            events = large_events(len(accepted))
            await other.record_batch(events)
            accepted += [event.event_id for event in events]
            await eventually(keeps_up, "the small node has what the other has accepted")
        refused = await expect_refused(connection.record(customer_event("refused")))
        assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
        assert refused.metadata["cause"] == "disk full"
        await other.record(customer_event("accepted"))
        accepted.append("accepted")
        await eventually(keeps_up, "the small node applies an event from its reserve")
        await client.erase_consumer(consumer_id="ada")

        async def takes_events() -> bool:
            try:
                await connection.record(customer_event("again"))
            except grpc.aio.AioRpcError:
                return False
            return True

        await eventually(takes_events, "the small node takes events again")
        assert await stored_ids(client) == ["again"]
    assert "there is room again" in small.messages
