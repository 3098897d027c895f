"""Latency of a profile for one caller: of any consumer, and of one with very many events."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Final

import grpc

from benchmarks.events import EventSource
from benchmarks.latency import WARM_UP_CALLS, spread, time_each
from benchmarks.load import ACCOUNT_ID, chunk_message, time_upload
from benchmarks.processes import engagement_server
from benchmarks.report import NO_TARGET, Figure, Target, percentile_99
from benchmarks.settings import Settings, announce
from engagement import v1
from engagement.limits import MAX_CHUNK_EVENTS

_CALLS: Final = 300
_MAX_BUSY_EVENTS: Final = 100_000
_BUSY: Final = "busy-consumer"
_MAX_LATENCY = Target(below=5)
# Odd, so that different numbers have different ids; they are scattered over the whole range.
_SCATTER: Final = 0x9E3779B1


async def measure_profiles(settings: Settings) -> list[Figure]:
    """Latency of GetProfile with an event of each of many consumers, and among them many of one."""
    busy_events = min(_MAX_BUSY_EVENTS, settings.events // 2)
    consumers = settings.events - busy_events
    section = f"Profiles among {consumers:,} consumers"
    figures: list[Figure] = []

    with engagement_server(settings.folder / "profile") as server:
        async with grpc.aio.insecure_channel(server.address) as channel:
            samples = await _fill(channel, settings, every=settings.events // busy_events)
            stub = v1.EventServiceStub(channel)

            async def read(request: v1.GetProfileRequest) -> None:
                assert (await stub.GetProfile(request)).profile.sources, request

            busy = v1.GetProfileRequest(account_id=ACCOUNT_ID, consumer_id=_BUSY)
            start = time.perf_counter()
            await read(busy)
            first_ms = (time.perf_counter() - start) * 1000
            name = f"of one with {busy_events:,} events"
            figures.append(Figure(section, f"{name}, at once after the upload", first_ms, "ms", NO_TARGET))
            for kind, requests in (
                ("by consumer id", _by_consumer(samples)),
                ("by customer id", _by_customer(samples)),
                (name, [busy] * (WARM_UP_CALLS + _CALLS)),
            ):
                announce(f"profile: {kind}")
                samples_ms = await time_each(read, requests)
                figures += [
                    Figure(section, f"{kind}, median", median(samples_ms), "ms", _MAX_LATENCY),
                    Figure(
                        section, f"{kind}, 99th percentile", percentile_99(samples_ms), "ms", _MAX_LATENCY
                    ),
                ]
    return figures


async def _fill(channel: grpc.aio.Channel, settings: Settings, *, every: int) -> list[v1.Event]:
    """Uploads all events, every so many of them of the busy consumer; some of the others."""
    events = _events(every)
    window, samples = settings.window_events, list[v1.Event]()
    for end in range(window, settings.events + 1, window):
        announce(f"profile: {end:,} of {settings.events:,} events")
        made = [next(events) for _ in range(window)]
        samples += [event for event in made[:: window // _CALLS] if event.consumer_id != _BUSY]
        chunks = [
            chunk_message(made[start : start + MAX_CHUNK_EVENTS], sequence=start // MAX_CHUNK_EVENTS + 1)
            for start in range(0, window, MAX_CHUNK_EVENTS)
        ]
        await time_upload(channel, chunks, events=window)
    return samples


def _events(every: int) -> Iterator[v1.Event]:
    source, number = EventSource(), 0
    while True:
        for event in source.take(1000):
            number += 1
            scattered = number * _SCATTER % (1 << 32)
            event.consumer_id = _BUSY if number % every == 0 else f"visitor-{scattered:08x}"
            yield event


def _by_consumer(samples: Sequence[v1.Event]) -> list[v1.GetProfileRequest]:
    return [
        v1.GetProfileRequest(account_id=ACCOUNT_ID, consumer_id=event.consumer_id)
        for event in spread(samples, WARM_UP_CALLS + _CALLS)
    ]


def _by_customer(samples: Sequence[v1.Event]) -> list[v1.GetProfileRequest]:
    return [
        v1.GetProfileRequest(account_id=ACCOUNT_ID, customer_id=event.customer_info.customer_id)
        for event in spread(samples, WARM_UP_CALLS + _CALLS)
    ]
