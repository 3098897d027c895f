"""Views are replaced and messages skipped so that damage ends, and nobody is told what is not so."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import pytest

from engagement_server.commands.log_access import LogAccess
from engagement_server.errors import ConfigurationError, StaleViewError
from engagement_server.log.nats import entries, marks
from engagement_server.log.nats.checking import check_log
from engagement_server.log.nats.incoming import Incoming
from engagement_server.log.nats.repairing import Replaced, replace_view, skip_message
from engagement_server.log_entries import LogEntry, SkipList
from engagement_server.operations import RecordBatch
from engagement_server.store.backup import back_up
from engagement_server.store.checksums import connect
from engagement_server.store.database import DatabaseFile
from engagement_server.store.schema import SCHEMA_VERSION
from engagement_server.store.view_copy import report_view
from tests.support.cli_process import Cli
from tests.support.events import batch_of, customer_event, noise
from tests.support.nats_cluster import NatsCluster
from tests.support.replicated_log import ReplicatedLog
from tests.support.replicated_node import ReplicatedNode
from tests.support.snapshot_bench import SnapshotBench
from tests.support.waiting import eventually

MARKED = {"Nats-Msg-Id": "p.1", marks.HEADER: "?"}
"""Headers of a message of ours that is damaged."""


@pytest.fixture(autouse=True)
def _impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Finds damage at once: no leader is elected here."""
    monkeypatch.setattr("engagement_server.log.nats.divergence.PATIENCE_SECONDS", 0.5)
    monkeypatch.setattr("engagement_server.log.nats.incoming._RETRY_SECONDS", 0.01)
    monkeypatch.setattr("engagement_server.log.nats.incoming._DELIVERY_SECONDS", 0.1)
    monkeypatch.setattr("engagement_server.log.nats.checking._SILENCE_SECONDS", 0.3)
    monkeypatch.setattr("engagement_server.log.nats.jetstream_log._DAMAGE_RETRY_SECONDS", 0.1)


@pytest.fixture
async def log(tmp_path: Path, cluster: NatsCluster) -> AsyncIterator[SnapshotBench]:
    async with SnapshotBench.opened(tmp_path, cluster) as opened:
        yield opened


async def replace(log: ReplicatedLog, name: str, source: Path | None) -> Replaced:
    async with log.connect() as stream:
        with contextlib.closing(DatabaseFile(log.folder / name, is_view=True)) as database:
            return await replace_view(stream, database, source)


async def skip(log: ReplicatedLog, sequence: int, *, is_forced: bool = False) -> None:
    async with log.connect() as stream:
        await skip_message(stream, sequence, is_forced=is_forced)


async def is_refused(node: ReplicatedNode) -> None:
    await eventually(lambda: node.log.damage is not None, "the node refuses its partition")


async def is_served(node: ReplicatedNode) -> None:
    await eventually(lambda: node.log.damage is None and node.log.is_current, "the node serves its partition")


async def lose(log: ReplicatedLog, *, applied_by: str) -> int:
    """Two nodes, of which one has applied a message that is then deleted; returns its sequence."""
    other = await log.open("other")
    await other.record(customer_event("before"))
    await log.close("other")
    node = await log.open(applied_by)
    await node.record(customer_event("lost"))
    sequence = node.log.position.sequence
    await node.record(customer_event("after"))
    await log.js.delete_msg(log.settings.name, sequence)
    return sequence


async def test_a_view_that_stops_is_replaced_by_a_copy_of_another_and_nothing_is_lost(
    log: ReplicatedLog,
) -> None:
    sequence = await lose(log, applied_by="first")
    await is_refused(await log.open("other"))
    await log.close()
    replaced = await replace(log, "other", log.folder / "first")
    assert replaced.position.sequence > sequence
    assert replaced.obstacle is None
    assert (log.folder / "other" / "engagement.db.aside").exists()
    first, other = await log.open("first"), await log.open("other")
    await other.record(customer_event("later"))
    await log.assert_same(first, other)
    assert [event_id for _, event_id in await other.positions()] == ["before", "lost", "after", "later"]


async def test_a_snapshot_from_before_the_damage_does_not_help_and_the_command_says_so(
    log: SnapshotBench,
) -> None:
    other = await log.open("other")
    await eventually(lambda: other.log.position.sequence > 0, "the log is founded")
    await log.take(other)
    await log.close()
    sequence = await lose(log, applied_by="first")
    await log.close()
    replaced = await replace(log, "other", None)
    assert replaced.obstacle is not None
    assert replaced.obstacle.sequence == sequence


