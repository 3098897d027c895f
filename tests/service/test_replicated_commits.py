"""Nodes over one log agree on the order of its commits, and apply each of them once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from engagement import v1
from engagement_server.errors import StoreUnavailableError, SubscriberError
from engagement_server.model import Subject
from engagement_server.operations import (
    Applied,
    BeginErasure,
    CompleteErasure,
    EraseEvents,
    ExpireUploads,
    OpenUpload,
    RecordBatch,
)
from tests.support.events import batch_of, customer_event, noise
from tests.support.nats_cluster import NatsCluster
from tests.support.replicated_log import PAYLOAD_BYTES, ReplicatedLog
from tests.support.waiting import eventually

_ATTEMPTS = 12


@pytest.fixture
async def log(tmp_path: Path, cluster: NatsCluster) -> AsyncIterator[ReplicatedLog]:
    async with ReplicatedLog.opened(tmp_path, cluster) as opened:
        yield opened


def events_of(size_bytes: int) -> RecordBatch:
    """A batch of about this size."""
    count = -(-size_bytes // 1000)
    events = [
        customer_event(f"event-{number}", balance=noise(1000, seed=f"{number}")) for number in range(count)
    ]
    return RecordBatch("acme", batch_of(events), is_atomic=False)


async def test_two_nodes_that_commit_at_once_agree_on_the_order(log: ReplicatedLog) -> None:
    first, second = await log.open("first"), await log.open("second")
    for number in range(20):
        await asyncio.gather(
            first.record(customer_event(f"a{number}"), customer_event(f"same{number}")),
            second.record(customer_event(f"b{number}"), customer_event(f"same{number}")),
        )
    await asyncio.gather(first.catch_up_with(second), second.catch_up_with(first))
    positions = await first.positions()
    assert positions == await second.positions()
    assert len(positions) == 60


async def test_a_subscriber_that_fails_takes_no_commit_with_it_and_fails_its_log_only(
    log: ReplicatedLog,
) -> None:
    first, second = await log.open("first"), await log.open("second")
    seen: list[Applied] = []

    def fail(_: Applied) -> None:
        raise RuntimeError("its reason")

    for callback in (fail, seen.append):
        first.log.subscribe(callback)
    await first.record(customer_event("a"))
    assert len(seen) == 1
    with pytest.raises(SubscriberError, match="its reason"):
        await first.log.failure
    with pytest.raises(StoreUnavailableError):
        await first.record(customer_event("b"))
    await second.record(customer_event("c"))
    assert len(await second.positions()) == 2


async def test_clocks_that_differ_do_not_turn_the_order_of_times(log: ReplicatedLog) -> None:
    first, second = await log.open("first"), await log.open("second")
    await first.commit(RecordBatch("acme", batch_of([customer_event("a")]), False), time_ms=2_000)
    await second.commit(RecordBatch("acme", batch_of([customer_event("b")]), False), time_ms=1_000)
    await first.catch_up_with(second)
    for node in (first, second):
        rows = await node.readers.run(lambda reader: reader.scan(after=0, through=1 << 60, max_bytes=1 << 30))
        assert [row.receive_time_ms for row in rows.rows] == [2_000, 2_000]


async def test_a_commit_larger_than_a_message_is_one_commit(log: ReplicatedLog) -> None:
    first, second = await log.open("first"), await log.open("second")
    large = events_of(5 * PAYLOAD_BYTES)
    small = [second.record(customer_event(f"small-{number}")) for number in range(10)]
    await asyncio.gather(first.commit(large), *small)
    await log.close("second")
    again = await log.open("second")
    await again.catch_up_with(first)
    new = await log.open("third")
    await new.catch_up_with(first)
    positions = await first.positions()
    assert positions == await again.positions() == await new.positions()
    ids = [event_id for _, event_id in positions if event_id.startswith("event")]
    assert ids == [record.event_id for record in large.batch.records]
    places = [place for place, (_, event_id) in enumerate(positions) if event_id.startswith("event")]
    assert places == list(range(places[0], places[0] + len(places)))


async def test_a_commit_that_stands_in_the_log_twice_is_applied_once(log: ReplicatedLog) -> None:
    node = await log.open()
    await node.commit(OpenUpload("acme", "upload", "first"))
    await node.commit(OpenUpload("acme", "upload", "second"))
    await _publish_again(log, sequence=2)
    await node.record(customer_event("behind"))
    assert node.query("SELECT owner FROM uploads") == [("second",)]


async def _publish_again(log: ReplicatedLog, *, sequence: int) -> None:
    """Publishes a message after the stream's duplicate window, as a connection that was stuck does."""
    config = (await log.js.stream_info(log.settings.name)).config
    message = await log.js.get_msg(log.settings.name, seq=sequence)

    async def is_stored_again() -> bool:
        ack = await log.js.publish(message.subject or "", message.data or b"", headers=message.headers)
        return not ack.duplicate

    for attempt in range(1, _ATTEMPTS):
        # A change of the window makes the server drop old ids, though it may miss the right moment.
        await log.js.update_stream(replace(config, duplicate_window=0.1 * attempt))
        with suppress(TimeoutError):
            await eventually(is_stored_again, "the id expires", seconds=5)
            return
    raise AssertionError("the stream keeps the id")


async def test_what_a_full_view_could_not_take_is_applied_once_there_is_room(log: ReplicatedLog) -> None:
    node, other = await log.open("first"), await log.open("second")
    await node.record(customer_event("before"))
    node.database.fill()
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
    node.database.free()
    await node.record(customer_event("after"))
    await other.catch_up_with(node)
    positions = await node.positions()
    assert positions == await other.positions()
    assert len(positions) == 3 + len(large.batch.records)


async def test_publishers_expire_after_a_long_silence(log: ReplicatedLog) -> None:
    node = await log.open()
    await node.commit(OpenUpload("acme", "upload", "first"), time_ms=1_000)
    await log.close()
    node = await log.open()
    await node.commit(ExpireUploads(idle_since_ms=5_000), time_ms=6_000)
    assert node.query("SELECT last_number, time_ms FROM publishers") == [(1, 6_000)]


async def test_a_quiet_log_is_filled_after_an_erasure_so_that_its_files_let_go(
    log: ReplicatedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engagement_server.log.nats.block_roller._INTERVAL_SECONDS", 0.3)
    node = await log.open()
    await node.record(customer_event("a"))
    await node.commit(OpenUpload("acme", "upload", "first"))
    await asyncio.sleep(1)  # several intervals
    assert (await log.js.stream_info(log.settings.name)).state.bytes < 100_000
    subject = Subject(v1.SubjectKind.SUBJECT_KIND_CONSUMER_ID, "nobody")
    await node.commit(
        BeginErasure("acme", "request", "erasure", [subject], suppress=False),
        EraseEvents("acme", "erasure"),
        CompleteErasure("acme", "erasure"),
    )

    async def is_filled() -> bool:
        return (await log.js.stream_info(log.settings.name)).state.bytes >= 9_000_000

    await eventually(is_filled, "a block is filled")
    await node.record(customer_event("b"))
    assert [event_id for _, event_id in await node.positions()] == ["a", "b"]
