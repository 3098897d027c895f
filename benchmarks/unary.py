"""Single events and small batches: one call each, from many callers."""

from __future__ import annotations

from collections.abc import Sequence

import grpc

from benchmarks.echo_server import SERVICE as ECHO_SERVICE
from benchmarks.events import EventSource
from benchmarks.load import ACCOUNT_ID, Calls, time_calls
from benchmarks.processes import echo_server, engagement_server
from benchmarks.report import NO_TARGET, Figure, Target, percentile_99
from benchmarks.settings import Settings, announce
from engagement import v1

_SECTION = "Unary calls"
_RECORD = "/engagement.v1.IngestService/RecordEvent"
_RECORD_BATCH = "/engagement.v1.IngestService/RecordEvents"
_ECHO = f"/{ECHO_SERVICE}/Unary"
_ROUNDS = 5
_MAX_CALLS = 5_000
_CALLERS = 32
_BATCH_EVENTS = 100
_BATCH_CALLERS = 4
_MIN_CALLS_PER_SECOND = Target(minimum=2_500)


async def measure_unary(settings: Settings) -> list[Figure]:
    """Rates of RecordEvent, of RecordEvents, and of an echo with as many callers."""
    source = EventSource()
    singles: list[Calls] = []
    batches: list[Calls] = []
    echoes: list[Calls] = []
    number_of_calls = min(_MAX_CALLS, settings.window_events)
    with engagement_server(settings.folder / "unary") as server, echo_server() as echo:
        async with (
            grpc.aio.insecure_channel(server.address) as channel,
            grpc.aio.insecure_channel(echo.address) as echo_channel,
        ):
            for number in range(1, _ROUNDS + 1):
                announce(f"unary: round {number} of {_ROUNDS}, {number_of_calls:,} calls")
                requests = _single_requests(source, number_of_calls)
                singles.append(await time_calls(channel, _RECORD, requests=requests, callers=_CALLERS))
                echoes.append(await time_calls(echo_channel, _ECHO, requests=requests, callers=_CALLERS))
                requests = _batch_requests(source, number_of_calls * _BATCH_CALLERS // _BATCH_EVENTS)
                batches.append(
                    await time_calls(channel, _RECORD_BATCH, requests=requests, callers=_BATCH_CALLERS)
                )
    return _figures(singles, batches, echoes)


def _single_requests(source: EventSource, number: int) -> list[bytes]:
    return [
        v1.RecordEventRequest(account_id=ACCOUNT_ID, event=event).SerializeToString()
        for event in source.take(number)
    ]


def _batch_requests(source: EventSource, number: int) -> list[bytes]:
    return [
        v1.RecordEventsRequest(account_id=ACCOUNT_ID, events=source.take(_BATCH_EVENTS)).SerializeToString()
        for _ in range(number)
    ]


def _figures(singles: Sequence[Calls], batches: Sequence[Calls], echoes: Sequence[Calls]) -> list[Figure]:
    single_rates = [calls.per_second for calls in singles]
    echo_rates = [calls.per_second for calls in echoes]

    def rate(name: str, samples: Sequence[float], unit: str, target: Target = NO_TARGET) -> Figure:
        return Figure.of_median(_SECTION, name=name, samples=samples, unit=unit, target=target)

    def slowest(name: str, rounds: Sequence[Calls]) -> Figure:
        samples = [percentile_99(calls.latencies_seconds) * 1000 for calls in rounds]
        return Figure.of_median(_SECTION, name=name, samples=samples, unit="ms")

    return [
        rate(f"echo, {_CALLERS} callers", echo_rates, "calls/s"),
        rate(f"RecordEvent, {_CALLERS} callers", single_rates, "calls/s", _MIN_CALLS_PER_SECOND),
        slowest(f"RecordEvent, {_CALLERS} callers, 99th percentile", singles),
        rate(
            "RecordEvent / echo",
            [single / echo for single, echo in zip(single_rates, echo_rates, strict=True)],
            "",
        ),
        rate(
            f"RecordEvents of {_BATCH_EVENTS}, {_BATCH_CALLERS} callers",
            [calls.per_second * _BATCH_EVENTS for calls in batches],
            "events/s",
        ),
        slowest(f"RecordEvents of {_BATCH_EVENTS}, {_BATCH_CALLERS} callers, 99th percentile", batches),
    ]
