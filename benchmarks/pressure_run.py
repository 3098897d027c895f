"""What the parts of a pressure run share: a server, the well-behaved caller, neighbours, and their ledger."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any, Final, NamedTuple, TypeVar

import grpc

from benchmarks import usage
from benchmarks.child import Child
from benchmarks.pressure_ledger import Ledger
from benchmarks.pressure_load import connection
from benchmarks.processes import RunningServer
from benchmarks.report import percentile_99

T = TypeVar("T")
Report = Mapping[str, Any]  # Any: what JSON holds
_NEIGHBOURS: Final = "benchmarks.pressure_neighbours"
_FIRST_SECONDS: Final = 3.0
_SETTLE_SECONDS: Final = 0.5
_MAX_SETTLE_SECONDS: Final = 20.0
_CALM_RATIO: Final = 3
_CALM_MEASUREMENTS: Final = 2
_CALLER: Final = "benchmarks.pressure_caller"


@dataclass(frozen=True, slots=True)
class Calls:
    """The calls that the caller made in a while."""

    latencies_ms: Mapping[str, Sequence[float]]
    """Of those that were answered, by kind."""
    refused: Counter[str]

    @property
    def all_ms(self) -> Sequence[float]:
        """Of all kinds together."""
        return [latency for kind in self.latencies_ms.values() for latency in kind]

    @property
    def p50_ms(self) -> float:
        """The median; infinite if no call was answered."""
        return median(self.all_ms or [float("inf")])

    @property
    def p99_ms(self) -> float:
        """The 99th percentile; infinite if no call was answered."""
        return percentile_99(self.all_ms or [float("inf")])

    @property
    def slowest_kind(self) -> tuple[str, Sequence[float]]:
        """The kind of call with the highest 99th percentile."""
        return max(self.latencies_ms.items(), key=lambda kind: percentile_99(kind[1] or [float("inf")]))


class Neighbour(NamedTuple):
    """A kind of load, and how much of it."""

    kind: str
    options: Mapping[str, object]


class PressureRun:
    """One server with its caller; it knows what was acknowledged to everyone."""

    def __init__(self, server: RunningServer, caller: Child, channel: grpc.aio.Channel) -> None:
        self.first = Calls({}, Counter())
        """Of the caller alone, before anything else."""
        self.server = server
        self.channel = channel
        """For the benchmark's own calls."""
        self._caller = caller
        self._ledger = Ledger()

    @classmethod
    @asynccontextmanager
    async def on(cls, server: RunningServer) -> AsyncIterator[PressureRun]:
        """Connects the caller."""
        async with Child.started(_CALLER, server.address) as caller, connection(server.address) as channel:
            run = cls(server, caller, channel)
            await run.measure(_FIRST_SECONDS)  # warms up
            run.first = await run.measure(_FIRST_SECONDS)
            yield run

    async def measure(self, seconds: float) -> Calls:
        """The caller's calls of so many seconds."""
        self._caller.tell(f"measure {seconds}")
        report = await self._caller.answer()
        return Calls(report["latencies_ms"], Counter(report["refused"]))

    async def settle(self) -> None:
        """Waits until a neighbour that has ended is no longer felt, or for so long that it seems to stay."""
        end = time.monotonic() + _MAX_SETTLE_SECONDS
        calm = 0
        while calm < _CALM_MEASUREMENTS and time.monotonic() < end:
            calls = await self.measure(_SETTLE_SECONDS)
            calm = calm + 1 if not calls.refused and calls.p99_ms < _CALM_RATIO * self.first.p99_ms else 0

    async def beside(self, neighbour: Neighbour, work: Awaitable[T]) -> tuple[T, Report]:
        """Does the work while a neighbour is busy; what came of both."""
        done, (report,) = await beside(self.server.address, [neighbour], work)
        self._ledger.add(report)
        return done, report

    async def check(self) -> tuple[int, int, int]:
        """Events that were acknowledged to anyone, how many of them are missing, and how many repeated."""
        self._caller.tell("check")
        own = await self._caller.answer()
        missing = own["missing"] + await self._ledger.missing(self.channel)
        return own["acknowledged"] + self._ledger.acknowledged, missing, own["repeated"]

    def begin_peak(self) -> None:
        """Begins a new peak of memory."""
        for pid in self._pids() if usage.IS_SUPPORTED else ():
            usage.reset_peak(pid)

    @property
    def peak_megabytes(self) -> float:
        """The peaks of all processes of the server, added."""
        if not usage.IS_SUPPORTED:
            return 0.0
        return sum(usage.memory_megabytes(pid, "VmHWM") for pid in self._pids())

    def _pids(self) -> Sequence[int]:
        return [self.server.pid, *usage.children(self.server.pid)]


async def beside(
    address: str, neighbours: Sequence[Neighbour], work: Awaitable[T]
) -> tuple[T, Sequence[Report]]:
    """Does the work while neighbours are busy, each in its own process; what came of all."""
    async with AsyncExitStack() as stack:
        children = [
            await stack.enter_async_context(
                Child.started(_NEIGHBOURS, neighbour.kind, address, json.dumps(neighbour.options))
            )
            for neighbour in neighbours
        ]
        for child in children:
            await child.answer()
        for child in children:
            child.tell("begin")
        done = await work
        for child in children:
            child.tell("end")
        return done, await asyncio.gather(*(child.answer() for child in children))
