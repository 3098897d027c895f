"""What a replicated log promises beyond the port: nodes that agree, and nothing that is taken for another."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import nats
import pytest
from nats.js import JetStreamContext
from nats.js.api import RawStreamMsg, StreamConfig

from engagement import v1
from engagement_server.errors import (
    ConfigurationError,
    LogError,
    LogReplacedError,
    LogUnreachableError,
    StoreUnavailableError,
    UnreadableCommitError,
)
from engagement_server.log.nats import entries
from engagement_server.log.nats.connection import NatsSettings
from engagement_server.model import Subject
from engagement_server.operations import (
    BeginErasure,
    ChangeEpoch,
    Commit,
    CompleteErasure,
    EraseEvents,
    ExpireUploads,
    OpenUpload,
    RecordBatch,
)
from engagement_server.store.database import DatabaseFile
from engagement_server.store.writer import Writer
from tests.support.events import batch_of, customer_event, customer_events, noise
from tests.support.free_ports import free_ports
from tests.support.nats_cluster import NatsCluster
from tests.support.replicated_node import DEADLINE_SECONDS, ReplicatedNode

_PAYLOAD_BYTES = 64 * 1024
_names = (f"log-{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsCluster]:
    """One server, whose messages are small."""
    folder = tmp_path_factory.mktemp("nats")
    with NatsCluster(folder, size=1, max_payload_bytes=_PAYLOAD_BYTES) as running:
        yield running


@pytest.fixture
def log(cluster: NatsCluster) -> NatsSettings:
    """A log of its own for each test."""
    return NatsSettings(cluster.urls, name=next(_names), replicas=1, max_age_seconds=3600)


@pytest.fixture(autouse=True)
def _impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that is too short is known to be so at once: here no leader is elected."""
    monkeypatch.setattr("engagement_server.log.nats.divergence.PATIENCE_SECONDS", 0.5)


class Nodes:
    """Nodes of one log, closed behind the test."""

    def __init__(self, folder: Path, log: NatsSettings) -> None:
        self._folder = folder
        self._log = log
        self._open: dict[str, ReplicatedNode] = {}

    async def open(self, name: str = "first", *, log: NatsSettings | None = None) -> ReplicatedNode:
        """Opens a node over its folder."""
        self._open[name] = node = await ReplicatedNode.open(self._folder / name, log or self._log)
        return node

    async def close(self, *names: str) -> None:
        """Closes some nodes, or all."""
        for name in names or [*self._open]:
            await self._open.pop(name).close()


@pytest.fixture
async def nodes(tmp_path: Path, log: NatsSettings) -> AsyncIterator[Nodes]:
    opened = Nodes(tmp_path, log)
    async with asyncio.timeout(3 * DEADLINE_SECONDS):
        yield opened
        await opened.close()


@pytest.fixture
async def js(cluster: NatsCluster) -> AsyncIterator[JetStreamContext]:
    """What an operator does with the servers."""
    client = await nats.connect(cluster.url)
    yield client.jetstream()
    await client.close()


