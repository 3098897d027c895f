"""A node starts from a snapshot of another node's view if there is one, and applies the rest of the log."""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from engagement_server.errors import ConfigurationError, LogError, LogUnreachableError
from engagement_server.log.nats import divergence
from engagement_server.log.nats.snapshots.schedule import SnapshotSchedule
from tests.support.child_process import ChildProcess
from tests.support.events import customer_event, customer_events
from tests.support.nats_cluster import NatsCluster
from tests.support.other_contract import index_otherwise
from tests.support.replicated_log import PAYLOAD_BYTES, new_log
from tests.support.snapshot_bench import SnapshotBench, noisy_events, running
from tests.support.view_rows import view_rows
from tests.support.waiting import deadline, eventually

_ATTEMPTS = 20


@pytest.fixture
async def bench(tmp_path: Path, cluster: NatsCluster) -> AsyncIterator[SnapshotBench]:
    async with SnapshotBench.opened(tmp_path, cluster) as opened:
        yield opened


async def test_a_new_node_begins_with_a_snapshot_and_follows_the_rest(bench: SnapshotBench) -> None:
    first = await bench.open()
    await first.record(*customer_events(300), *noisy_events(5 * PAYLOAD_BYTES))
    snapshot = await bench.take(first)
    assert snapshot.chunks > 5
    assert snapshot.facts.position[:2] == first.log.position[:2]
    await first.record(*customer_events(100, start=300), account_id="beta")
    await bench.expire(snapshot.facts.sequence)
    second = await bench.open("second")
    await bench.assert_same(first, second)
    await second.record(customer_event("from the second"))
    await bench.assert_same(first, second)
    assert len(await second.positions()) == len(await first.positions()) > 300


async def test_a_node_waits_for_a_snapshot_if_the_beginning_of_the_log_has_expired(
    bench: SnapshotBench,
) -> None:
    first = await bench.open()
    await first.record(*customer_events(3))
    await bench.take(first)
    for snapshot in await bench.snapshots():
        await bench.lose_chunk(snapshot)
    await bench.expire(first.log.position.sequence)
    with pytest.raises(LogUnreachableError, match="no snapshot yet"):
        await bench.open("second")
    await bench.take(first)
    await bench.assert_same(first, await bench.open("second"))


async def test_a_view_that_is_older_than_the_log_is_replaced(bench: SnapshotBench) -> None:
    first, second = await bench.open(), await bench.open("second")
    await first.record(*customer_events(3))
    await second.catch_up_with(first)
    await bench.close("second")
    await first.record(*customer_events(3, start=3))
    snapshot = await bench.take(first)
    await first.record(customer_event("tail"))
    await bench.expire(snapshot.facts.sequence)
    second = await bench.open("second")
    await bench.assert_same(first, second)
    assert len(await second.positions()) == 7


async def test_the_view_of_another_log_is_not_replaced(bench: SnapshotBench, cluster: NatsCluster) -> None:
    elsewhere = await bench.open("elsewhere", settings=new_log(cluster))
    await elsewhere.record(customer_event("a"))
    await bench.close("elsewhere")
    before = view_rows(bench.folder / "elsewhere")
    first = await bench.open()
    await first.record(*customer_events(3))
    await first.record(*customer_events(3))
    snapshot = await bench.take(first)
    await bench.expire(snapshot.facts.sequence)
    with pytest.raises(ConfigurationError, match="another log"):
        await bench.open("elsewhere")
    assert view_rows(bench.folder / "elsewhere") == before


@pytest.mark.parametrize(
    "changes",
    [None, {"digest": "SHA-256=AAAA"}, {"chunks": 1}, {"unpacked_bytes": "8192"}, {}],
    ids=["lost chunk", "digest", "chunks", "size", "position"],
)
async def test_a_damaged_snapshot_is_skipped_for_the_one_before(
    bench: SnapshotBench, caplog: pytest.LogCaptureFixture, changes: dict[str, Any] | None
) -> None:
    first = await bench.open()
    await first.record(customer_event("one"), *noisy_events(2 * PAYLOAD_BYTES))
    before = await bench.take(first)
    await first.record(customer_event("two"))
    latest = await bench.take(first)
    if changes is None:
        await bench.lose_chunk(latest)
    else:
        position = {"sequence": str(before.facts.sequence), "message_id": before.facts.message_id}
        await bench.describe(latest, **(changes or position))
    with caplog.at_level(logging.INFO):
        second = await bench.open("second")
    assert f"the snapshot {latest.name} cannot be used" in caplog.text
    assert f"from the snapshot {before.name}" in caplog.text
    await bench.assert_same(first, second)
    assert not [path.name for path in second.database.folder.glob("*snapshot*")]


