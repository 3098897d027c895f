"""One growing store: whether the rate holds, and the resources and latency of a server with all events."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import grpc

from benchmarks import usage
from benchmarks.events import EventSource
from benchmarks.latency import measure_latency
from benchmarks.load import chunk_message, time_upload
from benchmarks.milestones import MILESTONES, Milestone, Stretch, measure_milestone, milestone_figures
from benchmarks.processes import RunningServer, engagement_server
from benchmarks.report import Figure, Target
from benchmarks.settings import Part, Settings, announce
from engagement import v1

_RESOURCES = "Resources of the growing server"
_MIN_LAST_TO_FIRST = Target(minimum=0.8)
_MAX_MEMORY = Target(below=400)
# Milestones are multiples of it.
_WINDOW_EVENTS = 50_000
_WINDOWS_A_ROW = 5


class _Growth:
    """A store that grows, and what was seen meanwhile."""

    def __init__(
        self, channel: grpc.aio.Channel, server: RunningServer, folder: Path, *, has_milestones: bool
    ) -> None:
        self.rates: list[float] = []
        """Events a second of each window."""
        self.samples: list[v1.Event] = []
        """The first event of each chunk."""
        self.milestones: list[Milestone] = []
        self.sent_bytes = 0
        self.cpu = usage.CpuTime(0.0, {})
        """Of the server, without what was measured at milestones."""
        self.client_cpu_seconds = 0.0
        """Of the windows alone, without making the events."""
        self._channel = channel
        self._server = server
        self._folder = folder
        self._has_milestones = has_milestones
        self._source = EventSource()

    async def grow(self, events: int, *, window_events: int) -> None:
        """Uploads so many events; those of a window are made and serialized before it is timed."""
        begun, first_window = usage.CpuTime.of(self._server.pid), 0
        for end in range(window_events, events + 1, window_events):
            announce(f"growth: {end:,} of {events:,} events")
            await self._upload(window_events)
            is_milestone = self._has_milestones and end in MILESTONES
            if is_milestone or end == events:
                used = usage.CpuTime.of(self._server.pid).since(begun)
                self.cpu = self.cpu.plus(used)
            if is_milestone:
                rates = self.rates[first_window:]
                stretch = Stretch(
                    median(rates), used.total_seconds / (len(rates) * window_events) * 1_000_000
                )
                await self._measure(end, stretch)
                begun, first_window = usage.CpuTime.of(self._server.pid), len(self.rates)

    async def _upload(self, events: int) -> None:
        chunks: list[bytes] = []
        for sequence, part in enumerate(self._source.take_chunks(events), 1):
            chunks.append(chunk_message(part, sequence=sequence))
            self.samples.append(part[0])
        self.sent_bytes += sum(map(len, chunks))
        cpu_before = time.process_time()
        seconds = await time_upload(self._channel, chunks, events=events)
        self.client_cpu_seconds += time.process_time() - cpu_before
        self.rates.append(events / seconds)

    async def _measure(self, events: int, stretch: Stretch) -> None:
        self.milestones.append(
            await measure_milestone(
                self._channel, self._server, self._folder, self.samples, events=events, stretch=stretch
            )
        )


async def measure_growth(settings: Settings) -> list[Figure]:
    """Fills a store window by window, and measures those parts of the run that need a full one."""
    folder = settings.folder / "growth"
    window_events = min(_WINDOW_EVENTS, settings.window_events)
    stored = settings.events // window_events * window_events
    figures: list[Figure] = []
    resources: list[Figure] = []
    with engagement_server(folder) as server:
        async with grpc.aio.insecure_channel(server.address) as channel:
            growth = _Growth(channel, server, folder, has_milestones=Part.GROWTH in settings.parts)
            await growth.grow(stored, window_events=window_events)
            if Part.GROWTH in settings.parts:
                figures += _growth_figures(growth.rates, window_events=window_events)
                figures += milestone_figures(growth.milestones)
            if Part.LATENCY in settings.parts:
                section = f"Latency with {stored:,} events stored"
                figures += await measure_latency(channel, growth.samples, section=section)
            if Part.RESOURCES in settings.parts:
                resources += _memory_figures(server)
                resources += _cpu_figures(growth, pid=server.pid, events=stored)
    if Part.RESOURCES in settings.parts:
        # Only a stopped server has all of its write-ahead log in the database.
        resources += _disk_figures(usage.database_bytes(folder), growth.sent_bytes, events=stored)
    return figures + resources


def _growth_figures(rates: Sequence[float], *, window_events: int) -> list[Figure]:
    section = "Growth"
    rows = [
        Figure.of_median(
            section,
            name=f"upload of events up to {min(start + _WINDOWS_A_ROW, len(rates)) * window_events:,}",
            samples=rates[start : start + _WINDOWS_A_ROW],
            unit="events/s",
        )
        for start in range(0, len(rates), _WINDOWS_A_ROW)
    ]
    # Of a long run more than one window at either end, because single ones are noisy.
    edge = max(1, len(rates) // 10)
    ratio = median(rates[-edge:]) / median(rates[:edge])
    name = "last / first window" if edge == 1 else f"last / first {edge} windows, medians"
    return [*rows, Figure(section, name, ratio, "", _MIN_LAST_TO_FIRST)]


def _memory_figures(server: RunningServer) -> list[Figure]:
    peak = usage.memory_megabytes(server.pid, "VmHWM")
    now = usage.memory_megabytes(server.pid, "VmRSS")
    return [
        Figure(_RESOURCES, "memory of the server, peak", peak, "MB", _MAX_MEMORY),
        Figure(_RESOURCES, "memory of the server, at the end", now, "MB", _MAX_MEMORY),
    ]


def _cpu_figures(growth: _Growth, *, pid: int, events: int) -> list[Figure]:
    cpu = growth.cpu
    threads = dict(cpu.seconds_by_thread)
    event_loop = threads.pop(pid)
    busiest = max(threads.values())
    others = cpu.total_seconds - event_loop - busiest

    def per_million(name: str, seconds: float) -> Figure:
        return Figure(_RESOURCES, name, seconds / events * 1_000_000, "CPU s / million events")

    return [
        per_million("server, event loop", event_loop),
        per_million("server, busiest other thread (the store's writer)", busiest),
        per_million("server, all other threads", others),
        per_million("server, whole process", cpu.total_seconds),
        per_million("load generator", growth.client_cpu_seconds),
    ]


def _disk_figures(stored_bytes: int, sent_bytes: int, *, events: int) -> list[Figure]:
    return [
        Figure(_RESOURCES, "event as sent", sent_bytes / events, "bytes"),
        Figure(_RESOURCES, "event on disk, indexes included", stored_bytes / events, "bytes"),
    ]