def events_of(size_bytes: int, *, prefix: str = "event") -> RecordBatch:
    """A batch of about so many bytes."""
    count = -(-size_bytes // 1000)
    events = [
        customer_event(f"{prefix}-{number}", balance=noise(1000, seed=f"{number}")) for number in range(count)
    ]
    return RecordBatch("acme", batch_of(events), is_atomic=False)


async def test_two_nodes_that_commit_at_once_agree_on_the_order(nodes: Nodes) -> None:
    first, second = await nodes.open("first"), await nodes.open("second")
    for number in range(20):
        await asyncio.gather(
            first.record(customer_event(f"a{number}"), customer_event(f"same{number}")),
            second.record(customer_event(f"b{number}"), customer_event(f"same{number}")),
        )
    await asyncio.gather(first.catch_up_with(second), second.catch_up_with(first))
    positions = await first.positions()
    assert positions == await second.positions()
    assert len(positions) == 60


async def test_clocks_that_differ_do_not_turn_the_order_of_times(nodes: Nodes) -> None:
    first, second = await nodes.open("first"), await nodes.open("second")
    await first.commit(RecordBatch("acme", batch_of([customer_event("a")]), False), time_ms=2_000)
    await second.commit(RecordBatch("acme", batch_of([customer_event("b")]), False), time_ms=1_000)
    await first.catch_up_with(second)
    for node in (first, second):
        rows = await node.readers.run(lambda reader: reader.scan(after=0, through=1 << 60, max_bytes=1 << 30))
        assert [row.receive_time_ms for row in rows.rows] == [2_000, 2_000]


async def test_a_commit_larger_than_a_message_is_one_commit(nodes: Nodes) -> None:
    first, second = await nodes.open("first"), await nodes.open("second")
    large = events_of(5 * _PAYLOAD_BYTES)
    small = [second.record(customer_event(f"small-{number}")) for number in range(10)]
    await asyncio.gather(first.commit(large), *small)
    await nodes.close("second")
    again = await nodes.open("second")
    await again.catch_up_with(first)
    new = await nodes.open("third")
    await new.catch_up_with(first)
    positions = await first.positions()
    assert positions == await again.positions() == await new.positions()
    ids = [event_id for _, event_id in positions if event_id.startswith("event")]
    assert ids == [record.event_id for record in large.batch.records]
    places = [place for place, (_, event_id) in enumerate(positions) if event_id.startswith("event")]
    assert places == list(range(places[0], places[0] + len(places)))


async def test_a_commit_that_stands_in_the_log_twice_is_applied_once(
    nodes: Nodes, log: NatsSettings, js: JetStreamContext
) -> None:
    node = await nodes.open()
    await node.commit(OpenUpload("acme", "upload", "first"))
    await node.commit(OpenUpload("acme", "upload", "second"))
    # Published once more when the stream has forgotten its id, as by a connection that was stuck.
    config = (await js.stream_info(log.name)).config
    await js.update_stream(replace(config, duplicate_window=0.1))
    first = await js.get_msg(log.name, seq=2)
    assert first.headers is not None
    assert first.subject is not None
    await asyncio.sleep(0.5)  # the shortest time for which a stream knows ids is its own
    ack = await js.publish(first.subject, first.data or b"", headers=first.headers)
    assert not ack.duplicate
    await node.record(customer_event("behind"))
    assert node.query("SELECT owner FROM uploads") == [("second",)]


async def test_what_a_full_view_could_not_take_is_applied_once_there_is_room(nodes: Nodes) -> None:
    node, other = await nodes.open("first"), await nodes.open("second")
    await node.record(customer_event("before"))
    node.fill_view()
    large = events_of(20 * 4096)
    with pytest.raises(StoreUnavailableError, match="disk full"):
        await node.commit(large)
    await other.record(customer_event("elsewhere"))
    position = other.log.position.sequence
    with pytest.raises(StoreUnavailableError, match="disk full"):
        await node.commit(large)
    await other.record(customer_event("elsewhere"))
    assert other.log.position.sequence == position + 1, "what could not be answered was published"
    assert [event_id for _, event_id in await node.positions()] == ["before"]
    node.free_view()
    await node.record(customer_event("after"))
    await other.catch_up_with(node)
    positions = await node.positions()
    assert positions == await other.positions()
    assert len(positions) == 3 + len(large.batch.records)


async def test_publishers_that_are_silent_for_long_are_forgotten(nodes: Nodes) -> None:
    node = await nodes.open()
    await node.commit(OpenUpload("acme", "upload", "first"), time_ms=1_000)
    await nodes.close()
    node = await nodes.open()
    await node.commit(ExpireUploads(idle_since_ms=5_000), time_ms=6_000)
    assert node.query("SELECT last_number, time_ms FROM publishers") == [(1, 6_000)]


async def test_a_log_that_was_made_anew_is_not_mixed_with_a_view_of_the_old_one(
    nodes: Nodes, log: NatsSettings, js: JetStreamContext
) -> None:
    node = await nodes.open()
    await node.record(*customer_events(3))
    await nodes.close()
    await js.delete_stream(log.name)
    with pytest.raises(ConfigurationError, match="replaced"):
        await nodes.open()
    fresh = await nodes.open("second")
    assert await fresh.positions() == []
    for _ in range(5):
        await fresh.record(customer_event("new"))
    with pytest.raises(ConfigurationError, match="replaced"):
        await nodes.open()


async def test_a_log_that_is_replaced_under_a_node_ends_it(
    nodes: Nodes, log: NatsSettings, js: JetStreamContext
) -> None:
    node = await nodes.open()
    await node.record(*customer_events(3))
    await js.delete_stream(log.name)
    async with asyncio.timeout(DEADLINE_SECONDS):
        with pytest.raises(LogReplacedError):
            await node.log.failure
    with pytest.raises(StoreUnavailableError):
        await node.record(customer_event("a"))


async def test_a_log_that_lost_commits_gets_another_epoch(
    nodes: Nodes, log: NatsSettings, js: JetStreamContext
) -> None:
    ahead, behind = await nodes.open("ahead"), await nodes.open("behind")
    await ahead.record(customer_event("a"))
    await behind.catch_up_with(ahead)
    await nodes.close("behind")
    await ahead.record(customer_event("b"))
    await nodes.close("ahead")
    # As a backup from before the last commit has it.
    last = (await js.stream_info(log.name)).state.last_seq
    kept = [await js.get_msg(log.name, seq=sequence) for sequence in range(1, last)]
    await js.delete_stream(log.name)
    await _restore(js, log, kept)
    with pytest.raises(ConfigurationError, match="restored"):
        await nodes.open("ahead")
    behind = await nodes.open("behind")
    async with asyncio.timeout(DEADLINE_SECONDS):
        with pytest.raises(LogError, match="another epoch"):
            await behind.log.failure


async def _restore(js: JetStreamContext, log: NatsSettings, messages: Sequence[RawStreamMsg]) -> None:
    subject = messages[0].subject or ""
    await js.add_stream(StreamConfig(name=log.name, subjects=[subject], max_age=log.max_age_seconds))
    for message in messages:
        await js.publish(subject, message.data or b"", headers=message.headers)


async def test_only_the_first_of_those_that_notice_changes_the_epoch(nodes: Nodes) -> None:
    node = await nodes.open()
    epochs = node.query("SELECT value FROM settings WHERE name = 'log_epoch'")
    assert await node.commit(ChangeEpoch(known=epochs[0][0] + 1, fresh=2)) == [0]
    await node.record(customer_event("a"))
    assert node.query("SELECT value FROM settings WHERE name = 'log_epoch'") == epochs


async def test_a_message_that_is_no_commit_ends_the_node(
    nodes: Nodes, log: NatsSettings, js: JetStreamContext
) -> None:
    node = await nodes.open()
    subject = ((await js.stream_info(log.name)).config.subjects or [""])[0]
    await js.publish(subject, entries.COMMIT + b"nonsense", headers={"Nats-Msg-Id": "somebody.1"})
    async with asyncio.timeout(DEADLINE_SECONDS):
        with pytest.raises(UnreadableCommitError):
            await node.log.failure


async def test_a_view_is_not_written_without_its_log(nodes: Nodes, tmp_path: Path) -> None:
    node = await nodes.open("first")
    await node.record(customer_event())
    await nodes.close()
    database = DatabaseFile(tmp_path / "first")
    with pytest.raises(ConfigurationError, match="view of a replicated log"):
        database.open_writer()
    database.close()
    await nodes.open("first")


async def test_a_store_of_another_origin_is_not_taken_for_a_view(nodes: Nodes, tmp_path: Path) -> None:
    await nodes.open()
    database = DatabaseFile(tmp_path / "other")
    database.open_writer().close()
    database.close()
    with pytest.raises(ConfigurationError, match="not of this log"):
        await nodes.open("other")


async def test_one_server_alone_keeps_no_replicas(nodes: Nodes, log: NatsSettings) -> None:
    with pytest.raises(ConfigurationError, match="--log-replicas 1"):
        await nodes.open(log=replace(log, replicas=3))


async def test_a_server_that_does_not_answer_is_named(nodes: Nodes, log: NatsSettings) -> None:
    (port,) = free_ports(1)
    nowhere = replace(log, servers=[f"nats://user:s3cret@127.0.0.1:{port}"])
    with pytest.raises(LogUnreachableError, match=rf"nats://127.0.0.1:{port}: \S+") as error:
        await nodes.open(log=nowhere)
    assert "s3cret" not in str(error.value)


async def test_a_store_of_one_machine_becomes_the_beginning_of_a_log(nodes: Nodes, tmp_path: Path) -> None:
    database = DatabaseFile(tmp_path / "first")
    connection = database.open_writer()
    Writer(connection).apply(Commit([events_of(3000, prefix="old")], 1_000))
    connection.close()
    database.close()
    node = await nodes.open("first")
    await node.record(customer_event("new"))
    assert [event_id for _, event_id in await node.positions()] == ["old-0", "old-1", "old-2", "new"]


async def test_a_quiet_log_is_filled_after_an_erasure_so_that_its_files_let_go(
    nodes: Nodes, log: NatsSettings, js: JetStreamContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engagement_server.log.nats.block_roller._INTERVAL_SECONDS", 0.3)
    node = await nodes.open()
    await node.record(customer_event("a"))
    await node.commit(OpenUpload("acme", "upload", "first"))
    await asyncio.sleep(1)  # several intervals
    assert (await js.stream_info(log.name)).state.bytes < 100_000
    subject = Subject(v1.SubjectKind.SUBJECT_KIND_CONSUMER_ID, "nobody")
    await node.commit(
        BeginErasure("acme", "request", "erasure", subject, suppress=False),
        EraseEvents("acme", "erasure"),
        CompleteErasure("acme", "erasure"),
    )
    async with asyncio.timeout(DEADLINE_SECONDS):
        while (await js.stream_info(log.name)).state.bytes < 9_000_000:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.05)
    await node.record(customer_event("b"))
    assert [event_id for _, event_id in await node.positions()] == ["a", "b"]


def test_the_id_of_a_commit_is_read_as_it_is_written() -> None:
    assert entries.MessageId.parse(str(entries.MessageId("abc", 7))) == ("abc", 7)
    with pytest.raises(UnreadableCommitError):
        entries.MessageId.parse("abc")
