"""A damaged log on three servers: no two nodes ever answer differently, and the documented steps mend it.

Each test damages a log of its own: one that fails half-way leaves nodes that are killed or refuse.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import nats
import pytest
from nats.js import JetStreamContext

from engagement import EngagementClient, EngagementError
from engagement_server.log.nats import entries, marks
from engagement_server.log.nats.config import LogConfig
from engagement_server.log.nats.opening import stream_settings
from engagement_server.operations import Commit, PutEntities
from tests.support.agreement import agreed, listed, views_agree
from tests.support.document import read_blocks
from tests.support.events import customer_event
from tests.support.nats_cluster import NatsCluster
from tests.support.nats_node import NatsNode
from tests.support.replicated_node import ReplicatedNode
from tests.support.server_cluster import ServerCluster, stream_leader
from tests.support.server_process import ServerProcess, is_serving
from tests.support.waiting import eventually

DOCUMENT = Path(__file__).parents[2] / "docs/cluster.md"
ACCOUNT = "acme"
STREAM = "engagement-0of1"
SUBJECT = "engagement.0.commits"
_FRESH_NODES = 4
"""Each may read from another server, which the stream chooses."""


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[NatsCluster]:
    with NatsCluster(tmp_path / "nats") as running:
        yield running


@pytest.fixture
def nodes(tmp_path: Path, servers: NatsCluster) -> Iterator[ServerCluster]:
    """Three nodes; the last one has two workers."""
    cluster = ServerCluster(tmp_path / "nodes", servers)
    last = cluster.nodes[2]
    cluster.nodes[2] = ServerProcess(
        last.data_dir, last.address, environment=last.environment, options=("--workers", "2")
    )
    with cluster:
        yield cluster


def documented(command: str) -> str:
    """The block of the document with a command."""
    (block,) = [block for block in read_blocks(DOCUMENT) if block.text.startswith(command)]
    return block.text


async def run(text: str, place: Path, variables: Mapping[str, object], *, status: int = 0) -> str:
    """Runs a block as it stands in the document; returns its output."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    process = await asyncio.to_thread(
        subprocess.run,
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=place,
        env={**os.environ, "PATH": path, **{name: str(value) for name, value in variables.items()}},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert process.returncode == status, process.stdout
    return process.stdout


@asynccontextmanager
async def jetstream(servers: NatsCluster) -> AsyncIterator[JetStreamContext]:
    client = await nats.connect(servers.urls)
    yield client.jetstream()
    await client.close()


async def record(node: ServerProcess, *event_ids: str) -> None:
    async with EngagementClient(node.address, account_id=ACCOUNT) as client:
        for event_id in event_ids:
            await client.record_event(customer_event(event_id))


async def last_sequence(servers: NatsCluster) -> int:
    async with jetstream(servers) as js:
        return (await js.stream_info(STREAM)).state.last_seq


async def delete(servers: NatsCluster, sequence: int) -> None:
    async with jetstream(servers) as js:
        await js.delete_msg(STREAM, sequence)


async def refused(node: ServerProcess, sequence: int) -> None:
    """Checks that a node refuses reads and writes, and says before which message it stops."""
    async with EngagementClient(node.address, account_id=ACCOUNT) as client:

        async def does_refuse() -> bool:
            try:
                await listed(client)
            except EngagementError as error:
                return error.reason == "LOG_DAMAGED" and error.metadata["sequence"] == f"{sequence}"
            return False

        await eventually(does_refuse, "reads are refused")
        with pytest.raises(EngagementError) as error:
            await client.record_event(customer_event("refused"))
        assert error.value.reason == "LOG_DAMAGED"
    assert not is_serving(node.address)


async def has_read(node: ReplicatedNode, *, through: int) -> None:
    await eventually(lambda: node.log.position.sequence >= through, "a node has read the log")