async def test_a_snapshot_from_after_the_damage_replaces_a_view_that_stops_and_nothing_is_lost(
    log: SnapshotBench, cluster: NatsCluster, tmp_path: Path
) -> None:
    # Named as the command names the stream of the only partition.
    log.settings = dataclasses.replace(log.settings, name="repaired-0of1", subject="repaired.0.commits")
    sequence = await lose(log, applied_by="first")
    snapshot = await log.take(log.node("first"))
    assert snapshot.facts.sequence > sequence
    other = await log.open("other")
    await is_refused(other)
    assert [event_id for _, event_id in await other.positions()] == ["before"]
    await log.close()
    options = ("--data", str(log.folder / "other"), "--log", cluster.url, "--log-name", "repaired")
    repair = Cli(tmp_path).run_process
    done = await asyncio.to_thread(repair, "log", "repair", "--from", "snapshot", *options)
    assert done.status == 0, done.stderr
    assert f"replaced the view: it has applied message {snapshot.facts.sequence} of " in done.stdout
    first, other = await log.open("first"), await log.open("other")
    await is_served(other)
    await other.record(customer_event("later"))
    await log.assert_same(first, other)
    assert [event_id for _, event_id in await other.positions()] == ["before", "lost", "after", "later"]


async def test_a_view_of_another_log_or_no_view_replaces_nothing(
    log: ReplicatedLog, cluster: NatsCluster, tmp_path: Path
) -> None:
    node = await log.open("first")
    await node.record(customer_event("kept"))
    await log.close()
    (tmp_path / "text").write_text("text" * 1000)
    async with ReplicatedLog.opened(tmp_path / "elsewhere", cluster) as another:
        node = await another.open()
        for _ in range(3):
            await node.record(customer_event("a"))
        await another.close()
        for source in (tmp_path / "elsewhere/first", tmp_path / "text", tmp_path / "absent"):
            with pytest.raises(ConfigurationError, match="cannot be used"):
                await replace(log, "first", source)
    node = await log.open("first")
    assert [event_id for _, event_id in await node.positions()] == ["kept"]


async def test_a_copy_of_another_schema_replaces_nothing(log: ReplicatedLog, tmp_path: Path) -> None:
    node = await log.open("first")
    await node.record(customer_event("kept"))
    await log.close()
    back_up(log.folder / "first", tmp_path / "copy.db")
    with contextlib.closing(connect(str(tmp_path / "copy.db"), flags=apsw.SQLITE_OPEN_READWRITE)) as copy:
        copy.pragma("user_version", SCHEMA_VERSION + 1)
    with pytest.raises(ConfigurationError, match=f"has schema version {SCHEMA_VERSION + 1}"):
        await replace(log, "first", tmp_path / "copy.db")
    node = await log.open("first")
    assert [event_id for _, event_id in await node.positions()] == ["kept"]


async def test_who_had_applied_a_message_that_all_skip_refuses_its_partition_until_it_is_replaced(
    log: ReplicatedLog,
) -> None:
    sequence = await lose(log, applied_by="first")
    other = await log.open("other")
    await is_refused(other)
    await skip(log, sequence)
    await is_served(other)
    assert [event_id for _, event_id in await other.positions()] == ["before", "after"]
    first = await log.reopen("first")
    await is_refused(first)
    assert "the log skips this message" in str(first.log.damage)
    await log.close()
    assert report_view(log.folder / "first").cause
    assert not report_view(log.folder / "other").cause
    await replace(log, "first", log.folder / "other")
    first, other = await log.open("first"), await log.open("other")
    await is_served(first)
    await log.assert_same(first, other)
    fresh = await log.open("fresh")
    await log.assert_same(fresh, other)


async def test_a_snapshot_with_a_message_that_the_log_skips_later_is_not_used_and_taken_anew(
    log: SnapshotBench,
) -> None:
    sequence = await lose(log, applied_by="first")
    wrong = await log.take(log.node("first"))
    assert wrong.facts.sequence > sequence
    await log.close()
    await skip(log, sequence)
    fresh = await log.open("fresh")
    await is_served(fresh)
    assert [event_id for _, event_id in await fresh.positions()] == ["before", "after"]

    async def is_taken_anew() -> bool:
        return (await log.snapshots())[0].facts.sequence > wrong.facts.sequence

    await eventually(is_taken_anew, "there is a snapshot that new nodes can use")
    another = await log.open("another")
    await log.assert_same(another, fresh)


async def test_a_message_that_this_node_has_applied_is_skipped_only_if_that_is_meant(
    log: ReplicatedLog,
) -> None:
    sequence = await lose(log, applied_by="first")
    first, other = (LogAccess(log.settings, log.folder / name) for name in ("first", "other"))
    with pytest.raises(ConfigurationError, match=f"has applied message {sequence}: give a copy of it"):
        await first.skip(sequence, is_forced=False)
    await other.skip(sequence, is_forced=False)
    with pytest.raises(ConfigurationError, match="skipped already"):
        await first.skip(sequence, is_forced=True)


