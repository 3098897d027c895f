"""Quotas of workers: the parent counts for all, and nothing stays taken by who has gone."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from engagement_server.access.buckets import Rate
from engagement_server.errors import OverloadedError, WriterFailedError
from engagement_server.workers import quotas
from engagement_server.workers.channel import Channel, Kind
from engagement_server.workers.quotas import SharedLedger, WorkerLedger
from tests.support.waiting import deadline

RATE = Rate(9.0, "crm", "acme")
BURST = 500


class Bench:
    """A parent and its workers in one process."""

    def __init__(self) -> None:
        self.shared = SharedLedger()
        self._tasks: list[asyncio.Task[None]] = []
        self._channels: list[Channel] = []

    async def worker(self) -> tuple[WorkerLedger, Channel]:
        """A worker, and its end of the channel."""
        ours, theirs = [await Channel.open(end) for end in socket.socketpair()]
        worker = WorkerLedger(theirs)
        self._channels += ours, theirs
        self._tasks += (
            asyncio.create_task(self._take(ours)),
            asyncio.create_task(self._answer(theirs, worker)),
        )
        return worker, theirs

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close()
        await asyncio.gather(*self._tasks)

    async def _take(self, channel: Channel) -> None:
        while (message := await channel.receive()) is not None:
            self.shared.take(channel, message)
        self.shared.drop(channel)

    @staticmethod
    async def _answer(channel: Channel, worker: WorkerLedger) -> None:
        while (message := await channel.receive()) is not None:
            worker.answer(message)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    await bench.close()


async def test_workers_share_buckets(bench: Bench) -> None:
    (first, _), (second, _) = await bench.worker(), await bench.worker()
    assert not (await first.draw((RATE,), events=BURST)).delay_seconds
    refused = await second.draw((RATE,), events=BURST)
    assert (refused.limit, refused.delay_seconds > 0) == (RATE.per_second, True)


async def test_addresses_have_nothing_to_spare_of_what_they_share(bench: Bench) -> None:
    worker, _ = await bench.worker()
    shared = Rate(100.0, "page")
    for number in range(BURST):
        rates = shared, Rate(10.0, "page", address=f"192.0.2.{number}")
        assert not (await worker.draw(rates, events=1)).delay_seconds


async def test_a_draw_whose_caller_has_gone_takes_nothing(bench: Bench) -> None:
    worker, _ = await bench.worker()
    for _ in range(5):
        drawing = asyncio.create_task(worker.draw((RATE,), events=BURST))
        await asyncio.sleep(0)
        drawing.cancel()
        await asyncio.wait([drawing])
    await worker.hold("streams", "a")  # the answers have come before
    assert not (await worker.draw((RATE,), events=BURST)).delay_seconds


async def test_a_hold_whose_caller_has_gone_is_released(bench: Bench) -> None:
    worker, _ = await bench.worker()
    holding = asyncio.create_task(worker.hold("streams", "a"))
    await asyncio.sleep(0)
    holding.cancel()
    await asyncio.wait([holding])
    await worker.hold("streams", "b")  # the answer to the first one has come before
    assert await worker.hold("streams", "c") == 2


async def test_a_worker_that_ends_holds_nothing(bench: Bench) -> None:
    (first, channel), (second, _) = await bench.worker(), await bench.worker()
    assert (await first.hold("streams", "a"), await second.hold("streams", "b")) == (1, 2)
    channel.abort()
    async with deadline("the hold has ended"):
        while await second.hold("streams", "c") != 2:
            second.release("streams", "c")


async def test_a_parent_that_fails_is_no_reason_to_wait_for_ever(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, _ = await bench.worker()
    monkeypatch.setattr(bench.shared, "_holds", None)
    with pytest.raises(WriterFailedError):
        await worker.hold("streams", "a")


async def test_requests_that_the_parent_does_not_answer_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quotas, "MAX_WAITING", 3)
    ours, theirs = [await Channel.open(end) for end in socket.socketpair()]
    worker = WorkerLedger(theirs)
    for name in "abc":
        holding = asyncio.create_task(worker.hold("streams", name))
        await asyncio.sleep(0)
        holding.cancel()
        await asyncio.wait([holding])
    with pytest.raises(OverloadedError):
        await worker.hold("streams", "d")
    message = await ours.receive()
    assert message is not None
    assert message.kind == Kind.QUOTA
    for channel in (ours, theirs):
        channel.abort()
