"""Reads from many callers at once: their rates, and the processor time that each costs the server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import grpc

from benchmarks.echo_server import SERVICE as ECHO_SERVICE
from benchmarks.events import EventSource
from benchmarks.latency import spread
from benchmarks.load import ACCOUNT_ID, chunk_message, time_calls, time_upload
from benchmarks.processes import echo_server, engagement_server
from benchmarks.report import Figure
from benchmarks.settings import Settings, announce
from benchmarks.usage import IS_SUPPORTED, CpuTime
from engagement import v1

_SERVICE: Final = "/engagement.v1.EventService"
_ECHO: Final = f"/{ECHO_SERVICE}/Unary"
_ROUNDS: Final = 5
_CALLS: Final = 1_000
_CALLERS: Final = 16
_PAGE_EVENTS: Final = 50


class _Read(NamedTuple):
    method: str
    request: Callable[[v1.Event], bytes]
    """The serialized request, given an event that is stored."""


class _Round(NamedTuple):
    per_second: float
    cpu_us: float
    """Microseconds of processor time that a call took the server."""


_READS: Final = {
    "GetEvent": _Read("GetEvent", lambda event: _event(event).SerializeToString()),
    f"ListEvents, a page of {_PAGE_EVENTS}": _Read(
        "ListEvents", lambda _: _page(v1.EventFilter()).SerializeToString()
    ),
    "ListEvents of a customer": _Read(
        "ListEvents",
        lambda event: _page(
            v1.EventFilter(customer_ids=[event.customer_info.customer_id])
        ).SerializeToString(),
    ),
    "GetProfile": _Read("GetProfile", lambda event: _profile(event).SerializeToString()),
}


async def measure_reads(settings: Settings) -> list[Figure]:
    """Reads of each kind in turns, and an echo with as many callers in between."""
    events = settings.window_events
    section = f"Reads, {_CALLERS} callers, {events:,} events stored"
    rounds: dict[str, list[_Round]] = {"echo": [], **{name: [] for name in _READS}}
    with engagement_server(settings.folder / "reads") as server, echo_server() as echo:
        async with (
            grpc.aio.insecure_channel(server.address) as channel,
            grpc.aio.insecure_channel(echo.address) as echo_channel,
        ):
            announce(f"reads: {events:,} events")
            stored = await _fill(channel, events)
            wanted = spread(stored, _CALLS)
            for number in range(_ROUNDS + 1):  # the first one warms up
                announce(f"reads: round {number} of {_ROUNDS}")
                requests = [_READS["GetEvent"].request(event) for event in wanted]
                rounds["echo"].append(await _measure(echo_channel, echo.pid, _ECHO, requests))
                for name, read in _READS.items():
                    requests = [read.request(event) for event in wanted]
                    method = f"{_SERVICE}/{read.method}"
                    rounds[name].append(await _measure(channel, server.pid, method, requests))
    return [figure for name, taken in rounds.items() for figure in _figures(section, name, taken[1:])]


async def _fill(channel: grpc.aio.Channel, events: int) -> list[v1.Event]:
    """Uploads events; some of them."""
    chunks = [*EventSource().take_chunks(events)]
    messages = [chunk_message(chunk, sequence=sequence) for sequence, chunk in enumerate(chunks, 1)]
    await time_upload(channel, messages, events=events)
    return [event for chunk in chunks for event in chunk[::10]]


async def _measure(channel: grpc.aio.Channel, pid: int, method: str, requests: Sequence[bytes]) -> _Round:
    before = CpuTime.of(pid)
    calls = await time_calls(channel, method, requests=requests, callers=_CALLERS)
    used = CpuTime.of(pid).since(before)
    return _Round(calls.per_second, used.total_seconds / len(requests) * 1_000_000)


def _figures(section: str, name: str, rounds: Sequence[_Round]) -> list[Figure]:
    rates = [each.per_second for each in rounds]
    figures = [Figure.of_median(section, name=name, samples=rates, unit="calls/s")]
    if IS_SUPPORTED:
        # Of all rounds together: one is short beside the clock's ticks.
        cpu_us = sum(each.cpu_us for each in rounds) / len(rounds)
        figures.append(Figure(section, f"{name}, processor time of the server", cpu_us, "µs a call"))
    return figures


def _event(event: v1.Event) -> v1.GetEventRequest:
    return v1.GetEventRequest(account_id=ACCOUNT_ID, event_id=event.event_id)


def _page(wanted: v1.EventFilter) -> v1.ListEventsRequest:
    return v1.ListEventsRequest(account_id=ACCOUNT_ID, filter=wanted, page_size=_PAGE_EVENTS)


def _profile(event: v1.Event) -> v1.GetProfileRequest:
    return v1.GetProfileRequest(account_id=ACCOUNT_ID, consumer_id=event.consumer_id)
