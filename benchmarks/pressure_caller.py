"""The well-behaved caller, in a process of its own: python -m benchmarks.pressure_caller ADDRESS.

Twenty times a second it records an event, reads it, and lists the newest ones. It has its own account and
connection, and repeats nothing. It hears `measure SECONDS` and `check`, and reports after each.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Awaitable
from typing import Final

import grpc
import uvloop

from benchmarks.child import Parent
from benchmarks.events import EventSource
from benchmarks.load import without_collections
from benchmarks.pressure_ledger import stored_ids
from benchmarks.pressure_load import OWN_CONNECTION, reason_of
from engagement import v1

CALLER_ACCOUNT: Final = "caller"
_ROUNDS_A_SECOND: Final = 20
_PAGE_EVENTS: Final = 10
_TIMEOUT_SECONDS: Final = 10
# A caller that waits for this many answers begins nothing new.
_MAX_ROUNDS: Final = 100


class Caller:
    """Calls at a steady pace, whether or not the calls before have their answers."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        self._ingest = v1.IngestServiceStub(channel)
        self._events = v1.EventServiceStub(channel)
        self._source = EventSource()
        self._acknowledged: list[str] = []
        self._latencies_ms: dict[str, list[float]] = {}
        self._refused: Counter[str] = Counter()

    async def measure(self, seconds: float) -> dict[str, object]:
        """Milliseconds of each call by its kind, and the refused ones by their reasons."""
        self._latencies_ms = {"RecordEvent": [], "GetEvent": [], "ListEvents": []}
        self._refused = Counter()
        rounds: set[asyncio.Task[None]] = set()
        begin = time.monotonic()
        with without_collections():
            for number in range(int(seconds * _ROUNDS_A_SECOND)):
                await asyncio.sleep(begin + number / _ROUNDS_A_SECOND - time.monotonic())
                if len(rounds) >= _MAX_ROUNDS:
                    self._refused["not called: too many calls have no answer"] += 1
                    continue
                task = asyncio.create_task(self._call_each())
                rounds.add(task)
                task.add_done_callback(rounds.discard)
            await asyncio.gather(*rounds)
        return {"latencies_ms": self._latencies_ms, "refused": self._refused}

    async def check(self) -> dict[str, int]:
        """How many events were acknowledged, and how many of them cannot be found."""
        found = await stored_ids(self._channel, CALLER_ACCOUNT)
        return {
            "acknowledged": len(self._acknowledged),
            "missing": len(set(self._acknowledged) - set(found)),
            "repeated": len(found) - len(set(found)),
        }

    async def _call_each(self) -> None:
        (event,) = self._source.take(1)
        record = v1.RecordEventRequest(account_id=CALLER_ACCOUNT, event=event)
        if await self._time("RecordEvent", self._ingest.RecordEvent(record, timeout=_TIMEOUT_SECONDS)):
            self._acknowledged.append(event.event_id)
            get = v1.GetEventRequest(account_id=CALLER_ACCOUNT, event_id=event.event_id)
            await self._time("GetEvent", self._events.GetEvent(get, timeout=_TIMEOUT_SECONDS))
        page = v1.ListEventsRequest(account_id=CALLER_ACCOUNT, page_size=_PAGE_EVENTS, newest_first=True)
        await self._time("ListEvents", self._events.ListEvents(page, timeout=_TIMEOUT_SECONDS))

    async def _time(self, kind: str, call: Awaitable[object]) -> bool:
        """Times a call; false if it was refused."""
        start = time.perf_counter()
        try:
            await call
        except grpc.aio.AioRpcError as error:
            self._refused[f"{kind} {reason_of(error)}"] += 1
            return False
        self._latencies_ms[kind].append((time.perf_counter() - start) * 1000)
        return True


async def _run(address: str) -> None:
    parent = Parent()
    await parent.connect()
    async with grpc.aio.insecure_channel(address, options=OWN_CONNECTION) as channel:
        caller = Caller(channel)
        while command := await parent.line():
            name, _, seconds = command.partition(" ")
            parent.report(await (caller.measure(float(seconds)) if name == "measure" else caller.check()))


if __name__ == "__main__":
    uvloop.run(_run(sys.argv[1]))
