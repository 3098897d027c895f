"""The pool of readers: short reads share a thread, and none waits for a slow one."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from engagement_server.errors import OverloadedError
from engagement_server.governor.turns import Caller
from engagement_server.log.local import LocalLog
from engagement_server.store.database import DatabaseFile
from engagement_server.store.reader import Reader
from engagement_server.store.readers import MAX_WAITING_READS, Readers
from tests.support.waiting import DEADLINE_SECONDS, deadline, eventually

GREEDY, OTHER = Caller("greedy", "greedy account"), Caller("other", "other account")


@asynccontextmanager
async def opened(data_dir: Path, *, threads: int) -> AsyncIterator[Readers]:
    """Readers of a new store."""
    database = DatabaseFile(data_dir)
    log = LocalLog(database)
    readers = Readers(database, threads=threads)
    try:
        yield readers
    finally:
        readers.close()
        await log.close()
        database.close()


class SlowRead:
    """A read that ends when it is told to."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.may_end = threading.Event()

    def __call__(self, reader: Reader) -> int:
        self.started.set()
        assert self.may_end.wait(DEADLINE_SECONDS)
        return threading.get_ident()


def thread_of(reader: Reader) -> int:
    return threading.get_ident()


async def test_reads_that_are_short_share_one_thread(tmp_path: Path) -> None:
    async with opened(tmp_path, threads=4) as readers, deadline("reads"):
        threads = [await readers.run(thread_of) for _ in range(100)]
    # On a busy machine a read may wait long enough for the help of another thread, now and then.
    assert sum(one != other for one, other in pairwise(threads)) < 20


async def read_beside(readers: Readers, slow: list[SlowRead]) -> None:
    """Runs short reads while slow ones of another caller are running."""
    running = [asyncio.ensure_future(readers.run(each, caller=GREEDY)) for each in slow]
    short = await asyncio.gather(*[readers.run(thread_of, caller=OTHER) for _ in range(50)])
    await eventually(lambda: all(each.started.is_set() for each in slow), "all slow reads run")
    for each in slow:
        each.may_end.set()
    assert short[-1] not in await asyncio.gather(*running)


@pytest.mark.parametrize("slow_reads", [1, 2])
async def test_no_read_waits_for_slow_ones_while_a_thread_is_left(tmp_path: Path, slow_reads: int) -> None:
    async with opened(tmp_path, threads=4) as readers, deadline("short reads beside slow ones"):
        for _ in range(3):
            await read_beside(readers, [SlowRead() for _ in range(slow_reads)])
            for _ in range(300):  # until nothing is left of the backlog
                await readers.run(thread_of)


@pytest.mark.parametrize(
    ("caller", "other", "threads", "most"),
    [
        (lambda number: Caller("greedy", f"account {number % 3}"), OTHER, 2, 1),
        (lambda number: Caller("greedy", f"account {number % 3}"), OTHER, 4, 2),
        (lambda _: Caller("greedy", "acme"), Caller("other", "acme"), 3, 1),
        (lambda _: Caller("greedy", "acme"), Caller("other", "acme"), 4, 2),
        (lambda number: Caller(f"greedy {number % 3}", "acme"), OTHER, 2, 1),
        (lambda number: Caller(f"greedy {number % 3}", "acme"), OTHER, 3, 2),
        (lambda number: Caller(f"greedy {number % 3}", "acme"), OTHER, 4, 3),
    ],
)
async def test_neither_one_connection_nor_one_account_gets_the_last_thread(
    tmp_path: Path, caller: Callable[[int], Caller], other: Caller, threads: int, most: int
) -> None:
    slow = [SlowRead() for _ in range(2 * threads)]
    async with opened(tmp_path, threads=threads) as readers, deadline("reads"):
        running = [
            asyncio.ensure_future(readers.run(each, caller=caller(number)))
            for number, each in enumerate(slow)
        ]
        await eventually(lambda: sum(each.started.is_set() for each in slow) == most, "all that may run do")
        for _ in range(20):
            await readers.run(thread_of, caller=other)
        assert sum(each.started.is_set() for each in slow) == most
        for each in slow:
            each.may_end.set()
        await asyncio.gather(*running)
        assert isinstance(await readers.run(thread_of, caller=GREEDY), int)


