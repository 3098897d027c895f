"""Reading what blocks beside the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import aclosing

import pytest

from engagement.cli.background import MAX_BATCH_BYTES, MAX_BATCH_ITEMS, BackgroundReader
from tests.support.waiting import DEADLINE_SECONDS, deadline


async def test_items_come_in_their_order_and_in_bounded_batches() -> None:
    sizes = [1] * (MAX_BATCH_ITEMS + 1) + [MAX_BATCH_BYTES] * 2
    batches = [batch async for batch in BackgroundReader(sizes, size_of=lambda size: size).batches()]
    assert [len(batch) for batch in batches] == [MAX_BATCH_ITEMS, 2, 1]
    assert [size for batch in batches for size in batch] == sizes


async def test_what_the_source_raises_comes_out_behind_its_items() -> None:
    def items() -> Iterator[int]:
        yield 1
        reader.flush()
        raise ValueError("broken")

    reader = BackgroundReader(items(), size_of=lambda _: 1)
    async with aclosing(reader.batches()) as batches:
        assert await anext(batches) == [1]
        with pytest.raises(ValueError, match="broken"):
            await anext(batches)


async def test_a_flushed_item_arrives_while_the_source_waits() -> None:
    more = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        reader.flush()
        more.wait()
        yield 2

    reader = BackgroundReader(items(), size_of=lambda _: 1)
    async with deadline("the item arrived"), aclosing(reader.batches()) as batches:
        assert await anext(batches) == [1]
        more.set()
        assert await anext(batches) == [2]


async def test_a_source_that_nobody_reads_any_more_is_left() -> None:
    left = threading.Event()

    def items() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            left.set()

    source = items()
    async with aclosing(BackgroundReader(source, size_of=lambda _: 1).batches()) as batches:
        await anext(batches)
    del source
    assert await asyncio.to_thread(left.wait, DEADLINE_SECONDS)
