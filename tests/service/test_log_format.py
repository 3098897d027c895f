"""A log of another format is refused in one sentence, and left as it is."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import msgspec
import nats
import pytest
from nats.js import JetStreamContext
from nats.js.api import StreamConfig

from engagement_server.config import Config
from engagement_server.errors import UnreadableCommitError
from engagement_server.log.nats import entries
from engagement_server.log.nats.config import LogConfig
from engagement_server.log.nats.connection import NatsSettings
from engagement_server.log.nats.marks import FORMAT, HEADER, MAGIC, mark
from engagement_server.node import Server
from engagement_server.operations import RULES
from tests.support.events import customer_event
from tests.support.full_disk import BoundedDatabaseFile
from tests.support.nats_cluster import NatsCluster
from tests.support.replicated_node import ReplicatedNode
from tests.support.waiting import DEADLINE_SECONDS

_FOUNDING = msgspec.msgpack.encode([[1, b"k" * 32, b"s" * 32], False])
OLDER = b"F" + _FOUNDING
"""The first entry of a log of format 1, which had no marks."""
NEWER = MAGIC + bytes([FORMAT + 1]) + b"?a layout to come"
_FOUND = {OLDER: "1", NEWER: str(FORMAT + 1)}
_REFUSAL = f"the log has format {{}}, but this server has format {FORMAT}: run the version that wrote the log"
other_formats = pytest.mark.parametrize("entry", _FOUND, ids=["older", "newer"])
_names = (f"log-{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsCluster]:
    with NatsCluster(tmp_path_factory.mktemp("nats"), size=1) as running:
        yield running


@pytest.fixture
async def js(cluster: NatsCluster) -> AsyncIterator[JetStreamContext]:
    client = await nats.connect(cluster.url)
    yield client.jetstream()
    await client.close()


@pytest.fixture
def log(cluster: NatsCluster) -> NatsSettings:
    return NatsSettings(cluster.urls, name=next(_names), replicas=1, max_age_seconds=3600)


async def create(js: JetStreamContext, log: NatsSettings, *messages: bytes, ids: Sequence[str] = ()) -> None:
    """Creates the stream of a log with these entries."""
    config = StreamConfig(name=log.name, subjects=[f"{log.name}.commits"], max_age=log.max_age_seconds)
    await js.add_stream(config)
    for number, entry in enumerate(messages):
        await write(js, log, entry, message_id=ids[number] if ids else f"p.{number}")


async def write(js: JetStreamContext, log: NatsSettings, entry: bytes, *, message_id: str) -> None:
    headers = {"Nats-Msg-Id": message_id}
    if entry.startswith(MAGIC):
        headers[HEADER] = mark(message_id, entry)
    await js.publish(f"{log.name}.commits", entry, headers=headers)


async def refuse(opening: asyncio.Future[None] | asyncio.Task[ReplicatedNode], entry: bytes) -> None:
    """Checks that opening a node, or its log, fails because of the format of an entry."""
    with pytest.raises(UnreadableCommitError) as refused:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await opening
    assert str(refused.value).startswith(_REFUSAL.format(_FOUND[entry]))
    assert "\n" not in str(refused.value)
    assert ". " not in str(refused.value)


def opening(folder: Path, log: NatsSettings) -> asyncio.Task[ReplicatedNode]:
    return asyncio.create_task(ReplicatedNode.open(folder, log))


@other_formats
async def test_a_server_does_not_start_over_a_log_of_another_format(
    js: JetStreamContext, cluster: NatsCluster, tmp_path: Path, entry: bytes
) -> None:
    name = next(_names)
    stream = NatsSettings(cluster.urls, name=f"{name}-0of1", replicas=1, max_age_seconds=3600)
    await create(js, stream, entry)
    with pytest.raises(UnreadableCommitError, match=f"format {_FOUND[entry]}, but"):
        await Server.start(
            Config(listen="127.0.0.1:0", data=tmp_path),
            LogConfig(log=cluster.url, log_name=name, log_replicas=1),
        )
    assert (await js.stream_info(stream.name)).state.last_seq == 1


@other_formats
async def test_a_log_that_has_lost_its_first_entries_is_refused_by_its_last(
    js: JetStreamContext, log: NatsSettings, tmp_path: Path, entry: bytes
) -> None:
    await create(js, log, entry, entry)
    await js.purge_stream(log.name, seq=2)
    await refuse(opening(tmp_path, log), entry)


@other_formats
async def test_a_log_of_another_format_gets_no_epoch_from_a_view_that_it_does_not_continue(
    js: JetStreamContext, log: NatsSettings, tmp_path: Path, entry: bytes
) -> None:
    node = await ReplicatedNode.open(tmp_path, log)
    await node.record(customer_event("a"))
    await node.close()
    await js.delete_stream(log.name)
    await create(js, log, entry)
    await refuse(opening(tmp_path, log), entry)
    assert (await js.stream_info(log.name)).state.last_seq == 1


async def test_a_running_node_ends_with_the_first_entry_of_another_format(
    js: JetStreamContext, log: NatsSettings, tmp_path: Path
) -> None:
    node = await ReplicatedNode.open(tmp_path, log)
    await node.record(customer_event("a"))
    await write(js, log, NEWER, message_id="p.1")
    await refuse(node.log.failure, NEWER)
    await node.close()
    await refuse(opening(tmp_path, log), NEWER)


async def test_a_running_node_ends_with_the_first_entry_that_needs_other_rules(
    js: JetStreamContext, log: NatsSettings, tmp_path: Path
) -> None:
    node = await ReplicatedNode.open(tmp_path, log)
    await node.record(customer_event("a"))
    other_rules = entries.COMMIT.replace(bytes([FORMAT, RULES]), bytes([FORMAT, RULES + 1]))
    await write(js, log, other_rules + b"?", message_id="p.1")
    with pytest.raises(
        UnreadableCommitError, match=f"by rules {RULES + 1}, but this server has rules {RULES}:"
    ):
        await node.log.failure
    await node.close()


async def test_a_node_that_began_without_its_log_publishes_nothing_into_one_of_another_format(
    js: JetStreamContext, log: NatsSettings, tmp_path: Path
) -> None:
    node = await ReplicatedNode.open(tmp_path, log)
    await node.record(customer_event("a"))
    sequence, message_id, _ = node.log.position
    await node.close()
    await js.delete_stream(log.name)
    ids = [f"p.{number}" for number in range(1, sequence)]
    await create(js, log, *[NEWER] * sequence, ids=[*ids, message_id])
    database = BoundedDatabaseFile(tmp_path, is_view=True)
    node = ReplicatedNode(database, log, None)
    await refuse(node.log.failure, NEWER)
    await node.close()
    assert (await js.stream_info(log.name)).state.last_seq == sequence
