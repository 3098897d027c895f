"""One growing store: whether the rate holds, and the resources and latency of a server with all events."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

import grpc

from benchmarks import usage
from benchmarks.events import EventSource
from benchmarks.latency import measure_latency
from benchmarks.load import chunk_message, time_upload
from benchmarks.processes import RunningServer, engagement_server
from benchmarks.report import Figure, Target
from benchmarks.settings import Part, Settings, announce
from engagement import v1

_RESOURCES = "Resources of the growing server"
_MIN_LAST_TO_FIRST = Target(minimum=0.8)
_MAX_MEMORY = Target(below=400)


@dataclass(slots=True)
class _Growth:
    """What was seen while the store grew."""

    rates: list[float] = field(default_factory=list)
    """Events a second of each window."""
    samples: list[v1.Event] = field(default_factory=list)
    """The first event of each chunk."""
    sent_bytes: int = 0
    client_cpu_seconds: float = 0.0
    """Of the windows alone, without making the events."""


async def measure_growth(settings: Settings) -> list[Figure]:
    """Fills a store window by window, and measures those parts of the run that need a full one."""
    folder = settings.folder / "growth"
    stored = settings.events // settings.window_events * settings.window_events
    figures: list[Figure] = []
    resources: list[Figure] = []
    with engagement_server(folder) as server:
        async with grpc.aio.insecure_channel(server.address) as channel:
            before = usage.CpuTime.of(server.pid)
            growth = await _grow(channel, events=stored, window_events=settings.window_events)
            cpu = usage.CpuTime.of(server.pid).since(before)
            if Part.GROWTH in settings.parts:
                figures += _growth_figures(growth.rates, window_events=settings.window_events)
            if Part.LATENCY in settings.parts:
                section = f"Latency with {stored:,} events stored"
                figures += await measure_latency(channel, growth.samples, section=section)
            if Part.RESOURCES in settings.parts:
                resources += _memory_figures(server)
                resources += _cpu_figures(cpu, growth, pid=server.pid, events=stored)
    if Part.RESOURCES in settings.parts:
        # Only a stopped server has all of its write-ahead log in the database.
        resources += _disk_figures(usage.folder_bytes(folder), growth.sent_bytes, events=stored)
    return figures + resources


async def _grow(channel: grpc.aio.Channel, *, events: int, window_events: int) -> _Growth:
    """Uploads all events; those of a window are made and serialized before it is timed."""
    source = EventSource()
    growth = _Growth()
    for end in range(window_events, events + 1, window_events):
        announce(f"growth: {end:,} of {events:,} events")
        chunks: list[bytes] = []
        for sequence, part in enumerate(source.take_chunks(window_events), 1):
            chunks.append(chunk_message(part, sequence=sequence))
            growth.samples.append(part[0])
        growth.sent_bytes += sum(map(len, chunks))
        cpu_before = time.process_time()
        seconds = await time_upload(channel, chunks, events=window_events)
        growth.client_cpu_seconds += time.process_time() - cpu_before
        growth.rates.append(window_events / seconds)
    return growth


def _growth_figures(rates: Sequence[float], *, window_events: int) -> list[Figure]:
    section = "Growth"
    windows = [
        Figure(section, f"upload of events up to {number * window_events:,}", rate, "events/s")
        for number, rate in enumerate(rates, 1)
    ]
    # Of a long run more than one window at either end, because single ones are noisy.
    edge = max(1, len(rates) // 10)
    ratio = median(rates[-edge:]) / median(rates[:edge])
    name = "last / first window" if edge == 1 else f"last / first {edge} windows, medians"
    return [*windows, Figure(section, name, ratio, "", _MIN_LAST_TO_FIRST)]


def _memory_figures(server: RunningServer) -> list[Figure]:
    peak = usage.memory_megabytes(server.pid, "VmHWM")
    now = usage.memory_megabytes(server.pid, "VmRSS")
    return [
        Figure(_RESOURCES, "memory of the server, peak", peak, "MB", _MAX_MEMORY),
        Figure(_RESOURCES, "memory of the server, at the end", now, "MB", _MAX_MEMORY),
    ]


def _cpu_figures(cpu: usage.CpuTime, growth: _Growth, *, pid: int, events: int) -> list[Figure]:
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
