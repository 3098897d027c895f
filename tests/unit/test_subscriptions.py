"""Subscriptions without a network: readers that stall, and reads that they share."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from engagement import v1
from engagement.limits import END_OF_TIME_MS
from engagement_server.cursor import first_position
from engagement_server.errors import CursorMalformedError, OverloadedError
from engagement_server.governor.turns import Caller
from engagement_server.model import UploadState
from engagement_server.operations import (
    ChunkCommitted,
    CommitChunk,
    ExpireEvents,
    ExpireUploads,
    OpenUpload,
    RecordBatch,
    Recorded,
)
from engagement_server.store.reader import Reader
from engagement_server.store.readers import MAX_WAITING_READS
from engagement_server.streams.feed import Segment
from tests.support.events import batch_of, customer_events
from tests.support.subscription_bench import Bench, StoppableReader
from tests.support.waiting import DEADLINE_SECONDS, deadline, eventually

BURST_EVENTS = 21_000


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    await bench.close()


async def test_a_reader_that_stops_is_told_that_it_fell_behind_and_misses_nothing(bench: Bench) -> None:
    await bench.record(1)
    reader = StoppableReader(bench)
    await reader.until(lambda each: "caught_up" in each.kinds)
    reader.gate.clear()
    await bench.record(BURST_EVENTS, start=1)
    reader.gate.set()
    await reader.until(lambda each: each.kinds.count("caught_up") == 2)
    assert reader.ids == [event.event_id for event in customer_events(BURST_EVENTS + 1)]
    fell_behind = next(each for each in reader.messages if each.HasField("fell_behind"))
    assert 20_000 < fell_behind.fell_behind.lag_events <= BURST_EVENTS
    await reader.end()


async def test_readers_at_the_same_place_share_a_read(bench: Bench) -> None:
    await bench.record(1)
    readers = [StoppableReader(bench, latest=True) for _ in range(50)]
    for reader in readers:
        await reader.until(lambda each: "caught_up" in each.kinds)
    before = bench.readers.count
    await bench.record(500, start=1)
    for reader in readers:
        await reader.until(lambda each: len(each.ids) == 500)
    # One segment ends right before the events, the other holds them.
    assert bench.readers.count - before <= 2
    for reader in readers:
        await reader.end()


async def test_nothing_that_was_removed_is_kept_for_the_next_reader(bench: Bench) -> None:
    await bench.record(10)
    first = StoppableReader(bench)
    await first.until(lambda each: "caught_up" in each.kinds)
    before = bench.readers.count
    second = StoppableReader(bench)
    await second.until(lambda each: "caught_up" in each.kinds)
    assert bench.readers.count == before + 1  # where the log ends; the events were kept
    await bench.committer.submit(ExpireEvents("acme", accepted_before_ms=END_OF_TIME_MS), returns=int)
    third = StoppableReader(bench)
    await third.until(lambda each: "caught_up" in each.kinds)
    assert (len(second.ids), third.ids) == (10, [])
    for reader in (first, second, third):
        await reader.end()


async def test_no_event_names_an_upload_whose_record_has_expired(bench: Bench) -> None:
    await bench.committer.submit(OpenUpload("acme", "upload", "owner"), returns=UploadState)
    brought = CommitChunk("acme", "upload", "owner", 1, batch_of(customer_events(3)))
    await bench.committer.submit(brought, returns=ChunkCommitted)
    await bench.record(1, start=3)
    first = StoppableReader(bench)
    await first.until(lambda each: "caught_up" in each.kinds)
    await bench.committer.submit(ExpireUploads(END_OF_TIME_MS), returns=int)
    second = StoppableReader(bench)
    await second.until(lambda each: "caught_up" in each.kinds)
    places = [
        [each.upload.upload_id for message in reader.messages for each in message.batch.events]
        for reader in (first, second)
    ]
    assert places == [["upload"] * 3 + [""], [""] * 4]
    for reader in (first, second):
        await reader.end()


@pytest.mark.parametrize("wanted", [v1.EventFilter(), v1.EventFilter(text="142")], ids=["all", "some"])
async def test_any_number_of_notices_come_in_their_places(bench: Bench, wanted: v1.EventFilter) -> None:
    erased = customer_events(100)
    for number, event in enumerate(erased):
        event.consumer_id = f"consumer-{number}"
    await bench.committer.submit(RecordBatch("acme", batch_of(erased), is_atomic=True), returns=Recorded)
    for number in range(100):
        await bench.erase(f"consumer-{number}")
        if number == 50:
            await bench.record(100, start=100)
    reader = StoppableReader(bench, wanted=wanted)
    await reader.until(lambda each: "caught_up" in each.kinds)
    notices = [each.erasure_notice for each in reader.messages if each.HasField("erasure_notice")]
    assert [notice.erasure_id for notice in notices] == [
        f"erasure of consumer-{number}" for number in range(100)
    ]
    assert {len(notice.erased_cursors) for notice in notices} == {1}
    assert reader.kinds == [
        "started", *["erasure_notice"] * 51, "batch", *["erasure_notice"] * 49, "caught_up",
    ]  # fmt: skip
    assert len(reader.ids) == (1 if wanted.text else 100)
    await reader.end()


async def _record_for(bench: Bench, *consumer_ids: str) -> None:
    """Records an event for each, with the number of its place as its id."""
    events = customer_events(len(consumer_ids))
    for number, (event, consumer_id) in enumerate(zip(events, consumer_ids, strict=True)):
        event.event_id, event.consumer_id = str(number), consumer_id
    await bench.committer.submit(RecordBatch("acme", batch_of(events), is_atomic=True), returns=Recorded)


async def _stopped_reader(bench: Bench, wanted: v1.EventFilter | None = None) -> StoppableReader:
    """A reader that took nothing of the first batch, which is being sent to it."""
    reader = StoppableReader(bench, latest=True, wanted=wanted)
    await reader.until(lambda each: "caught_up" in each.kinds)
    reader.gate.clear()
    return reader


async def _until_sent(*readers: StoppableReader) -> None:
    async with deadline("a batch was being sent to each reader"):
        for reader in readers:
            await reader.is_waited_for.wait()


async def test_what_is_erased_is_not_sent_to_a_reader_that_has_yet_to_take_what_comes_before_it(
    bench: Bench,
) -> None:
    reader = await _stopped_reader(bench)
    await _record_for(bench, *["kept"] * 600, *["gone", "kept"] * 50)
    await _until_sent(reader)
    await bench.erase("gone")
    reader.gate.set()
    await reader.until(lambda each: "erasure_notice" in each.kinds)
    assert reader.ids == [str(number) for number in (*range(600), *range(601, 700, 2))]
    assert reader.kinds[2:] == ["batch", "batch", "erasure_notice"]
    (notice,) = [each.erasure_notice for each in reader.messages if each.HasField("erasure_notice")]
    assert len(notice.erased_cursors) == 50
    assert not reader.was_reset
    await reader.end()


async def test_a_stream_is_reset_only_if_its_reader_left_unread_what_is_erased(bench: Bench) -> None:
    holding = await _stopped_reader(bench)
    without = await _stopped_reader(bench, v1.EventFilter(consumer_ids=["kept"]))
    reading = StoppableReader(bench, latest=True)
    await reading.until(lambda each: "caught_up" in each.kinds)
    await _record_for(bench, *["kept", "gone"] * 20)
    await _until_sent(holding, without)
    await reading.until(lambda each: len(each.ids) == 40)
    await bench.erase("gone")
    assert [reader.was_reset for reader in (holding, without, reading)] == [True, False, False]
    without.gate.set()
    for reader in (without, reading):
        await reader.until(lambda each: "erasure_notice" in each.kinds)
    assert (holding.ids, without.ids) == ([], [str(number) for number in range(0, 40, 2)])
    for reader in (holding, without, reading):
        await reader.end()


async def test_what_is_erased_while_it_is_being_read_is_not_sent(bench: Bench) -> None:
    await _record_for(bench, "kept", "gone", "kept")
    reader = StoppableReader(bench)
    reader.gate.clear()
    await _until_sent(reader)  # the first message
    bench.readers.gate.clear()
    reader.gate.set()
    await eventually(lambda: bench.readers.withheld == 1, "the events were read")
    await bench.erase("gone")
    bench.readers.gate.set()
    await reader.until(lambda each: "erasure_notice" in each.kinds)
    assert reader.ids == ["0", "2"]
    await reader.end()


async def test_a_burst_does_not_pass_the_limit_of_subscriptions(tmp_path: Path) -> None:
    bench = Bench(tmp_path, max_subscriptions=6)
    burst = [StoppableReader(bench) for _ in range(60)]
    await eventually(
        lambda: all(each.has_ended or "caught_up" in each.kinds for each in burst), "each has begun or ended"
    )
    running = [each for each in burst if not each.has_ended]
    assert len(running) == 3  # what one connection gets of 6
    for reader in burst:
        if reader.has_ended:
            with pytest.raises(OverloadedError):
                await reader.until_end()
    for reader in running:
        await reader.end()
    # Each has given back its room, even those that never begin.
    again = [StoppableReader(bench, after_cursor="no cursor") for _ in range(3)]
    for reader in again:
        with pytest.raises(CursorMalformedError):
            await reader.until_end()
    last = StoppableReader(bench)
    await last.until(lambda each: "caught_up" in each.kinds)
    await last.end()
    await bench.close()


GREEDY, MODEST = Caller("greedy", "acme"), Caller("modest", "acme")


@asynccontextmanager
async def overloaded_for_greedy(bench: Bench) -> AsyncIterator[None]:
    """Keeps all reads waiting that one caller may have; others may still read."""
    runs, may_end = threading.Event(), threading.Event()

    def wait(_: Reader) -> None:
        runs.set()
        assert may_end.wait(DEADLINE_SECONDS)

    crowd = [asyncio.ensure_future(bench.readers.run(wait, caller=GREEDY)) for _ in range(MAX_WAITING_READS)]
    await eventually(runs.is_set, "a read of the crowd runs")
    yield
    may_end.set()
    await asyncio.gather(*crowd, return_exceptions=True)


def start_read(bench: Bench, wanted: v1.EventFilter, caller: Caller) -> asyncio.Future[Segment]:
    after = first_position(1)
    feed = bench.subscriptions.feed
    reading = feed.read("acme", wanted, after=after, tail=after + 10, mask=None, caller=caller)
    return asyncio.ensure_future(reading)


@pytest.mark.parametrize("wanted", [v1.EventFilter(), v1.EventFilter(text="customer")], ids=["all", "some"])
async def test_a_shared_read_that_is_refused_for_one_is_done_for_the_others(
    bench: Bench, wanted: v1.EventFilter
) -> None:
    await bench.record(10)
    async with overloaded_for_greedy(bench):
        before = bench.readers.count
        callers = [GREEDY, MODEST, GREEDY, MODEST]  # the first of them starts the read that all share
        reads = [start_read(bench, wanted, caller) for caller in callers]
        results = await asyncio.gather(*reads, return_exceptions=True)
        for caller, result in zip(callers, results, strict=True):
            assert isinstance(result, OverloadedError if caller is GREEDY else Segment), (caller, result)
        assert bench.readers.count - before == (3 if wanted.ByteSize() else 2)


async def test_a_read_that_was_just_refused_for_one_is_begun_again_for_the_next(bench: Bench) -> None:
    await bench.record(10)
    async with overloaded_for_greedy(bench):
        refused = start_read(bench, v1.EventFilter(), GREEDY)
        await asyncio.sleep(0)  # the next one comes right after the read has failed
        assert (await start_read(bench, v1.EventFilter(), MODEST)).events
        with pytest.raises(OverloadedError):
            await refused