def flip_a_bit(server: NatsNode, content: bytes) -> None:
    """Damages the last message with some content in the files of a server that is stopped."""
    (file,) = (server.folder / "store").rglob(f"streams/{STREAM}/msgs/*.blk")
    data = bytearray(file.read_bytes())
    data[data.rindex(content) + len(content) // 2] ^= 1
    file.write_bytes(data)


def stop(server: NatsNode) -> None:
    """Stops a server as a service manager does: it then trusts its files at the next start."""
    server.send(signal.SIGTERM)
    server.wait()


def start(server: NatsNode, servers: NatsCluster) -> None:
    server.launch()
    server.wait_until_listening()
    servers.wait_until_healthy()


async def test_a_flipped_bit_on_one_server_reaches_no_view_and_its_disk_is_filled_again(
    servers: NatsCluster, nodes: ServerCluster, tmp_path: Path
) -> None:

    def has_snapshot() -> bool:
        return any("took the snapshot" in node.messages for node in nodes.nodes)

    await eventually(has_snapshot, "there is a snapshot from before the damage")
    await record(nodes.nodes[0], "flip-0", "flip-1", "flip-2")
    await agreed(nodes.addresses, account_id=ACCOUNT)
    async with jetstream(servers) as js:
        sequence = await last_sequence(servers) - 1
        content = (await js.get_msg(STREAM, sequence)).data
    assert content is not None
    leader = stream_leader(servers)
    damaged = next(server for number, server in enumerate(servers.nodes) if number != leader)
    await asyncio.to_thread(stop, damaged)
    flip_a_bit(damaged, content)
    await asyncio.to_thread(start, damaged, servers)
    await record(nodes.nodes[0], "flip-3")
    log = stream_settings(LogConfig(log=servers.url), partition=0, partition_count=1)
    folders = [tmp_path / f"fresh-{number}" for number in range(_FRESH_NODES)]
    async with contextlib.AsyncExitStack() as opened:
        for folder in folders:
            fresh = await ReplicatedNode.open(folder, log)
            opened.push_async_callback(fresh.close)
            await has_read(fresh, through=await last_sequence(servers))
        # All of them follow the log: a node may commit its time once more.
        await views_agree([*(node.data_dir for node in nodes.nodes), *folders])
    settings = {**nodes.nodes[0].environment, "folder": nodes.nodes[0].data_dir}
    printed = await run(documented("engagement log check"), tmp_path, settings, status=1)
    assert f"message {sequence} is missing on {damaged.name}; others have it" in printed
    await asyncio.to_thread(stop, damaged)
    await run(documented("rm -r"), tmp_path, {"NATS_STORE": damaged.folder / "store"})
    await asyncio.to_thread(start, damaged, servers)
    printed = await run(documented("engagement log check"), tmp_path, settings)
    assert "missing" not in printed


async def test_a_message_that_was_deleted_in_the_middle_is_repaired_from_another_view(
    servers: NatsCluster, nodes: ServerCluster, tmp_path: Path
) -> None:
    first, second, last = nodes.nodes
    await record(first, "middle-0")
    await agreed(nodes.addresses, account_id=ACCOUNT)
    last.kill()
    await record(first, "middle-1", "middle-2")
    async with jetstream(servers) as js:
        await js.publish(SUBJECT, b"of another program")
    await agreed([first.address, second.address], account_id=ACCOUNT)
    sequence = await last_sequence(servers) - 2
    await delete(servers, sequence)
    await asyncio.to_thread(last.start)
    await refused(last, sequence)
    await record(second, "middle-3")
    settings = {**last.environment, "folder": last.data_dir}
    printed = await run(documented("engagement log check"), tmp_path, settings, status=1)
    assert f"message {sequence} is missing on all servers" in printed
    assert f"has applied message {sequence - 1}" in printed
    last.kill()
    await run(documented('engagement backup "$other"'), tmp_path, {**settings, "other": first.data_dir})
    await asyncio.to_thread(nodes.restart, 2)
    assert len(await agreed(nodes.addresses, account_id=ACCOUNT)) >= 4
    await views_agree([node.data_dir for node in nodes.nodes])


async def test_a_last_message_that_no_node_has_applied_is_skipped_by_all(
    servers: NatsCluster, nodes: ServerCluster, tmp_path: Path
) -> None:
    await record(nodes.nodes[0], "end-0")
    before = await agreed(nodes.addresses, account_id=ACCOUNT)
    nodes.kill()
    data = await entries.encode_entry(Commit([PutEntities("lost", 1, ["gold"], None)], 1))
    async with jetstream(servers) as js:
        headers = {"Nats-Msg-Id": "p.1", marks.HEADER: marks.mark("p.1", data)}
        message = (await js.publish(SUBJECT, data, headers=headers)).seq
    await delete(servers, message)
    for node in nodes.nodes:
        await asyncio.to_thread(node.start)
    for node in nodes.nodes:
        await refused(node, message)
    await run(documented("engagement log skip"), tmp_path, {**nodes.nodes[0].environment, "message": message})
    for node in nodes.nodes:
        await asyncio.to_thread(node.wait_until_serving)
    assert await agreed(nodes.addresses, account_id=ACCOUNT) == before
    await record(nodes.nodes[2], "end-1")
    await agreed(nodes.addresses, account_id=ACCOUNT)
    await views_agree([node.data_dir for node in nodes.nodes])
    settings = {**nodes.nodes[0].environment, "folder": nodes.nodes[0].data_dir}
    check = f"{documented('engagement log check').rstrip()} --json"
    (finding,) = json.loads(await run(check, tmp_path, settings))["findings"]
    assert (finding["sequence"], finding["kind"]) == (message, "missing")
    assert (finding["is_everywhere"], finding["is_skipped"]) == (True, True)
