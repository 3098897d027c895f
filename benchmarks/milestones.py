"""What a growing store costs at some sizes, and what it takes at the last of them compared with the first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import grpc

from benchmarks import usage
from benchmarks.latency import WARM_UP_CALLS, spread, time_each, two_words
from benchmarks.load import ACCOUNT_ID
from benchmarks.processes import RunningServer
from benchmarks.report import Figure, Target
from benchmarks.settings import announce
from engagement import v1

MILESTONES: Final = (250_000, 1_000_000, 3_000_000)
"""Numbers of events."""
_PAGE_EVENTS: Final = 50
_CALLS: Final = 1_000
# A figure of the last size, divided by that of the first one.
_TARGETS: Final = {
    "upload": Target(minimum=0.8),
    "upload, processor time": Target(below=1.2),
    "disk": Target(below=1.1),
}
_MAX_RATIO: Final = Target(below=1.5)

# The first pages that are asked for, given an event that is stored.
_PAGES: Final[dict[str, Callable[[v1.Event], v1.ListEventsRequest]]] = {
    "newest page": lambda _: _page(v1.EventFilter(), newest_first=True),
    "page of a customer": lambda event: _page(v1.EventFilter(customer_ids=[event.customer_info.customer_id])),
    "page with two words": lambda event: _page(v1.EventFilter(text=two_words(event.customer_info))),
}


@dataclass(frozen=True, slots=True)
class Milestone:
    """A size of the store, and what was measured there."""

    events: int
    measured: dict[str, tuple[float, str]]
    """Values and their units."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """How the store grew since the last milestone."""

    rate: float
    """Events a second."""
    cpu_us: float
    """Processor time of the server for an event."""


async def measure_milestone(
    channel: grpc.aio.Channel,
    server: RunningServer,
    folder: Path,
    stored: Sequence[v1.Event],
    *,
    events: int,
    stretch: Stretch,
) -> Milestone:
    """Measures a store of so many events, some of which are given."""
    announce(f"growth: with {events:,} events")
    measured = {
        "upload": (stretch.rate, "events/s"),
        "disk": (usage.database_bytes(folder) / events, "bytes an event"),
    }
    if usage.IS_SUPPORTED:
        measured["upload, processor time"] = (stretch.cpu_us, "µs an event")
        measured["memory of the server"] = (usage.memory_megabytes(server.pid, "VmRSS"), "MB")
    wanted = spread(stored, WARM_UP_CALLS + _CALLS)
    stub = v1.EventServiceStub(channel)

    async def list_events(request: v1.ListEventsRequest) -> None:
        response = await stub.ListEvents(request)
        assert response.events, request

    for name, page in _PAGES.items():
        requests = [page(event) for event in wanted]
        before = usage.CpuTime.of(server.pid)
        samples_ms = await time_each(list_events, requests)
        used = usage.CpuTime.of(server.pid).since(before)
        measured[f"{name}, median"] = (median(samples_ms), "ms")
        if usage.IS_SUPPORTED:
            measured[f"{name}, processor time"] = (used.total_seconds / len(requests) * 1000, "ms a call")
    return Milestone(events, measured)


def milestone_figures(milestones: Sequence[Milestone]) -> list[Figure]:
    """The figures of each size, and the ratios of the last one to the first."""
    figures = [
        Figure(f"Growth: {each.events:,} events stored", name, value, unit)
        for each in milestones
        for name, (value, unit) in each.measured.items()
    ]
    if len(milestones) < 2:
        return figures
    first, last = milestones[0], milestones[-1]
    section = f"Growth: {last.events:,} / {first.events:,} events stored"
    return figures + [
        Figure(section, name, last.measured[name][0] / value, "", _TARGETS.get(name, _MAX_RATIO))
        for name, (value, _) in first.measured.items()
    ]


def _page(wanted: v1.EventFilter, *, newest_first: bool = False) -> v1.ListEventsRequest:
    return v1.ListEventsRequest(
        account_id=ACCOUNT_ID, filter=wanted, page_size=_PAGE_EVENTS, newest_first=newest_first
    )
