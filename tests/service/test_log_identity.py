"""A node recognizes its log: it never mistakes another log, a restored one or a foreign store for it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from engagement_server.errors import (
    ConfigurationError,
    LogError,
    LogReplacedError,
    LogUnreachableError,
    StoreUnavailableError,
    UnreadableCommitError,
)
from engagement_server.log.nats import entries, marks
from engagement_server.operations import ChangeEpoch, Commit, RecordBatch
from engagement_server.store.database import DatabaseFile
from engagement_server.store.writer import Writer
from tests.support.events import batch_of, customer_event, customer_events
from tests.support.free_ports import free_ports
from tests.support.nats_cluster import NatsCluster
from tests.support.replicated_log import ReplicatedLog
from tests.support.waiting import deadline


@pytest.fixture(autouse=True)
def _impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Detects a log that is too short at once: no leader is elected here."""
    monkeypatch.setattr("engagement_server.log.nats.divergence.PATIENCE_SECONDS", 0.5)


@pytest.fixture
async def log(tmp_path: Path, cluster: NatsCluster) -> AsyncIterator[ReplicatedLog]:
    async with ReplicatedLog.opened(tmp_path, cluster) as opened:
        yield opened


async def test_a_recreated_log_is_not_mixed_with_a_view_of_the_old_one(log: ReplicatedLog) -> None:
    node = await log.open()
    await node.record(*customer_events(3))
    await log.close()
    await log.js.delete_stream(log.settings.name)
    with pytest.raises(ConfigurationError, match="replaced"):
        await log.open()
    fresh = await log.open("second")
    assert await fresh.positions() == []
    for _ in range(5):
        await fresh.record(customer_event("new"))
    with pytest.raises(ConfigurationError, match="replaced"):
        await log.open()


async def test_a_log_that_is_replaced_under_a_node_ends_it(log: ReplicatedLog) -> None:
    node = await log.open()
    await node.record(*customer_events(3))
    await log.js.delete_stream(log.settings.name)
    async with deadline("the node failed"):
        with pytest.raises(LogReplacedError):
            await node.log.failure
    with pytest.raises(StoreUnavailableError):
        await node.record(customer_event("a"))


async def test_a_log_that_lost_commits_gets_another_epoch(log: ReplicatedLog) -> None:
    ahead, behind = await log.open("ahead"), await log.open("behind")
    await ahead.record(customer_event("a"))
    await behind.catch_up_with(ahead)
    await log.close("behind")
    await ahead.record(customer_event("b"))
    await log.close("ahead")
    last = (await log.js.stream_info(log.settings.name)).state.last_seq
    await log.restore(last - 1)
    with pytest.raises(ConfigurationError, match="restored"):
        await log.open("ahead")
    behind = await log.open("behind")
    async with deadline("the node failed"):
        with pytest.raises(LogError, match="another epoch"):
            await behind.log.failure


async def test_only_the_first_node_that_notices_changes_the_epoch(log: ReplicatedLog) -> None:
    node = await log.open()
    epochs = node.query("SELECT value FROM settings WHERE name = 'log_epoch'")
    assert await node.commit(ChangeEpoch(known=epochs[0][0] + 1, fresh=2)) == [0]
    await node.record(customer_event("a"))
    assert node.query("SELECT value FROM settings WHERE name = 'log_epoch'") == epochs


async def test_a_message_that_is_no_commit_ends_the_node(log: ReplicatedLog) -> None:
    node = await log.open()
    data = entries.COMMIT + b"nonsense"
    await log.publish(data, {"Nats-Msg-Id": "somebody.1", marks.HEADER: marks.mark("somebody.1", data)})
    async with deadline("the node failed"):
        with pytest.raises(UnreadableCommitError):
            await node.log.failure


async def test_a_view_is_not_written_without_its_log(log: ReplicatedLog, tmp_path: Path) -> None:
    node = await log.open("first")
    await node.record(customer_event())
    await log.close()
    database = DatabaseFile(tmp_path / "first")
    with pytest.raises(ConfigurationError, match="view of a replicated log"):
        database.open_writer()
    database.close()
    await log.open("first")


async def test_a_store_of_another_origin_is_not_taken_for_a_view(log: ReplicatedLog, tmp_path: Path) -> None:
    await log.open()
    database = DatabaseFile(tmp_path / "other")
    database.open_writer().close()
    database.close()
    with pytest.raises(ConfigurationError, match="not of this log"):
        await log.open("other")


@pytest.mark.parametrize("creation", ["", "PRAGMA journal_mode = wal"])
async def test_a_file_that_was_only_begun_has_no_identity_of_its_own(
    log: ReplicatedLog, tmp_path: Path, creation: str
) -> None:
    first = await log.open("first")
    await first.record(customer_event())
    (tmp_path / "second").mkdir()
    with contextlib.closing(sqlite3.connect(tmp_path / "second" / "engagement.db")) as begun:
        begun.execute(creation)
    database = DatabaseFile(tmp_path / "second", is_view=True)
    assert database.inspect() is None
    database.close()
    second = await log.open("second")
    await log.assert_same(first, second)


async def test_a_store_of_one_machine_becomes_the_beginning_of_a_log(
    log: ReplicatedLog, tmp_path: Path
) -> None:
    database = DatabaseFile(tmp_path / "first")
    connection = database.open_writer()
    Writer(connection).apply(
        Commit([RecordBatch("acme", batch_of(customer_events(3)), is_atomic=False)], 1_000)
    )
    connection.close()
    database.close()
    node = await log.open("first")
    await node.record(customer_event("new"))
    assert [event_id for _, event_id in await node.positions()] == [
        "event-000000",
        "event-000001",
        "event-000002",
        "new",
    ]


async def test_one_server_alone_keeps_no_replicas(log: ReplicatedLog) -> None:
    with pytest.raises(ConfigurationError, match="--log-replicas 1"):
        await log.open(settings=replace(log.settings, replicas=3))


async def test_a_server_that_does_not_answer_is_named(log: ReplicatedLog) -> None:
    (port,) = free_ports(1)
    nowhere = replace(log.settings, servers=[f"nats://user:s3cret@127.0.0.1:{port}"])
    with pytest.raises(LogUnreachableError, match=rf"nats://127.0.0.1:{port}: \S+") as error:
        await log.open(settings=nowhere)
    assert "s3cret" not in str(error.value)
