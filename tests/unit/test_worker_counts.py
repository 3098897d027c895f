"""What workers count reaches the parent, which answers each of them for all."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from typing import NamedTuple

import msgspec
import pytest

from engagement_server.errors import WriterFailedError
from engagement_server.workers import counts
from engagement_server.workers.channel import Channel, Kind, Message
from engagement_server.workers.counts import Part, SharedCounts, WorkerCounts
from tests.support.waiting import deadline, eventually

SNAPSHOT_BYTES = 1_000_000


class Snapshot(NamedTuple):
    """A number of a subject."""

    subject: str
    number: int


class Sum:
    """Counts of one kind: a number."""

    def __init__(self) -> None:
        self.number = 0

    def drain(self) -> Snapshot | None:
        drained = Snapshot("", self.number) if self.number else None
        self.number = 0
        return drained

    def merge(self, snapshot: Snapshot) -> None:
        self.number += snapshot.number

    def of(self, subject: str) -> Snapshot:
        return Snapshot(subject, self.number)


class Large(Sum):
    """Counts whose snapshots fill the socket."""

    def drain(self) -> Snapshot | None:
        drained = super().drain()
        return drained and drained._replace(subject="x" * SNAPSHOT_BYTES)


class Bench:
    """A parent and its workers in one process."""

    def __init__(self) -> None:
        self.sum = Sum()
        self._shared = SharedCounts({"sum": Part(self.sum, Snapshot)})
        self._tasks: list[asyncio.Task[None]] = []
        self._channels: list[Channel] = []

    async def worker(self) -> tuple[WorkerCounts, Sum]:
        ours, theirs = [await Channel.open(end) for end in socket.socketpair()]
        worker, part = WorkerCounts(theirs), Sum()
        worker.add("sum", Part(part, Snapshot))
        self._channels += ours, theirs
        self._tasks += (
            asyncio.create_task(self._take(ours)),
            asyncio.create_task(self._answer(theirs, worker)),
        )
        return worker, part

    async def _take(self, channel: Channel) -> None:
        while (message := await channel.receive()) is not None:
            self._shared.take(channel, message)

    async def _answer(self, channel: Channel, worker: WorkerCounts) -> None:
        while (message := await channel.receive()) is not None:
            worker.answer(message)

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close()
        await asyncio.wait(self._tasks)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    await bench.close()


async def test_a_worker_is_answered_with_its_own_counts_and_what_others_have_sent(bench: Bench) -> None:
    (first, here), (second, there) = await bench.worker(), await bench.worker()
    here.number, there.number = 3, 4
    async with deadline("the parent answered"):
        assert await first.ask("sum", "acme") == ("acme", 3)
        assert await second.ask("sum", "acme") == ("acme", 7)
        assert await first.ask("sum", "brand") == ("brand", 7)


async def test_counts_are_sent_by_themselves(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "SEND_SECONDS", 0.01)
    worker, part = await bench.worker()
    part.number = 5
    sending = asyncio.create_task(worker.send_periodically())
    await eventually(lambda: bench.sum.number == 5, "the parent has the counts")
    sending.cancel()


async def test_nothing_is_sent_if_nothing_was_counted() -> None:
    ours, theirs = [await Channel.open(end) for end in socket.socketpair()]
    worker, part = WorkerCounts(theirs), Sum()
    worker.add("sum", Part(part, Snapshot))
    worker.send()
    part.number = 1
    worker.send()
    worker.send()
    await theirs.close()
    message = await ours.receive()
    assert message is not None
    assert message.kind == Kind.COUNTED
    assert await ours.receive() is None
    await ours.close()


async def test_questions_wait_for_each_other_and_a_cancelled_one_gives_way(bench: Bench) -> None:
    worker, part = await bench.worker()
    part.number = 1
    asking = [asyncio.create_task(worker.ask("sum", str(number))) for number in range(50)]
    await asyncio.sleep(0)
    for task in asking[::2]:
        task.cancel()
    async with deadline("all others were answered"):
        answers = await asyncio.gather(*asking, return_exceptions=True)
    assert answers[1::2] == [(f"{number}", 1) for number in range(1, 50, 2)]


async def test_cancelled_questions_leave_the_parent_one_to_answer() -> None:
    ours, theirs = [await Channel.open(end) for end in socket.socketpair()]
    worker = WorkerCounts(theirs)
    worker.add("sum", Part(Sum(), Snapshot))
    for _ in range(100):
        asking = asyncio.create_task(worker.ask("sum", "acme"))
        await asyncio.sleep(0)  # so that it is asked
        asking.cancel()
        await asyncio.wait([asking])
    last = asyncio.create_task(worker.ask("sum", "brand"))
    async with deadline("the last one was answered"):
        for subject in ("acme", "brand"):
            message = await ours.receive()
            assert message is not None
            assert msgspec.msgpack.decode(message.data) == ["sum", subject]
            worker.answer(Message(Kind.RESPONSE, message.number, msgspec.msgpack.encode((subject, 1))))
        assert await last == ("brand", 1)
    await theirs.close()
    assert await ours.receive() is None
    await ours.close()


async def test_snapshots_do_not_pile_up_while_the_parent_does_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(counts, "SEND_SECONDS", 0)
    ours, theirs = [await Channel.open(end) for end in socket.socketpair()]
    worker, part = WorkerCounts(theirs), Large()
    worker.add("large", Part(part, Snapshot))
    sending = asyncio.create_task(worker.send_periodically())
    for _ in range(100):
        part.number += 1
        await asyncio.sleep(0)
    assert 0 < theirs.unread_bytes < 10 * SNAPSHOT_BYTES
    sending.cancel()
    worker.send()
    closing = asyncio.create_task(theirs.close())
    received = 0
    while (message := await ours.receive()) is not None:
        received += msgspec.msgpack.decode(message.data)[1][1]
    assert received == 100
    await closing
    await ours.close()


async def test_a_question_that_the_parent_cannot_answer_fails_and_the_next_is_answered(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    worker, part = await bench.worker()
    with caplog.at_level(logging.CRITICAL, "engagement_server.supervision"):
        async with deadline("the question failed"):
            with pytest.raises(WriterFailedError):
                await worker.ask("unknown", "acme")
        part.number = 2
        async with deadline("the next was answered"):
            assert await worker.ask("sum", "acme") == ("acme", 2)