async def test_a_snapshot_of_a_server_with_another_contract_is_indexed_again(bench: SnapshotBench) -> None:
    first = await bench.open()
    await first.record(*customer_events(3))
    before = view_rows(first.database.folder)
    index_otherwise(first.database.folder, events=2)
    await bench.take(first)
    await bench.expire(first.log.position.sequence)
    second = await bench.open("second")
    assert view_rows(second.database.folder) == before


async def test_a_snapshot_of_a_later_server_asks_for_that_server(bench: SnapshotBench) -> None:
    first = await bench.open()
    await first.record(customer_event("one"))
    await bench.describe(await bench.take(first), schema_version="99")
    with pytest.raises(ConfigurationError, match="schema version 99"):
        await bench.open("second")


@pytest.mark.parametrize("has_grown", [False, True], ids=["shorter", "with other messages"])
async def test_a_snapshot_of_what_the_log_has_lost_is_not_used_and_changes_the_epoch(
    bench: SnapshotBench,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    has_grown: bool,
) -> None:
    monkeypatch.setattr(divergence, "PATIENCE_SECONDS", 0.1)
    first = await bench.open()
    await first.record(customer_event("kept"))
    before = await bench.take(first)
    await first.record(customer_event("lost"))
    latest = await bench.take(first)
    await bench.close()
    await bench.restore(before.facts.sequence)
    if has_grown:
        async with bench.connect() as stream:
            for _ in range(2):
                await divergence.change_epoch(stream, epoch=1)
    second = await bench.open("second")
    assert f"the snapshot {latest.name} is not of this log" in caplog.text
    async with deadline("the node failed"):
        with pytest.raises(LogError, match="another epoch"):
            await second.log.failure
    await bench.close("second")
    second = await bench.open("second")
    assert [event_id for _, event_id in await second.positions()] == ["kept"]
    (epoch,) = second.query("SELECT value FROM settings WHERE name = 'log_epoch'")[0]
    assert epoch != before.facts.log_epoch
    # A snapshot of this log is due, however new the one of the lost log is.
    schedule = SnapshotSchedule(second.database, interval_seconds=3600)
    async with bench.connect() as stream, running(schedule.run(stream)):
        await eventually(lambda: schedule.latest_time_ms is not None, "a snapshot is taken")
    assert (await bench.snapshots())[0].facts.log_epoch != before.facts.log_epoch


async def test_a_node_that_is_killed_while_it_fetches_a_snapshot_begins_again(tmp_path: Path) -> None:
    # Chunks are small, so that there are many.
    with NatsCluster(tmp_path / "nats", size=1, max_payload_bytes=8 * 1024) as cluster:
        async with SnapshotBench.opened(tmp_path, cluster) as bench:
            first = await bench.open()
            await first.record(*noisy_events(2_000_000))
            snapshot = await bench.take(first)
            assert snapshot.chunks > 100
            await bench.expire(snapshot.facts.sequence)
            folder = await _kill_while_it_fetches(bench, cluster)
            await bench.assert_same(first, await bench.open(folder.name))
            assert not list(folder.glob("*snapshot*"))


async def _kill_while_it_fetches(bench: SnapshotBench, cluster: NatsCluster) -> Path:
    """The folder of a node that was killed while it fetched; retries if the node was faster."""
    for attempt in range(_ATTEMPTS):
        folder = bench.folder / f"killed-{attempt}"
        command = (sys.executable, "-c", _JOIN, folder, bench.settings.name, cluster.url)
        with ChildProcess(*command, output=folder) as process:
            process.launch()
            await eventually(partial(_has_fetched, folder, process), "it fetches")
        if {path.name for path in folder.iterdir()} == {"lock", "incoming-snapshot.db"}:
            return folder
    raise AssertionError("no node was killed while it fetched")


def _has_fetched(folder: Path, process: ChildProcess) -> bool:
    with suppress(FileNotFoundError):  # not yet, or complete already
        return (folder / "incoming-snapshot.db").stat().st_size > 0
    return process.has_ended


_JOIN = """
import asyncio, pathlib, sys
from engagement_server.log.nats.opening import bootstrap
from engagement_server.log.nats.connection import NatsSettings
from engagement_server.store.database import DatabaseFile

folder, name, server = sys.argv[1:]
settings = NatsSettings([server], name=name, replicas=1, max_age_seconds=3600)
asyncio.run(bootstrap(settings, DatabaseFile(pathlib.Path(folder), is_view=True)))
"""
