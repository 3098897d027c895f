"""Live followers: the processor time that they add to a single event, and the delay until they have it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from statistics import median
from typing import Final, NamedTuple

import grpc

from benchmarks.child import Child
from benchmarks.events import EventSource
from benchmarks.followers import Follower, consumer_of
from benchmarks.load import ACCOUNT_ID, time_calls
from benchmarks.processes import RunningServer, engagement_server
from benchmarks.report import NO_TARGET, Figure, Target, percentile_99
from benchmarks.settings import Settings, announce
from benchmarks.usage import IS_SUPPORTED, CpuTime
from engagement import v1

_SECTION: Final = "Following"
_RECORD: Final = "/engagement.v1.IngestService/RecordEvent"
_ROUNDS: Final = 5
_EVENTS: Final = 500
_WARM_UP_EVENTS: Final = 100
_FEW, _MANY = 1, 50
# What one follower of everything adds to a single event, and what many with different filters add together.
_MAX_ADDED: Final = {_FEW: Target(below=0.3), _MANY: Target(below=3)}
_DELAYS: Final = 400
_PAUSE_SECONDS: Final = 0.005
_MAX_DELAY: Final = Target(below=3)


class _Delay(NamedTuple):
    """From the call that records an event, and from its ack, to the frame with the event."""

    since_call_ms: float
    since_ack_ms: float


async def measure_following(settings: Settings) -> list[Figure]:
    """The cost of a single event beside 0, 1 and 50 followers in turns, and the delay of one."""
    source = EventSource()
    cpu_ms: dict[int, list[float]] = {0: [], _FEW: [], _MANY: []}
    with engagement_server(settings.folder / "following") as server:
        async with grpc.aio.insecure_channel(server.address) as channel:
            if IS_SUPPORTED:
                for number in range(1, _ROUNDS + 1):
                    announce(f"following: round {number} of {_ROUNDS}")
                    for followers, samples in cpu_ms.items():
                        samples.append(await _measure_beside(followers, channel, source, server))
            announce("following: delay")
            delays = await _time_delays(channel, source)
    return [
        *(_cpu_figures(cpu_ms) if IS_SUPPORTED else ()),
        *_delay_figures(delays),
    ]


def _cpu_figures(cpu_ms: dict[int, list[float]]) -> list[Figure]:
    def figure(name: str, samples: Sequence[float], target: Target = NO_TARGET) -> Figure:
        return Figure.of_median(_SECTION, name=name, samples=samples, unit="ms of CPU", target=target)

    def added(followers: int) -> list[float]:
        return [beside - alone for beside, alone in zip(cpu_ms[followers], cpu_ms[0], strict=True)]

    return [
        figure("single event without followers", cpu_ms[0]),
        figure("added by a follower of everything", added(_FEW), _MAX_ADDED[_FEW]),
        figure(f"added by {_MANY} filters, one matches", added(_MANY), _MAX_ADDED[_MANY]),
    ]


def _delay_figures(delays: Sequence[_Delay]) -> list[Figure]:
    since_ack_ms = [delay.since_ack_ms for delay in delays]
    since_call_ms = [delay.since_call_ms for delay in delays]
    return [
        Figure(
            _SECTION, "ack to frame, median; below 0 before the ack", median(since_ack_ms), "ms", _MAX_DELAY
        ),
        Figure(_SECTION, "ack to frame, 99th percentile", percentile_99(since_ack_ms), "ms"),
        Figure(_SECTION, "call to frame, median", median(since_call_ms), "ms"),
    ]


async def _measure_beside(
    followers: int, channel: grpc.aio.Channel, source: EventSource, server: RunningServer
) -> float:
    """Milliseconds of processor time that an event takes the server, one event after another."""
    if not followers:
        return await _measure(channel, source, server)
    async with Child.started("benchmarks.followers", server.address, str(followers)) as child:
        await child.answer()
        return await _measure(channel, source, server)


async def _measure(channel: grpc.aio.Channel, source: EventSource, server: RunningServer) -> float:
    await time_calls(channel, _RECORD, requests=_requests(source, _WARM_UP_EVENTS), callers=1)
    requests = _requests(source, _EVENTS)
    before = CpuTime.of(server.pid)
    await time_calls(channel, _RECORD, requests=requests, callers=1)
    return CpuTime.of(server.pid).since(before).total_seconds / _EVENTS * 1000


def _requests(source: EventSource, count: int) -> list[bytes]:
    """Events of the consumers in turn, so that each matches one of the filters."""
    requests = []
    for number, event in enumerate(source.take(count)):
        event.consumer_id = consumer_of(number % _MANY)
        requests.append(v1.RecordEventRequest(account_id=ACCOUNT_ID, event=event).SerializeToString())
    return requests


async def _time_delays(channel: grpc.aio.Channel, source: EventSource) -> list[_Delay]:
    """How long single events take to a follower of everything."""
    follower = Follower(channel, v1.EventFilter())
    await follower.wait_until_caught_up()
    stub = v1.IngestServiceStub(channel)
    delays: list[_Delay] = []
    for event in source.take(_DELAYS):
        arrival = asyncio.create_task(_arrival(follower))
        called = time.perf_counter()
        await stub.RecordEvent(v1.RecordEventRequest(account_id=ACCOUNT_ID, event=event))
        acked = time.perf_counter()
        arrived = await arrival
        delays.append(_Delay(since_call_ms=(arrived - called) * 1000, since_ack_ms=(arrived - acked) * 1000))
        await asyncio.sleep(_PAUSE_SECONDS)
    follower.cancel()
    return delays


async def _arrival(follower: Follower) -> float:
    """When the next events arrive."""
    await follower.read_batch()
    return time.perf_counter()
