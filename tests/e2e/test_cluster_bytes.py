"""Nothing of an erased person is in the folder of any node, while the nodes run and after they stop."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engagement import EngagementClient, InvalidArgumentError, Uploader, v1
from tests.support.agreement import clients
from tests.support.marked_events import BYSTANDER, files_with, marked_events, planted_event
from tests.support.nats_cluster import NatsCluster
from tests.support.server_cluster import ServerCluster
from tests.support.waiting import eventually

_ACCOUNT = "acme"
_MARKER = "zqmark"
_SUPPRESSED = v1.Outcome.OUTCOME_SUPPRESSED


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[ServerCluster]:
    """Two nodes."""
    with (
        NatsCluster(tmp_path / "nats", size=1) as nats,
        ServerCluster(tmp_path / "nodes", nats, size=2) as running,
    ):
        yield running


def nodes_with(servers: ServerCluster, marker: str) -> list[str]:
    """The nodes that have a file with the marker."""
    return [node.data_dir.name for node in servers.nodes if files_with(node.data_dir, marker)]


async def send_each_way(client: EngagementClient, *, name: str) -> v1.Tally:
    """Sends valid and invalid events of the person in an upload, in batches and in single calls."""
    good = marked_events(12, consumer_id=f"{_MARKER}@example.com", marker=f"{_MARKER}{name}")
    bad = [planted_event(f"{name}-{number}", _MARKER) for number in range(12)]
    await client.record_event(good[0])
    await client.record_events(good[1:4])
    with pytest.raises(InvalidArgumentError):
        await client.record_event(bad[0])
    with pytest.raises(InvalidArgumentError):
        await client.record_events([good[4], bad[1]])
    await client.record_events([good[5], bad[2]], allow_partial=True)
    return (await Uploader(client, upload_id=name).upload([*good[6:], *bad])).tally


async def test_no_byte_of_a_person_is_left_at_any_node(servers: ServerCluster) -> None:
    async with clients(*servers.addresses, account_id=_ACCOUNT) as (first, second):
        await first.record_events(marked_events(12, consumer_id=BYSTANDER, marker="xkept"))
        for client, name in ((first, "one"), (second, "two")):
            assert await send_each_way(client, name=name) == v1.Tally(accepted=6, rejected=12)

        async def is_everywhere() -> bool:
            return len(nodes_with(servers, _MARKER)) == len(servers.nodes)

        await eventually(is_everywhere, "both nodes have the events")
        erasure = await second.erase_consumer(
            consumer_id=f"{_MARKER}@example.com", customer_id=f"{_MARKER}-customer", suppress=True
        )
        assert (erasure.erased_events, erasure.cleared_rejections) == (2 * 11, 2 * 12)
        assert nodes_with(servers, _MARKER) in ([], [servers.nodes[0].data_dir.name])

        async def is_gone() -> bool:
            return nodes_with(servers, _MARKER) == []

        await eventually(is_gone, "no byte is left while the nodes run")
        for client, name in ((first, "three"), (second, "four")):
            assert (await send_each_way(client, name=name)).suppressed == 18
            await eventually(is_gone, "suppressed events leave no byte")
    for node in servers.nodes:
        node.stop()
    assert nodes_with(servers, _MARKER) == []
    assert len(nodes_with(servers, "xkept")) == len(servers.nodes)
