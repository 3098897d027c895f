"""Subscriptions: the rate of an export, and the cost of many subscribers."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import grpc

from benchmarks import usage
from benchmarks.events import EventSource
from benchmarks.load import ACCOUNT_ID, chunk_message, time_upload, without_collections
from benchmarks.processes import RunningServer, engagement_server
from benchmarks.report import Figure, Target
from benchmarks.settings import Settings, announce
from benchmarks.subscribers import FAST, SLOW, STOPPED
from engagement import v1

_SECTION = "Subscriptions"
_EXPORTS = 3
_ROUNDS = 3
_BURST_EVENTS = 30_000
_MIN_EXPORT_RATE = Target(minimum=100_000)
_MIN_RATE_KEPT = Target(minimum=0.7)
_MAX_MEMORY = Target(below=1)


@dataclass(frozen=True, slots=True)
class _Round:
    """An upload without subscribers and one beside them."""

    alone_seconds: float
    beside_seconds: float
    delivery_seconds: float
    """From the start of the upload until every fast subscriber had everything."""
    megabytes_a_subscriber: float


async def measure_subscriptions(settings: Settings) -> list[Figure]:
    """Fills a store, exports it, and uploads beside many subscribers."""
    source = EventSource()
    with engagement_server(settings.folder / "subscribe") as server:
        async with grpc.aio.insecure_channel(server.address) as channel:
            stored = settings.window_events * (settings.events // settings.window_events)
            for end in range(settings.window_events, stored + 1, settings.window_events):
                announce(f"subscribe: {end:,} of {stored:,} events")
                await _upload(channel, source, settings.window_events)
            announce("subscribe: export")
            exports = [await _time_export(channel, events=stored) for _ in range(_EXPORTS)]
            burst = min(_BURST_EVENTS, settings.window_events)
            rounds = [await _measure_round(channel, source, server, burst) for _ in range(_ROUNDS)]
    return [
        Figure.of_median(
            _SECTION,
            name=f"export of {stored:,} events",
            samples=[stored / seconds for seconds in exports],
            unit="events/s",
            target=_MIN_EXPORT_RATE,
        ),
        *_figures_of_rounds(rounds, burst),
    ]


def _figures_of_rounds(rounds: Sequence[_Round], burst: int) -> list[Figure]:
    def figure(name: str, samples: Sequence[float], unit: str, target: Target) -> Figure:
        return Figure.of_median(_SECTION, name=name, samples=samples, unit=unit, target=target)

    subscribers = f"{FAST} fast, {SLOW} slow, {STOPPED} stopped subscribers"
    return [
        figure("upload alone", [burst / each.alone_seconds for each in rounds], "events/s", Target()),
        figure(
            f"upload beside {subscribers} / alone",
            [each.alone_seconds / each.beside_seconds for each in rounds],
            "",
            _MIN_RATE_KEPT,
        ),
        figure(
            "delivery to the fast ones, all together",
            [FAST * burst / each.delivery_seconds for each in rounds],
            "events/s",
            Target(),
        ),
        figure("memory of a subscriber", [each.megabytes_a_subscriber for each in rounds], "MB", _MAX_MEMORY),
    ]


async def _upload(channel: grpc.aio.Channel, source: EventSource, count: int) -> float:
    chunks = [
        chunk_message(part, sequence=sequence) for sequence, part in enumerate(source.take_chunks(count), 1)
    ]
    return await time_upload(channel, chunks, events=count)


async def _time_export(channel: grpc.aio.Channel, *, events: int) -> float:
    """Seconds until a client has parsed all events."""
    request = v1.SubscribeEventsRequest(account_id=ACCOUNT_ID, earliest=True, stop_at_tail=True)
    received = 0
    with without_collections():
        start = time.perf_counter()
        async for message in v1.EventServiceStub(channel).SubscribeEvents(request):
            received += len(message.batch.events)
        elapsed_seconds = time.perf_counter() - start
    if received < events:
        raise RuntimeError(f"the export had {received} of {events} events")
    return elapsed_seconds


async def _measure_round(
    channel: grpc.aio.Channel, source: EventSource, server: RunningServer, burst: int
) -> _Round:
    announce(f"subscribe: upload of {burst:,} events alone and beside {FAST + SLOW + STOPPED} subscribers")
    alone_seconds = await _upload(channel, source, burst)
    before = usage.memory_megabytes(server.pid, "VmRSS") if usage.IS_SUPPORTED else 0.0
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "benchmarks.subscribers",
        server.address,
        str(burst),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        await _expect(process, b"ready\n")
        start = time.perf_counter()
        beside_seconds = await _upload(channel, source, burst)
        await _expect(process, b"done\n")
        delivery_seconds = time.perf_counter() - start
        after = usage.memory_megabytes(server.pid, "VmRSS") if usage.IS_SUPPORTED else 0.0
    finally:
        process.terminate()
        await process.wait()
    return _Round(alone_seconds, beside_seconds, delivery_seconds, (after - before) / (FAST + SLOW + STOPPED))


async def _expect(process: asyncio.subprocess.Process, line: bytes) -> None:
    assert process.stdout is not None
    if await process.stdout.readline() != line:
        raise RuntimeError("the subscribers failed")