async def test_an_idle_thread_takes_the_read_that_may_go_once_another_has_ended(tmp_path: Path) -> None:
    greedy, next_one, unrelated = [SlowRead()], SlowRead(), SlowRead()
    async with opened(tmp_path, threads=2) as readers, deadline("reads", seconds=20):
        running = [asyncio.ensure_future(readers.run(each, caller=GREEDY)) for each in greedy]
        await eventually(lambda: all(each.started.is_set() for each in greedy), "all that may run do")
        last = asyncio.ensure_future(readers.run(unrelated, caller=OTHER))
        await eventually(unrelated.started.is_set, "the last thread reads")
        # Neither may go: one is of the connection, the other of the account whose reads are running.
        running.append(asyncio.ensure_future(readers.run(next_one, caller=Caller("greedy", "another"))))
        waiting = asyncio.ensure_future(readers.run(thread_of, caller=Caller("another", "greedy account")))
        unrelated.may_end.set()
        await last
        greedy[0].may_end.set()
        await eventually(next_one.started.is_set, "the thread goes on")
        try:
            await waiting
        finally:
            for each in [*greedy, next_one]:
                each.may_end.set()
        await asyncio.gather(*running)


async def order_behind_a_slow_read(readers: Readers, callers: Sequence[Caller]) -> list[Caller]:
    """The order in which reads are done that were asked for, in this order, while another one ran."""
    done: list[Caller] = []
    slow = SlowRead()
    running = asyncio.ensure_future(readers.run(slow, caller=GREEDY))
    await eventually(slow.started.is_set, "the slow read runs")
    waiting = [
        asyncio.ensure_future(readers.run(lambda _, each=caller: done.append(each), caller=caller))  # type: ignore[misc]
        for caller in callers
    ]
    await asyncio.sleep(0)  # so that they are asked for
    slow.may_end.set()
    await asyncio.gather(running, *waiting)
    return done


@pytest.mark.parametrize("accounts", [1, 50])
async def test_connections_take_turns_however_many_accounts_one_names(tmp_path: Path, accounts: int) -> None:
    greedy = [Caller("greedy", f"account {number % accounts}") for number in range(50)]
    async with opened(tmp_path, threads=1) as readers, deadline("reads"):
        done = await order_behind_a_slow_read(readers, [*greedy, *[OTHER] * 5])
    assert [number for number, caller in enumerate(done) if caller == OTHER][-1] < 10
    assert len(done) == 55


async def test_accounts_of_a_connection_take_turns(tmp_path: Path) -> None:
    async with opened(tmp_path, threads=1) as readers, deadline("reads"):
        done = await order_behind_a_slow_read(readers, [*[GREEDY] * 20, Caller("greedy", "modest")])
    assert done.index(Caller("greedy", "modest")) <= 1


async def test_several_callers_get_no_more_than_a_turn_each(tmp_path: Path) -> None:
    slow = [SlowRead() for _ in range(20)]
    async with opened(tmp_path, threads=4) as readers, deadline("reads"):
        running = [
            asyncio.ensure_future(
                readers.run(each, caller=Caller(f"greedy {number % 3}", f"account {number % 3}"))
            )
            for number, each in enumerate(slow)
        ]
        await eventually(lambda: sum(each.started.is_set() for each in slow) == 4, "all threads read")
        other = asyncio.ensure_future(readers.run(thread_of, caller=Caller("other", "other account")))
        await asyncio.sleep(0)  # so that it is asked for
        ended = 0
        while not other.done():
            begun = [each for each in slow if each.started.is_set()]
            begun[ended].may_end.set()
            ended += 1
            await eventually(
                lambda: other.done() or sum(each.started.is_set() for each in slow) == 4 + ended,  # noqa: B023
                "the thread goes on",
            )
        assert ended <= 4  # one read of each connection, and one that makes way
        for each in slow:
            each.may_end.set()
        await asyncio.gather(*running)


