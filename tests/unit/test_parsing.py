"""Large messages are parsed in turns of connections; small ones, and other work, come between them."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from engagement import v1
from engagement_server.api.grpc.call import Context
from engagement_server.api.grpc.parsing import Parsing
from engagement_server.errors import FieldInvalidError
from tests.support.events import customer_event
from tests.support.waiting import deadline

LARGE = v1.RecordEventRequest(account_id="large", event=customer_event(balance="x" * 40_000))


class Connection:
    """Whatever a call knows of its connection."""

    def __init__(self, name: str) -> None:
        self._name = name

    def peer(self) -> str:
        return self._name


class Calls:
    """Calls whose messages are parsed, and the order in which that is done."""

    def __init__(self) -> None:
        self._parse = Parsing().parser(v1.RecordEventRequest)
        self.parsed: list[str] = []

    def begin(self, name: str, connection: str, data: bytes) -> asyncio.Task[Any]:
        return asyncio.create_task(self._run(name, connection, data))

    async def _run(self, name: str, connection: str, data: bytes) -> None:
        try:
            await self._parse(cast("Context", Connection(connection)), data)
        finally:
            self.parsed.append(name)


async def test_connections_take_turns_and_small_messages_wait_for_none() -> None:
    calls, large = Calls(), LARGE.SerializeToString()
    running = [calls.begin(f"greedy {number}", "greedy", large) for number in range(20)]
    running.append(calls.begin("modest", "other", large))
    running.append(calls.begin("small", "other", b""))
    async with deadline("all were parsed"):
        await asyncio.gather(*running)
    assert calls.parsed.index("small") == 0
    assert calls.parsed.index("modest") <= 2
    assert [name for name in calls.parsed if "greedy" in name] == [f"greedy {number}" for number in range(20)]


async def test_other_work_comes_between_two_large_messages() -> None:
    calls, large = Calls(), LARGE.SerializeToString()
    running = [calls.begin("large", f"{number}", large) for number in range(20)]
    most, before = 0, 0
    while not all(task.done() for task in running):
        await asyncio.sleep(0)
        most, before = max(most, len(calls.parsed) - before), len(calls.parsed)
    assert most == 1


async def test_calls_that_are_cancelled_or_fail_pass_their_turn_on() -> None:
    calls, large = Calls(), LARGE.SerializeToString()
    running = [calls.begin(f"{number}", "greedy", large) for number in range(9)]
    broken = calls.begin("broken", "greedy", large[:-1])
    last = calls.begin("last", "greedy", large)
    await asyncio.sleep(0)  # so that they wait
    for task in running:
        task.cancel()
    async with deadline("the others had their turn"):
        with pytest.raises(FieldInvalidError):
            await broken
        await last
    assert calls.parsed[-2:] == ["broken", "last"]
