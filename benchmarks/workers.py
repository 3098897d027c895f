"""How several workers use the cores of this machine, against a single process.

The contestants take turns with the same events, over new connections in each round, because the kernel
assigns connections to workers at random.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import grpc

from benchmarks import usage
from benchmarks.events import EventSource
from benchmarks.load import ACCOUNT_ID, Calls, chunk_message, time_calls, time_upload, without_collections
from benchmarks.processes import RunningServer, engagement_server
from benchmarks.report import Figure
from benchmarks.settings import Settings, announce
from engagement import v1
from engagement.limits import MAX_CHUNK_EVENTS

_SECTION = "Workers"
_RECORD = "/engagement.v1.IngestService/RecordEvent"
_WORKERS = 2
_ROUNDS = 5
_STREAMS = 8
_MAX_CALLS = 6_000
_CHANNELS = 4
_CALLERS = 32


@dataclass(slots=True)
class _Contestant:
    """A server and what it has done in each round."""

    title: str
    server: RunningServer
    uploads: list[float] = field(default_factory=list)
    """Events a second."""
    calls: list[float] = field(default_factory=list)
    """Calls a second."""


async def measure_workers(settings: Settings) -> list[Figure]:
    """Rates of both, and the ratios of the same round."""
    source = EventSource()
    with (
        engagement_server(settings.folder / "single") as single,
        engagement_server(settings.folder / "several", "--workers", str(_WORKERS)) as several,
    ):
        contestants = [
            _Contestant("a single process", single),
            _Contestant(f"{_WORKERS} workers", several),
        ]
        for number in range(1, _ROUNDS + 1):
            announce(f"workers: round {number} of {_ROUNDS}, {settings.window_events:,} events each")
            await _measure_round(contestants[:: 1 if number % 2 else -1], source, settings)
        return [*_figures(*contestants), *_memory_figures(*contestants)]


async def _measure_round(contestants: Sequence[_Contestant], source: EventSource, settings: Settings) -> None:
    events = source.take(settings.window_events)
    streams = [_chunks(events[number::_STREAMS]) for number in range(_STREAMS)]
    for contestant in contestants:
        contestant.uploads.append(len(events) / await _time_uploads(contestant.server, streams))
    requests = [
        v1.RecordEventRequest(account_id=ACCOUNT_ID, event=event).SerializeToString()
        for event in source.take(min(_MAX_CALLS, settings.window_events))
    ]
    for contestant in contestants:
        contestant.calls.append(len(requests) / await _time_calls(contestant.server, requests))


def _chunks(events: Sequence[v1.Event]) -> list[tuple[bytes, int]]:
    """Chunks with their numbers of events."""
    parts = [events[start : start + MAX_CHUNK_EVENTS] for start in range(0, len(events), MAX_CHUNK_EVENTS)]
    return [(chunk_message(part, sequence=sequence), len(part)) for sequence, part in enumerate(parts, 1)]


async def _time_uploads(server: RunningServer, streams: Sequence[Sequence[tuple[bytes, int]]]) -> float:
    """Seconds until all uploads are done, opening and finishing included."""
    async with _channels(server.address, len(streams)) as channels:
        with without_collections():
            start = time.perf_counter()
            async with asyncio.TaskGroup() as tasks:
                for channel, chunks in zip(channels, streams, strict=True):
                    messages, counts = zip(*chunks, strict=True)
                    tasks.create_task(time_upload(channel, messages, events=sum(counts)))
            return time.perf_counter() - start


async def _time_calls(server: RunningServer, requests: Sequence[bytes]) -> float:
    """Seconds until all calls have their answers."""
    async with _channels(server.address, _CHANNELS) as channels:
        with without_collections():
            start = time.perf_counter()
            async with asyncio.TaskGroup() as tasks:
                for number, channel in enumerate(channels):
                    tasks.create_task(_call(channel, requests[number::_CHANNELS]))
            return time.perf_counter() - start


async def _call(channel: grpc.aio.Channel, requests: Sequence[bytes]) -> Calls:
    return await time_calls(channel, _RECORD, requests=requests, callers=_CALLERS // _CHANNELS)


@contextlib.asynccontextmanager
async def _channels(address: str, count: int) -> AsyncIterator[list[grpc.aio.Channel]]:
    """Channels with a connection each."""
    async with contextlib.AsyncExitStack() as stack:
        channels = [
            await stack.enter_async_context(
                grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
            )
            for _ in range(count)
        ]
        for channel in channels:
            await channel.channel_ready()
        yield channels


def _figures(single: _Contestant, several: _Contestant) -> list[Figure]:
    def rate(name: str, samples: Sequence[float], unit: str) -> Figure:
        return Figure.of_median(_SECTION, name=name, samples=samples, unit=unit)

    def ratio(name: str, samples: Sequence[float], bounds: Sequence[float]) -> Figure:
        ratios = [sample / bound for sample, bound in zip(samples, bounds, strict=True)]
        return rate(f"{name}, {several.title} / {single.title}", ratios, "")

    uploads, calls = f"{_STREAMS} uploads", f"RecordEvent, {_CALLERS} callers over {_CHANNELS} connections"
    return [
        *(rate(f"{uploads}, {each.title}", each.uploads, "events/s") for each in (single, several)),
        ratio(uploads, several.uploads, single.uploads),
        *(rate(f"{calls}, {each.title}", each.calls, "calls/s") for each in (single, several)),
        ratio(calls, several.calls, single.calls),
    ]


def _memory_figures(single: _Contestant, several: _Contestant) -> list[Figure]:
    """What the processes have taken at the most, where the system says so."""
    if not usage.IS_SUPPORTED:
        return []

    def peak(name: str, pids: Sequence[int]) -> Figure:
        sizes = [usage.memory_megabytes(pid, "VmHWM") for pid in pids]
        return Figure.of_median(_SECTION, name=f"memory, peak, {name}", samples=sizes, unit="MB")

    return [
        peak(single.title, [single.server.pid]),
        peak("the process that writes for workers", [several.server.pid]),
        peak("a worker", usage.children(several.server.pid)),
    ]
