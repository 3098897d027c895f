"""The test cluster itself: it survives kills, and its cuts are real."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import nats
import nats.errors
import pytest
from nats.js import JetStreamContext
from nats.js.api import StreamConfig

from tests.support.nats_cluster import NatsCluster
from tests.support.nats_node import NatsNode
from tests.support.waiting import deadline, eventually

SHORT_SECONDS = 0.5
SUBJECT = "numbers"


@asynccontextmanager
async def jetstream(*urls: str) -> AsyncIterator[JetStreamContext]:
    client = await nats.connect(list(urls), max_reconnect_attempts=-1, reconnect_time_wait=0.05)
    yield client.jetstream()
    await client.close()


async def add_stream(cluster: NatsCluster) -> NatsNode:
    """Adds the stream; returns its leader."""
    async with jetstream(*cluster.urls) as context:
        config = StreamConfig(name="numbers", subjects=[SUBJECT], num_replicas=len(cluster.nodes))
        info = await context.add_stream(config)
        # A single server reports no cluster.
        return cluster.node(info.cluster.leader) if info.cluster and info.cluster.leader else cluster.nodes[0]


def follower_number(cluster: NatsCluster, leader: NatsNode) -> int:
    """A server that leads nothing, so that the others need no election."""
    leaders = {leader.name, leader.monitor("/jsz")["meta_cluster"]["leader"]}
    return next(n for n, node in enumerate(cluster.nodes) if node.name not in leaders)


async def publish(context: JetStreamContext, number: int) -> None:
    """Publishes until it is acknowledged; its id prevents duplicates."""

    async def is_acknowledged() -> bool:
        try:
            await context.publish(SUBJECT, b"%d" % number, timeout=1, headers={"Nats-Msg-Id": f"{number}"})
        except nats.errors.Error:
            return False
        return True

    await eventually(is_acknowledged, f"{number} is acknowledged")


async def count(context: JetStreamContext) -> int:
    async with deadline("the stream was described"):
        return (await context.stream_info("numbers")).state.messages


@pytest.fixture
def cuttable(tmp_path: Path) -> Iterator[NatsCluster]:
    with NatsCluster(tmp_path / "nats", cuttable=True) as cluster:
        yield cluster


async def test_what_was_killed_as_a_whole_goes_on_with_its_files(tmp_path: Path) -> None:
    # One server, because three need seconds to elect a leader again.
    with NatsCluster(tmp_path / "nats", size=1) as cluster:
        await add_stream(cluster)
        async with jetstream(*cluster.urls) as context:
            await publish(context, 1)
            cluster.kill()
            cluster.start()
            await publish(context, 2)
            assert await count(context) == 2


@pytest.mark.parametrize("silently", [False, True])
async def test_a_server_that_is_cut_off_acknowledges_nothing_until_it_is_healed(
    cuttable: NatsCluster, silently: bool
) -> None:
    leader = await add_stream(cuttable)
    number = follower_number(cuttable, leader)
    follower = cuttable.nodes[number]
    async with jetstream(follower.url) as cut_off, jetstream(leader.url) as context:
        await publish(cut_off, 1)
        cuttable.cut(number, silently=silently)
        if not silently:
            await eventually(lambda: not follower.neighbours, "it has no neighbours")
        with pytest.raises(nats.errors.Error):
            await cut_off.publish(SUBJECT, b"2", timeout=SHORT_SECONDS, headers={"Nats-Msg-Id": "2"})
        await publish(context, 3)
        assert not silently or follower.neighbours
        cuttable.heal(number)
        cuttable.wait_until_healthy()
        await publish(cut_off, 2)
        await publish(cut_off, 4)
        assert await count(context) == 4


async def test_a_frozen_server_keeps_its_connections_and_is_not_needed(tmp_path: Path) -> None:
    with NatsCluster(tmp_path / "nats") as cluster:
        leader = await add_stream(cluster)
        follower = cluster.nodes[follower_number(cluster, leader)]
        follower.pause()
        async with jetstream(leader.url) as context:
            await publish(context, 1)
            assert follower.name in leader.neighbours
            follower.resume()
            cluster.wait_until_healthy()
            assert await count(context) == 1
