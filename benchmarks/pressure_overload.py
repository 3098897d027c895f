"""More single calls than the server can take, and small batches over many accounts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from statistics import median
from typing import Final

from benchmarks.pressure_run import Neighbour, PressureRun, Report
from benchmarks.pressure_singles import WITH_DELAY
from benchmarks.report import NO_TARGET, Figure, Target, percentile_99
from benchmarks.settings import announce

MAX_LATER_RATIO: Final = Target(below=3)
_OVERLOAD: Final = "Four times the single calls that the server can take"
_ACCOUNTS: Final = "RecordEvents of 20 events"
_NONE: Final = Target(below=1)
_MAX_RATIO: Final = Target(below=10)
_MIN_RATE: Final = Target(minimum=0.9)
_CAPACITY_SECONDS: Final = 3
_OVERLOAD_SECONDS: Final = 5
_QUIET_SECONDS: Final = 5
_AFTER_SECONDS: Final = 2
_CALLERS: Final = 16
_FACTOR: Final = 4
_CONNECTIONS: Final = 4
_ACCOUNT: Final = "overload"
_BATCH: Final[Mapping[str, int]] = {"callers": 8, "events": 20}
_BATCH_SECONDS: Final = 1.5
_BATCH_ROUNDS: Final = 2


async def measure_overload(run: PressureRun) -> list[Figure]:
    """The capacity, and what becomes of calls when four times as many are made whatever is answered."""
    announce("overload: capacity")
    await run.settle()
    alone = await run.measure(_CAPACITY_SECONDS)
    record = Neighbour("closed-loop", {"callers": _CALLERS, "connections": _CONNECTIONS, "account": _ACCOUNT})
    _, closed = await run.beside(record, asyncio.sleep(_CAPACITY_SECONDS))
    capacity = closed["per_second"]
    announce(f"overload: {_FACTOR} times {capacity:,.0f} calls a second")
    flood = Neighbour(
        "open-loop",
        {"a_second": _FACTOR * capacity, "connections": _CONNECTIONS, "account": _ACCOUNT},
    )
    beside, report = await run.beside(flood, run.measure(_OVERLOAD_SECONDS))
    await asyncio.sleep(_QUIET_SECONDS)
    after = await run.measure(_AFTER_SECONDS)

    def figure(name: str, value: float, unit: str = "", target: Target = NO_TARGET) -> Figure:
        return Figure(_OVERLOAD, name, value, unit, target)

    idle_ms = percentile_99(alone.latencies_ms["RecordEvent"] or [float("inf")])
    acked_ms = percentile_99(report["latencies_ms"] or [float("inf")])
    return [
        figure(f"capacity, {_CALLERS} callers", capacity, "calls/s"),
        *(figure(name, count / report["seconds"], "calls/s") for name, count in _outcomes(report).items()),
        figure("refused without a delay to retry after", _without_delay(report), "calls", _NONE),
        figure("acknowledged calls, 99th percentile", acked_ms, "ms"),
        figure("acknowledged calls, 99th percentile / idle", acked_ms / idle_ms, "", _MAX_RATIO),
        figure("the caller of another connection, 99th percentile", beside.p99_ms, "ms"),
        figure("its refused calls", beside.refused.total(), "calls"),
        *(figure(f"of these {reason}", count, "calls") for reason, count in beside.refused.items()),
        figure(
            f"its median {_QUIET_SECONDS} s later / before", after.p50_ms / alone.p50_ms, "", MAX_LATER_RATIO
        ),
    ]


def _outcomes(report: Report) -> Mapping[str, float]:
    """What became of the calls that were due."""
    notes = report["notes"]
    return {
        name: notes.get(name, 0)
        for name in ("sent", "not sent, too many unanswered", "acknowledged", "refused", "unanswered")
    }


def _without_delay(report: Report) -> float:
    refused: Mapping[str, int] = report["refused"]
    return sum(count for reason, count in refused.items() if reason != WITH_DELAY)


async def measure_accounts(run: PressureRun) -> list[Figure]:
    """Rates of small batches over a thousand accounts, and over one, in turns."""
    announce("small batches over a thousand accounts, and over one")
    rates: dict[int, list[float]] = {1: [], 1_000: []}
    for _ in range(_BATCH_ROUNDS):
        for accounts, samples in rates.items():
            neighbour = Neighbour("record-batches", {**_BATCH, "accounts": accounts})
            _, report = await run.beside(neighbour, asyncio.sleep(_BATCH_SECONDS))
            samples.append(report["per_second"])
    many, one = rates[1_000], rates[1]
    return [
        Figure.of_median(_ACCOUNTS, name="over one account", samples=one, unit="calls/s"),
        Figure.of_median(_ACCOUNTS, name="over a thousand accounts", samples=many, unit="calls/s"),
        Figure(_ACCOUNTS, "a thousand accounts / one", median(many) / median(one), "", _MIN_RATE),
    ]
