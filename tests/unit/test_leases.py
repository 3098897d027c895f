"""Leases of the rates: whatever the processes of a node do in which order, they let in what one would."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engagement_server.access import leases
from engagement_server.access.buckets import SPARE_SECONDS, Buckets, Draw, Rate, Rates
from engagement_server.access.leases import Leases
from tests.unit.test_buckets import SetClock

WORKERS = 3
MAX_EVENTS = 500
RATE = Rate(200.0, "crm", "acme")


class SlowLender:
    """The parent, whose messages arrive when a test says so."""

    def __init__(self, shared: Buckets) -> None:
        self._shared = shared
        self._travelling: list[asyncio.Future[None]] = []
        self.asked = 0

    async def lend(self, rates: Rates, *, returned: int, events: int) -> Draw:
        self.asked += 1
        await self._travel()
        if returned:
            self._shared.give_back(rates, events=returned)
        drawn = self._shared.draw(rates, events=events, spare_seconds=SPARE_SECONDS)
        await self._travel()
        return drawn

    def take_back(self, rates: Rates, *, returned: int) -> None:
        self._shared.give_back(rates, events=returned)

    async def deliver(self, chance: random.Random) -> None:
        """Lets one message arrive."""
        if self._travelling:
            self._travelling.pop(chance.randrange(len(self._travelling))).set_result(None)
        await settle()

    @property
    def is_travelling(self) -> bool:
        return bool(self._travelling)

    async def _travel(self) -> None:
        arrival = asyncio.get_running_loop().create_future()
        self._travelling.append(arrival)
        await arrival


async def settle() -> None:
    """Lets all tasks go as far as they can."""
    for _ in range(5):
        await asyncio.sleep(0)


class Node:
    """Workers that share the buckets of a parent, and what they have let in."""

    def __init__(self) -> None:
        self.clock = SetClock()
        self.shared = Buckets(clock=self.clock)
        self.lender = SlowLender(self.shared)
        self.workers = [self._worker() for _ in range(WORKERS)]
        self.let_in = 0
        self.calls: list[asyncio.Task[None]] = []

    def _worker(self) -> Leases:
        return Leases(self.lender, clock=self.clock)

    def call(self, worker: int, events: int) -> None:
        self.calls.append(asyncio.create_task(self._call(self.workers[worker], events)))

    def kill(self, worker: int) -> None:
        self.workers[worker] = self._worker()

    async def end(self) -> None:
        while self.lender.is_travelling or not all(call.done() for call in self.calls):
            await self.lender.deliver(random.Random(0))

    async def _call(self, worker: Leases, events: int) -> None:
        if not (await worker.draw((RATE,), events=events)).delay_seconds:
            self.let_in += events


_action = st.one_of(
    st.tuples(st.just("call"), st.integers(0, WORKERS - 1), st.integers(1, MAX_EVENTS)),
    st.tuples(st.just("call"), st.integers(0, WORKERS - 1), st.integers(1, 20)),
    st.tuples(st.just("deliver"), st.just(0), st.just(0)),
    st.tuples(st.just("wait"), st.integers(0, 2_000), st.just(0)),
    st.tuples(st.just("idle"), st.integers(0, WORKERS - 1), st.just(0)),
    st.tuples(st.just("kill"), st.integers(0, WORKERS - 1), st.just(0)),
)


@settings(deadline=None)
@given(st.lists(_action, max_size=60), st.randoms(use_true_random=False))
def test_workers_together_let_in_no_more_than_the_rate_the_burst_and_one_call(
    actions: Sequence[tuple[str, int, int]], chance: random.Random
) -> None:
    async def run() -> None:
        node = Node()
        begin = node.clock.now
        for action, number, events in actions:
            match action:
                case "call":
                    node.call(number, events)
                    await settle()
                case "deliver":
                    await node.lender.deliver(chance)
                case "wait":
                    node.clock.now += number / 1000
                case "idle":
                    node.workers[number].give_back_idle(used_before=node.clock.now)
                case "kill":
                    node.kill(number)
            allowed = RATE.burst + RATE.per_second * (node.clock.now - begin)
            assert node.let_in < allowed + MAX_EVENTS
        await node.end()

    asyncio.run(run())


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, WORKERS - 1), st.integers(1, 40)), max_size=30))
def test_what_is_given_back_is_all_that_was_not_used(calls: Sequence[tuple[int, int]]) -> None:
    async def run() -> None:
        node = Node()
        for worker, events in calls:
            node.call(worker, events)
        await node.end()
        node.clock.now += leases.IDLE_SECONDS / 1000  # less than what one event takes
        for leased in node.workers:
            leased.give_back_idle(used_before=float("inf"))
        left = RATE.burst - node.let_in
        drawn = node.shared.draw((RATE,), events=0, spare_seconds=1_000.0)
        assert drawn.spare == max(0, left) or (left <= 0 and drawn.delay_seconds)

    asyncio.run(run())


async def test_calls_of_one_worker_ask_once_for_many() -> None:
    node = Node()
    for _ in range(20):
        node.call(0, 1)
    await node.end()
    assert (node.let_in, node.lender.asked) == (20, 1)


async def test_a_refusal_is_not_asked_for_again_until_its_time() -> None:
    node = Node()
    node.shared.draw((RATE,), events=MAX_EVENTS)
    node.call(0, 1)
    await settle()
    await node.end()
    node.call(0, 1)
    await node.end()
    assert (node.let_in, node.lender.asked) == (0, 1)
    node.clock.now += 1
    node.call(0, 1)
    await node.end()
    assert (node.let_in, node.lender.asked) == (1, 2)


async def test_no_more_leases_are_held_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "MAX_LEASES", 1)
    node = Node()
    for account_id in ("acme", "other"):
        rate = RATE._replace(account_id=account_id)
        drawing = asyncio.create_task(node.workers[0].draw((rate,), events=1))
        await settle()
        await node.end()
        assert not (await drawing).delay_seconds
    spare = node.shared.draw((RATE,), events=0, spare_seconds=1_000.0).spare
    assert spare == RATE.burst - 1, "the lease that was pushed out was not given back"
