"""Snapshots of views are taken in time, by one node, and without erased events."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engagement import v1
from engagement_server.log.nats.snapshots.schedule import KEPT_SNAPSHOTS, SnapshotSchedule
from engagement_server.model import ErasureState, Subject
from engagement_server.operations import BeginErasure, Commit, CompleteErasure, EraseEvents, RecordBatch
from engagement_server.store.database import DatabaseFile
from engagement_server.store.writer import Writer
from tests.support.events import batch_of, customer_event, customer_events
from tests.support.marked_events import BYSTANDER, SUBJECT, interleaved, marked_events
from tests.support.nats_cluster import NatsCluster
from tests.support.replicated_log import PAYLOAD_BYTES
from tests.support.snapshot_bench import SnapshotBench, noisy_events, running
from tests.support.waiting import deadline, eventually

MARKER = "zqmark"


@pytest.fixture
async def bench(tmp_path: Path, cluster: NatsCluster) -> AsyncIterator[SnapshotBench]:
    async with SnapshotBench.opened(tmp_path, cluster) as opened:
        yield opened


async def test_no_byte_of_what_was_erased_is_in_later_snapshots(bench: SnapshotBench) -> None:
    first = await bench.open()
    erased = marked_events(200, consumer_id=SUBJECT, marker=MARKER)
    kept = marked_events(200, consumer_id=BYSTANDER, marker="xkept")
    await first.record(*interleaved(erased, kept))
    assert MARKER.encode() in (await bench.contents(await bench.take(first))).lower()
    subject = Subject(v1.SubjectKind.SUBJECT_KIND_CONSUMER_ID, SUBJECT)
    await first.commit(BeginErasure("acme", "request", "erasure", [subject], False))
    has_more = True
    while has_more:
        (state,) = await first.commit(EraseEvents("acme", "erasure"))
        assert isinstance(state, ErasureState)
        has_more = state.has_more
    # The files of the view still contain some of its words.
    assert MARKER.encode() in _bytes_of(first.database.folder)
    snapshot = await bench.take(first)
    await first.log.purge()
    await first.commit(CompleteErasure("acme", "erasure"))
    second = await bench.open("second")
    await bench.assert_same(first, second)
    await bench.take(second)
    for snapshot in await bench.snapshots():
        contents = (await bench.contents(snapshot)).lower()
        assert b"xkept" in contents
        assert MARKER.encode() not in contents
        assert SUBJECT.encode() not in contents


def _bytes_of(folder: Path) -> bytes:
    return b"".join(path.read_bytes().lower() for path in folder.glob("engagement.db*"))


async def test_only_the_latest_snapshots_are_kept(bench: SnapshotBench) -> None:
    first = await bench.open()
    taken = []
    for number in range(KEPT_SNAPSHOTS + 2):
        await first.record(customer_event(f"event-{number}"))
        taken.append(await bench.take(first))
    assert await bench.snapshots() == taken[: -KEPT_SNAPSHOTS - 1 : -1]
    subjects = await bench.subjects()
    assert sum(".M." in subject for subject in subjects) == KEPT_SNAPSHOTS
    chunks = {f"$O.{bench.bucket_name}.C.{snapshot.upload_id}" for snapshot in taken[-KEPT_SNAPSHOTS:]}
    assert {subject for subject in subjects if ".C." in subject} == chunks


async def test_one_node_at_a_time_takes_a_snapshot(bench: SnapshotBench) -> None:
    nodes = [await bench.open(name) for name in ("first", "second", "third")]
    await nodes[0].record(*noisy_events(10 * PAYLOAD_BYTES))
    for node in nodes[1:]:
        await node.catch_up_with(nodes[0])
    await bench.take(nodes[0])
    schedules = [SnapshotSchedule(node.database, interval_seconds=3600) for node in nodes]
    async with contextlib.AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(bench.connect()) for _ in nodes]
        pairs = zip(schedules, streams, strict=True)
        taken = await asyncio.gather(*(schedule.take(stream) for schedule, stream in pairs))
    assert [snapshot is not None for snapshot in taken].count(True) == 1


async def test_a_snapshot_is_taken_when_the_latest_one_is_too_old(bench: SnapshotBench) -> None:
    first, second = await bench.open(), await bench.open("second")
    await first.record(customer_event("a"))
    await second.catch_up_with(first)
    old = await bench.take(first)
    await bench.describe(old, time_ms="1000")
    schedules = [SnapshotSchedule(node.database, interval_seconds=3600) for node in (first, second)]
    async with (
        bench.connect() as stream,
        bench.connect() as other,
        running(schedules[0].run(stream)),
        running(schedules[1].run(other)),
    ):
        await eventually(
            lambda: any((each.latest_time_ms or 0) > 1000 for each in schedules), "a new snapshot is taken"
        )
    # Older ones, which a node took by itself when it opened, may be about to go.
    new, before, *_ = await bench.snapshots()
    assert before.upload_id == old.upload_id
    assert new.facts.time_ms in {schedule.latest_time_ms for schedule in schedules}


async def test_a_log_that_was_founded_on_a_store_gets_a_snapshot_at_once(bench: SnapshotBench) -> None:
    database = DatabaseFile(bench.folder / "first")
    connection = database.open_writer()
    Writer(connection).apply(Commit([RecordBatch("acme", batch_of(customer_events(5)), False)], 1_000))
    connection.close()
    database.close()
    first = await bench.open()
    schedule = SnapshotSchedule(first.database, interval_seconds=3600)
    async with bench.connect() as stream, running(schedule.run(stream)):
        await eventually(lambda: schedule.latest_time_ms is not None, "a snapshot is taken")
    second = await bench.open("second")
    await bench.assert_same(first, second)
    assert len(await second.positions()) == 5


async def test_what_a_cancelled_upload_has_left_is_removed_by_the_next(bench: SnapshotBench) -> None:
    first = await bench.open()
    await first.record(*noisy_events(50 * PAYLOAD_BYTES))
    await bench.take(first)
    before = await bench.subjects()

    async def new_subjects() -> dict[str, int]:
        """The messages of subjects that the bucket did not have, by subject."""
        subjects = await bench.subjects()
        return {subject: subjects[subject] for subject in subjects.keys() - before.keys()}

    async with bench.connect() as stream:
        taking = asyncio.create_task(SnapshotSchedule(first.database, interval_seconds=1).take(stream))
        async with deadline("some chunks were uploaded"):
            while max((await new_subjects()).values(), default=0) < 2:
                assert not taking.done()
        taking.cancel()
        await asyncio.wait([taking])
    assert taking.cancelled()
    assert not list(first.database.folder.glob("*snapshot*"))
    assert len(await new_subjects()) == 1
    snapshot = await bench.take(first)
    assert len(await bench.subjects()) <= 2 * KEPT_SNAPSHOTS
    assert (await bench.contents(snapshot)).startswith(b"SQLite format 3")


async def test_a_schedule_outlives_servers_that_do_not_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with NatsCluster(tmp_path / "nats", size=1) as cluster:
        async with SnapshotBench.opened(tmp_path, cluster) as bench, bench.connect() as stream:
            node = await bench.open()
            schedule = SnapshotSchedule(node.database, interval_seconds=3600)
            cluster.kill()
            async with running(schedule.run(stream)) as run:
                await eventually(lambda: "no snapshot was taken" in caplog.text, "a failure is logged")
                assert not run.done()


async def test_a_snapshot_without_room_tells_the_operator_where_to_make_some(
    bench: SnapshotBench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engagement_server.store.view_copy._SPARE_BYTES", 1 << 60)
    node = await bench.open()
    await eventually(lambda: "no snapshot was taken" in caplog.text, "a failure is logged")
    assert "no room for a copy" in caplog.text
    assert f"look at the disk of {node.database.folder} and at the servers of the log" in caplog.text
    assert "event ids" not in caplog.text