async def test_an_intact_message_is_skipped_only_if_that_is_meant(log: ReplicatedLog) -> None:
    node = await log.open()
    await node.record(customer_event("a"))
    sequence = node.log.position.sequence
    with pytest.raises(ConfigurationError, match="is in the log, intact"):
        await skip(log, sequence)
    with pytest.raises(ConfigurationError, match="is not in the log"):
        await skip(log, sequence + 10)
    await log.close()
    await skip(log, sequence, is_forced=True)
    with pytest.raises(ConfigurationError, match="skipped already"):
        await skip(log, sequence)


async def test_a_large_commit_that_lacks_a_part_stops_a_node_that_begins_behind_the_part(
    log: ReplicatedLog,
) -> None:
    behind = await log.open("behind")
    await behind.record(customer_event("before"))
    await log.close()
    first = await log.open("first")
    large = [customer_event(f"{number}", balance=noise(1000, seed=f"{number}")) for number in range(200)]
    await first.commit(RecordBatch("acme", batch_of(large), is_atomic=False))
    last = first.log.position.sequence
    part = last - 1
    await log.js.delete_msg(log.settings.name, part)
    await skip(log, part)  # as an operator who does not know what it is
    behind = await log.open("behind")
    await is_refused(behind)
    assert behind.log.damage is not None
    assert behind.log.damage.metadata["sequence"] == f"{last}"
    assert f"has a part that is missing, message {part}" in str(behind.log.damage)
    await skip(log, last)
    await is_served(behind)


async def publish(log: ReplicatedLog, data: bytes, message_id: str, *, intact: bool = True) -> int:
    """Publishes a message of ours."""
    mark = marks.mark(message_id, data if intact else data + b"?")
    return await log.publish(data, {"Nats-Msg-Id": message_id, marks.HEADER: mark})


async def test_a_large_commit_whose_part_is_damaged_stops_a_node_with_its_own_number(
    log: ReplicatedLog,
) -> None:
    node = await log.open()
    await node.record(customer_event("before"))
    part = await publish(log, entries.PART + b"half a commit", "p.1.0", intact=False)
    whole = await publish(log, entries.encode_part_list([part]), "p.1")
    await is_refused(node)
    await skip(log, part)

    def is_named() -> bool:
        return f"message {whole} has a part that is damaged, message {part}" in str(node.log.damage)

    await eventually(is_named, "the node stops before the whole commit")
    await skip(log, whole)
    await is_served(node)


async def test_a_large_commit_whose_part_has_aged_out_sends_a_node_to_a_snapshot(log: ReplicatedLog) -> None:
    node = await log.open()
    part = await publish(log, entries.PART + b"half a commit", "p.1.0")
    await node.record(customer_event("between"))
    await log.close()
    await publish(log, entries.encode_part_list([part]), "p.1")
    await log.expire(part + 1)
    node = await log.open()
    with pytest.raises(StaleViewError, match=f"this view needs {part}"):
        await node.log.failure


async def test_a_foreign_message_in_the_place_of_skip_lists_changes_nothing(log: ReplicatedLog) -> None:
    sequence = await lose(log, applied_by="first")
    await log.close()
    await skip(log, sequence)
    await log.js.publish(f"{log.settings.name}.commits.skips", b"not ours")
    other = await log.open("other")
    await is_served(other)
    assert [event_id for _, event_id in await other.positions()] == ["before", "after"]
    await other.record(customer_event("unwanted"))
    await skip(log, other.log.position.sequence, is_forced=True)


async def test_a_damaged_skip_list_stops_a_node_that_needs_it_until_it_is_skipped(log: ReplicatedLog) -> None:
    sequence = await lose(log, applied_by="first")
    await log.close()
    await skip(log, sequence)
    ack = await log.js.publish(f"{log.settings.name}.commits.skips", entries.SKIPS + b"?", headers=MARKED)
    other = await log.open("other")
    await is_refused(other)
    assert other.log.damage is not None
    assert other.log.damage.metadata["sequence"] == f"{ack.seq}"
    async with log.connect() as stream:
        checked = await check_log(stream)
    assert [each.sequence for each in checked.findings if not each.is_skipped] == [ack.seq]
    await skip(log, ack.seq)
    await is_served(other)
    assert [event_id for _, event_id in await other.positions()] == ["before", "after"]
    other = await log.reopen("other")
    await is_served(other)


async def test_a_wide_gap_is_read_in_small_batches(log: ReplicatedLog) -> None:
    await log.open()
    await log.close()
    lost = [await log.publish(b"lost") for _ in range(50)]
    for each in lost:
        await log.js.delete_msg(log.settings.name, each)
    async with log.connect() as stream:
        await stream.publish_skips("skips.1", entries.encode_skips(SkipList(lost)), replaces=0)
        incoming = Incoming(stream, after=1, commit_of=lambda _: None, on_foreign=lambda _: None)
        read: list[LogEntry] = []
        async with contextlib.aclosing(incoming.entries()) as batches:
            async for batch, _ in batches:
                assert len(batch) < len(lost)
                read += batch
                if len(read) > len(lost):
                    break
    assert [each.sequence for each in read if each.is_skipped] == lost
