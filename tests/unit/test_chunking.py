"""Chunks out of a source: their size, their order, and how they read the source."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from engagement import v1
from engagement.errors import SourceMismatchError
from engagement.limits import MAX_EVENT_BYTES
from engagement.upload.chunking import Chunk, Chunker, Source
from engagement.upload.source import SourceDigester
from tests.support.waiting import deadline

MAX_BYTES = 100_000
Rejected = list[tuple[int, v1.Event, v1.EventError]]


def event(number: int, *, characters: int = 0) -> v1.Event:
    return v1.Event(event_id=f"e-{number}", customer_info=v1.CustomerInfo(balance="x" * characters))


def events(count: int) -> list[v1.Event]:
    return [event(number) for number in range(count)]


@asynccontextmanager
async def chunker(
    source: Source, *, max_events: int = 10, skip_events: int = 0, rejected: Rejected | None = None
) -> AsyncIterator[Chunker]:
    found: Rejected = [] if rejected is None else rejected
    made = Chunker(source, chunk_events=None, reject=lambda *rejection: found.append(rejection))
    opened = v1.UploadEventsResponse.Opened(max_chunk_events=max_events, max_chunk_bytes=MAX_BYTES)
    made.begin(opened, SourceDigester("upload", "salt"), skip_events=skip_events, is_finished=False)
    try:
        yield made
    finally:
        await made.close()


async def chunks_of(made: Chunker) -> list[Chunk]:
    return [chunk async for chunk in until_none(made)]


async def until_none(made: Chunker) -> AsyncIterator[Chunk]:
    while (chunk := await made.next()) is not None:
        yield chunk


def ids(chunks: list[Chunk]) -> list[str]:
    return [event.event_id for chunk in chunks for event in chunk.events()]


async def test_chunks_hold_all_events_in_order_with_their_positions() -> None:
    async with chunker(events(25)) as made:
        chunks = await chunks_of(made)
    assert [chunk.sequence for chunk in chunks] == [1, 2, 3]
    assert [len(chunk.events()) for chunk in chunks] == [10, 10, 5]
    assert [chunk.first_position for chunk in chunks] == [0, 10, 20]
    assert ids(chunks) == [f"e-{number}" for number in range(25)]
    assert made.last_sequence == 3


async def test_no_chunk_is_larger_than_allowed() -> None:
    large = [event(number, characters=30_000) for number in range(10)]
    async with chunker(large) as made:
        chunks = await chunks_of(made)
    assert [len(chunk.events()) for chunk in chunks] == [3, 3, 3, 1]
    assert all(len(chunk.request) <= MAX_BYTES for chunk in chunks)


async def test_an_event_that_no_chunk_can_carry_is_rejected_in_its_place() -> None:
    rejected: Rejected = []
    source = [event(0), event(1, characters=MAX_EVENT_BYTES), event(2)]
    async with chunker(source, rejected=rejected) as made:
        chunks = await chunks_of(made)
    assert ids(chunks) == ["e-0", "e-2"]
    assert [chunk.first_position for chunk in chunks] == [0, 2]
    ((position, rejected_event, error),) = rejected
    assert (position, rejected_event.event_id) == (1, "e-1")
    assert error.reason == v1.ErrorReason.ERROR_REASON_FIELD_INVALID
    assert error.violations[0].rule == "server.event.max_bytes"
    assert f"at most {MAX_EVENT_BYTES} bytes" in error.message


async def test_an_event_that_is_larger_than_a_chunk_is_alone_in_one() -> None:
    source = [event(0), event(1, characters=MAX_BYTES), event(2, characters=MAX_BYTES), event(3), event(4)]
    async with chunker(source) as made:
        chunks = await chunks_of(made)
    assert [[each.event_id for each in chunk.events()] for chunk in chunks] == [
        ["e-0"],
        ["e-1"],
        ["e-2"],
        ["e-3", "e-4"],
    ]


async def test_an_event_without_id_is_sent_without_one() -> None:
    nameless = v1.Event(customer_info=v1.CustomerInfo(balance="1"))
    async with chunker([nameless, nameless]) as made:
        (chunk,) = await chunks_of(made)
    assert list(chunk.events()) == [nameless, nameless]


async def test_a_source_may_reuse_its_event_object() -> None:
    def source() -> Iterator[v1.Event]:
        reused = v1.Event()
        for number in range(3):
            reused.event_id = f"e-{number}"
            yield reused

    async with chunker(source()) as made:
        assert ids(await chunks_of(made)) == ["e-0", "e-1", "e-2"]


async def test_the_source_is_read_at_most_one_chunk_ahead() -> None:
    read = 0

    def source() -> Iterator[v1.Event]:
        nonlocal read
        for read in range(1, 1001):
            yield event(read)

    async with chunker(source()) as made:
        await made.next()
        await made.next()
        await asyncio.sleep(0)
        assert read == 30


async def test_a_source_that_pauses_does_not_hold_back_what_it_gave() -> None:
    more = asyncio.Event()

    async def source() -> AsyncIterator[v1.Event]:
        yield event(0)
        await more.wait()
        yield event(1)

    async with chunker(source()) as made, deadline("both chunks were made"):
        first = await made.next()
        more.set()
        second = await made.next()
    assert first is not None
    assert second is not None
    assert ids([first, second]) == ["e-0", "e-1"]


async def test_waiting_for_a_chunk_may_be_cancelled_without_loss() -> None:
    gate = asyncio.Event()

    async def source() -> AsyncIterator[v1.Event]:
        yield event(0)
        await gate.wait()
        yield event(1)

    async with chunker(source()) as made:
        for _ in range(3):
            waiting = asyncio.create_task(made.next())
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
        gate.set()
        assert ids(await chunks_of(made)) == ["e-0", "e-1"]


async def test_what_a_failing_source_gave_before_comes_out() -> None:
    def source() -> Iterator[v1.Event]:
        yield from events(3)
        raise LookupError("the file is broken")

    async with chunker(source()) as made:
        assert ids(await chunks_of(made)) == ["e-0", "e-1", "e-2"]
        assert isinstance(made.error, LookupError)
        assert made.has_ended


async def test_skipped_events_are_those_that_were_sent_before() -> None:
    source = [event(0), event(1, characters=MAX_EVENT_BYTES), *(event(number) for number in range(2, 8))]
    async with chunker(source, skip_events=3) as made:
        chunks = await chunks_of(made)
    assert ids(chunks) == ["e-4", "e-5", "e-6", "e-7"]
    assert chunks[0].first_position == 4


@pytest.mark.parametrize("kind", [list, iter])
async def test_a_source_shorter_than_what_is_committed_is_an_error(
    kind: Callable[[list[v1.Event]], Source],
) -> None:
    async with chunker(kind(events(3)), skip_events=5) as made:
        assert await made.next() is None
        assert isinstance(made.error, SourceMismatchError)
        assert "2 events" in str(made.error)


async def test_an_empty_source_has_no_chunks() -> None:
    async with chunker([]) as made:
        assert await made.next() is None
        assert await made.next() is None
        assert made.last_sequence == 0