async def test_one_caller_cannot_take_the_room_of_all(tmp_path: Path) -> None:
    slow = SlowRead()
    async with opened(tmp_path, threads=1) as readers, deadline("reads"):
        running = [asyncio.ensure_future(readers.run(slow, caller=GREEDY))]
        for _ in range(MAX_WAITING_READS // 2):
            running.append(asyncio.ensure_future(readers.run(thread_of, caller=GREEDY)))
        await eventually(slow.started.is_set, "the slow read runs")
        with pytest.raises(OverloadedError):
            await readers.run(thread_of, caller=GREEDY)
        other = asyncio.ensure_future(readers.run(thread_of, caller=OTHER))
        slow.may_end.set()
        assert isinstance(await other, int)
        refused = [
            each
            for each in await asyncio.gather(*running, return_exceptions=True)
            if isinstance(each, OverloadedError)
        ]
        assert 0 < len(refused) < MAX_WAITING_READS // 2
        assert isinstance(await readers.run(thread_of, caller=GREEDY), int)


@pytest.mark.parametrize("threads", [1, 2, 4])
async def test_a_result_does_not_wait_for_the_reads_behind_it(tmp_path: Path, threads: int) -> None:
    slow = [SlowRead() for _ in range(threads)]
    async with opened(tmp_path, threads=threads) as readers, deadline("the results of short reads"):
        short = [asyncio.ensure_future(readers.run(thread_of)) for _ in range(5)]
        running = [asyncio.ensure_future(readers.run(each)) for each in slow]
        await asyncio.gather(*short)
        for each in slow:
            each.may_end.set()
        await asyncio.gather(*running)


async def test_a_read_that_fails_fails_for_its_caller_alone(tmp_path: Path) -> None:
    def fail(reader: Reader) -> None:
        raise KeyError("a bug")

    async with opened(tmp_path, threads=2) as readers, deadline("reads"):
        results = await asyncio.gather(
            readers.run(fail), readers.run(thread_of), readers.run(fail), return_exceptions=True
        )
        assert [type(result) for result in results] == [KeyError, int, KeyError]
        assert await readers.run(lambda reader: reader.account_number("acme")) is None


async def test_a_caller_that_has_gone_leaves_the_others_alone(tmp_path: Path) -> None:
    slow = SlowRead()
    async with opened(tmp_path, threads=1) as readers, deadline("reads"):
        running = asyncio.ensure_future(readers.run(slow))
        waiting = asyncio.ensure_future(readers.run(thread_of))
        await eventually(slow.started.is_set, "the slow read runs")
        given_up = SlowRead()
        dropped = asyncio.ensure_future(readers.run(given_up))
        await asyncio.sleep(0)  # so that it is asked for
        running.cancel()
        dropped.cancel()
        slow.may_end.set()
        assert isinstance(await waiting, int)
        assert isinstance(await readers.run(thread_of), int)
        assert running.cancelled()
        assert not given_up.started.is_set()


async def test_a_read_that_is_given_up_takes_its_place_until_its_turn(tmp_path: Path) -> None:
    slow = SlowRead()
    held: weakref.WeakSet[SlowRead] = weakref.WeakSet()
    async with opened(tmp_path, threads=1) as readers, deadline("reads"):
        running = asyncio.ensure_future(readers.run(slow, caller=GREEDY))
        await eventually(slow.started.is_set, "the slow read runs")
        refused = 0
        for _ in range(2 * MAX_WAITING_READS):
            given_up = SlowRead()
            held.add(given_up)
            dropped = asyncio.ensure_future(readers.run(given_up, caller=GREEDY))
            del given_up
            await asyncio.sleep(0)  # so that it is asked for
            dropped.cancel()
            (result,) = await asyncio.gather(dropped, return_exceptions=True)
            refused += isinstance(result, OverloadedError)
            del dropped, result
        assert refused > MAX_WAITING_READS
        assert len(held) < MAX_WAITING_READS
        slow.may_end.set()
        await running
        await eventually(lambda: not held, "the reads that were given up are dropped")
        many = [readers.run(thread_of, caller=GREEDY) for _ in range(MAX_WAITING_READS // 3)]
        assert len(set(await asyncio.gather(*many))) == 1


async def test_more_reads_than_may_wait_are_refused(tmp_path: Path) -> None:
    slow = SlowRead()
    async with opened(tmp_path, threads=1) as readers, deadline("reads"):
        reads: list[Callable[[Reader], int]] = [slow, *[thread_of] * (MAX_WAITING_READS - 1)]
        running = [asyncio.ensure_future(readers.run(read)) for read in reads]
        await eventually(slow.started.is_set, "the slow read runs")
        with pytest.raises(OverloadedError):
            await readers.run(thread_of)
        slow.may_end.set()
        await asyncio.gather(*running)
        assert isinstance(await readers.run(thread_of), int)


async def test_close_drops_what_waits_and_ends_every_read(tmp_path: Path) -> None:
    async with opened(tmp_path, threads=2) as readers, deadline("reads"):
        running = [asyncio.ensure_future(readers.run(thread_of)) for _ in range(20)]
        await asyncio.sleep(0)  # so that they are asked for
        readers.close()
        results = await asyncio.gather(*running, return_exceptions=True)
        assert len(results) == 20
        assert {type(each) for each in results} <= {int, asyncio.CancelledError}
        with pytest.raises(RuntimeError):
            await readers.run(thread_of)


def test_readers_serve_one_event_loop_after_another(tmp_path: Path) -> None:
    created = DatabaseFile(tmp_path)
    created.open_writer().close()
    created.close()
    database = DatabaseFile(tmp_path)
    readers = Readers(database, threads=2)

    async def read() -> None:
        async with deadline("reads"):
            await asyncio.gather(*[readers.run(thread_of) for _ in range(20)])

    for _ in range(3):
        asyncio.run(read())
    readers.close()
    database.close()
