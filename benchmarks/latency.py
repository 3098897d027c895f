"""Latency of a page and of a single event for one caller, with all events stored."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from statistics import median
from typing import TypeVar

import grpc

from benchmarks.events import COMMON_STATUS
from benchmarks.load import ACCOUNT_ID, without_collections
from benchmarks.report import Figure, Target, percentile_99
from benchmarks.settings import announce
from engagement import v1

_PAGE_EVENTS = 100
_CALLS = 300
WARM_UP_CALLS = 20
_MAX_LATENCY = Target(below=20)

R = TypeVar("R")

# How each page is asked for, given an event that is stored.
_PAGES: dict[str, Callable[[v1.Event], v1.ListEventsRequest]] = {
    "consumer id": lambda event: _page(v1.EventFilter(consumer_ids=[event.consumer_id])),
    "conversation id": lambda event: _page(v1.EventFilter(conversation_ids=[event.conversation_id])),
    "customer id": lambda event: _page(v1.EventFilter(customer_ids=[event.customer_info.customer_id])),
    "text, one rare word": lambda event: _page(v1.EventFilter(text=event.customer_info.user_name)),
    "text, two words": lambda event: _page(v1.EventFilter(text=two_words(event.customer_info))),
    "text, a phrase": lambda event: _page(v1.EventFilter(text=f'"{event.customer_info.account_name}"')),
    "status, common": lambda _: _page(v1.EventFilter(customer_statuses=[COMMON_STATUS])),
    "status, common, newest first": lambda _: _page(
        v1.EventFilter(customer_statuses=[COMMON_STATUS]), newest_first=True
    ),
    "newest first": lambda _: _page(v1.EventFilter(), newest_first=True),
}


async def measure_latency(
    channel: grpc.aio.Channel, stored: Sequence[v1.Event], *, section: str
) -> list[Figure]:
    """Median and 99th percentile of every kind of look-up, for events that are stored."""
    stub = v1.EventServiceStub(channel)
    wanted = spread(stored, WARM_UP_CALLS + _CALLS)
    figures: list[Figure] = []

    async def list_events(request: v1.ListEventsRequest) -> None:
        response = await stub.ListEvents(request)
        assert response.events, request

    async def get_event(request: v1.GetEventRequest) -> None:
        await stub.GetEvent(request)

    for name, page in _PAGES.items():
        announce(f"latency: {name}")
        samples_ms = await time_each(list_events, [page(event) for event in wanted])
        figures += _figures(section, f"ListEvents: {name}", samples_ms)
    announce("latency: event id")
    by_id = [v1.GetEventRequest(account_id=ACCOUNT_ID, event_id=event.event_id) for event in wanted]
    return figures + _figures(section, "GetEvent: event id", await time_each(get_event, by_id))


def spread(events: Sequence[v1.Event], count: int) -> list[v1.Event]:
    """So many of the events, evenly over all of them; some more than once where there are fewer."""
    return [events[number * len(events) // count] for number in range(count)]


def _figures(section: str, name: str, samples_ms: Sequence[float]) -> list[Figure]:
    return [
        Figure(section, f"{name}, median", median(samples_ms), "ms", _MAX_LATENCY),
        Figure(section, f"{name}, 99th percentile", percentile_99(samples_ms), "ms", _MAX_LATENCY),
    ]


def _page(wanted: v1.EventFilter, *, newest_first: bool = False) -> v1.ListEventsRequest:
    return v1.ListEventsRequest(
        account_id=ACCOUNT_ID, filter=wanted, page_size=_PAGE_EVENTS, newest_first=newest_first
    )


def two_words(customer: v1.CustomerInfo) -> str:
    """Two words that stand in two values."""
    return f"{customer.account_name.split()[0]} {customer.role.split()[-1]}"


async def time_each(call: Callable[[R], Awaitable[None]], requests: Sequence[R]) -> list[float]:
    """Milliseconds of calls, one after the other, without the first WARM_UP_CALLS."""
    samples_ms: list[float] = []
    with without_collections():
        for request in requests:
            start = time.perf_counter()
            await call(request)
            samples_ms.append((time.perf_counter() - start) * 1000)
    return samples_ms[WARM_UP_CALLS:]
