"""Measures servers over a replicated log: `python -m benchmarks.cluster`. It reports and does not fail.

Three NATS servers that sync every message to disk, our servers and the client share this machine; a server
with the embedded store takes turns with them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

import grpc
import uvloop

from benchmarks.events import EventSource
from benchmarks.load import ACCOUNT_ID, chunk_message, time_calls, time_upload
from benchmarks.processes import RunningServer, engagement_server
from benchmarks.report import Figure, Target, percentile_99, render
from benchmarks.settings import announce
from engagement import EngagementClient, v1
from engagement.limits import MAX_CHUNK_EVENTS
from engagement_server.log.nats.connection import NatsSettings, Servers
from engagement_server.log.nats.snapshots.bucket import SnapshotBucket
from engagement_server.log.nats.stream import connect
from tests.support.nats_cluster import NatsCluster

_UPLOAD = "Upload over a replicated log"
_UNARY = "RecordEvent over a replicated log"
_CATCHING_UP = "Servers that begin or come back"
_RECORD = "/engagement.v1.IngestService/RecordEvent"
_DEFAULT_EVENTS: Final = 100_000
_DEFAULT_ROUNDS: Final = 5
_DEFAULT_TOTAL: Final = 1_000_000
_CALLERS = 32
_CALLS = 2_000
_MIN_RATE = Target(minimum=30_000)
_MIN_RATIO = Target(minimum=0.6)
_MIN_CATCHING_UP = Target(minimum=3)
_MAX_BEGINNING_SECONDS = Target(below=60)
_TIMEOUT_SECONDS = 300
_SNAPSHOT_HOURS = "0.0005"
_LOG = "engagement-0of1"
_LOG_SECONDS = timedelta(days=7).total_seconds()


@dataclass(slots=True)
class _Rates:
    """Events or calls a second of each contestant, a round each."""

    embedded: list[float] = field(default_factory=list)
    replicated: list[float] = field(default_factory=list)
    latencies_seconds: list[float] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        """What replication leaves, a round each."""
        return [mine / other for mine, other in zip(self.replicated, self.embedded, strict=True)]


class _Bench:
    """The servers of one run."""

    def __init__(self, folder: Path, nats: NatsCluster) -> None:
        self._folder = folder
        self._nats = nats
        self._source = EventSource()
        self.stored = 0
        """Events in the replicated log."""

    @asynccontextmanager
    async def node(self, name: str, *options: str) -> AsyncIterator[RunningServer]:
        """One of our servers over the log, once it serves."""
        log = ("--log", self._nats.url, *options)
        with engagement_server(self._folder / name, *log) as server:
            await _until_current(server)
            yield server

    @asynccontextmanager
    async def embedded(self) -> AsyncIterator[RunningServer]:
        """The server that all are compared with."""
        with engagement_server(self._folder / "embedded") as server:
            yield server

    async def upload(self, server: RunningServer, events: int) -> float:
        """Events a second of an upload."""
        chunks = [
            chunk_message(chunk, sequence=sequence)
            for sequence, chunk in enumerate(self._source.take_chunks(events), 1)
        ]
        async with grpc.aio.insecure_channel(server.address) as channel:
            return events / await time_upload(channel, chunks, events=events)

    async def compare_uploads(
        self, embedded: RunningServer, replicated: RunningServer, *, events: int, rounds: int, title: str
    ) -> _Rates:
        """Rates of both, in turns."""
        rates = _Rates()
        for number in range(1, rounds + 1):
            announce(f"{title}: round {number} of {rounds}")
            rates.embedded.append(await self.upload(embedded, events))
            rates.replicated.append(await self.upload(replicated, events))
            self.stored += events
        return rates

    async def compare_calls(
        self, embedded: RunningServer, replicated: RunningServer, *, rounds: int
    ) -> _Rates:
        """Rates and latencies of single events, in turns."""
        rates = _Rates()
        for number in range(1, rounds + 1):
            announce(f"RecordEvent: round {number} of {rounds}")
            for server, samples in ((embedded, rates.embedded), (replicated, rates.replicated)):
                requests = [
                    v1.RecordEventRequest(account_id=ACCOUNT_ID, event=event).SerializeToString()
                    for event in self._source.take(_CALLS)
                ]
                async with grpc.aio.insecure_channel(server.address) as channel:
                    calls = await time_calls(channel, _RECORD, requests=requests, callers=_CALLERS)
                samples.append(len(requests) / calls.elapsed_seconds)
                if server is replicated:
                    rates.latencies_seconds += calls.latencies_seconds
        self.stored += rounds * _CALLS
        return rates


async def _measure(folder: Path, *, events: int, rounds: int, total: int) -> list[Figure]:
    figures: list[Figure] = []
    with NatsCluster(folder / "nats", sync_always=True) as nats:
        bench = _Bench(folder, nats)
        async with bench.node("a") as first:
            async with bench.embedded() as embedded:
                alone = await bench.compare_uploads(
                    embedded, first, events=events, rounds=rounds, title="one server"
                )
                calls = await bench.compare_calls(embedded, first, rounds=rounds)
                async with bench.node("b"), bench.node("c"):
                    three = await bench.compare_uploads(
                        embedded, first, events=events, rounds=rounds, title="three servers"
                    )
            figures += _upload_figures(alone, three)
            figures += _call_figures(calls)
            figures += await _measure_coming_back(bench, first, events=events)
            while bench.stored < total:
                announce(f"{bench.stored:,} of {total:,} events")
                await bench.upload(first, events)
                bench.stored += events
            figures.append(await _measure_beginning(bench, "the log alone"))
        async with bench.node("a", "--snapshot-hours", _SNAPSHOT_HOURS):
            seconds = await _until_snapshot(nats)
            figures.append(Figure(_CATCHING_UP, "until a snapshot is in the log", seconds, "s"))
            figures.append(await _measure_beginning(bench, "a snapshot"))
    return figures


async def _measure_coming_back(bench: _Bench, first: RunningServer, *, events: int) -> list[Figure]:
    """How fast a server catches up with what it missed, against how fast that came in."""
    async with bench.node("c"):
        pass
    announce("catching up")
    ingest = await bench.upload(first, events)
    bench.stored += events
    start = time.perf_counter()
    async with bench.node("c"):
        whole_seconds = time.perf_counter() - start
    start = time.perf_counter()
    async with bench.node("c"):
        start_seconds = time.perf_counter() - start
    rate = events / (whole_seconds - start_seconds)
    return [
        Figure(_CATCHING_UP, f"time to serve again after {events:,} events", whole_seconds, "s"),
        Figure(_CATCHING_UP, "the same after none", start_seconds, "s"),
        Figure(_CATCHING_UP, "catching up", rate, "events/s"),
        Figure(_CATCHING_UP, "catching up / ingest before it", rate / ingest, "", _MIN_CATCHING_UP),
    ]


async def _measure_beginning(bench: _Bench, origin: str) -> Figure:
    """Seconds until an empty server serves all that is stored."""
    announce(f"an empty server begins with {origin}")
    start = time.perf_counter()
    async with bench.node(f"new-{origin.rsplit(maxsplit=1)[-1]}"):
        seconds = time.perf_counter() - start
    name = f"an empty server serves {bench.stored:,} events from {origin}"
    return Figure(_CATCHING_UP, name, seconds, "s", _MAX_BEGINNING_SECONDS)


def _upload_figures(alone: _Rates, three: _Rates) -> list[Figure]:
    def figure(name: str, samples: Sequence[float], unit: str, target: Target | None = None) -> Figure:
        return Figure.of_median(_UPLOAD, name=name, samples=samples, unit=unit, target=target or Target())

    return [
        figure("embedded store", alone.embedded, "events/s"),
        figure("one server, three NATS servers", alone.replicated, "events/s", _MIN_RATE),
        figure("one server / embedded store", alone.ratios, "", _MIN_RATIO),
        figure("embedded store, beside three idle servers", three.embedded, "events/s"),
        figure("three servers, three NATS servers", three.replicated, "events/s"),
        figure("three servers / embedded store", three.ratios, ""),
    ]


def _call_figures(calls: _Rates) -> list[Figure]:
    milliseconds = [1000 * latency for latency in calls.latencies_seconds]
    return [
        Figure.of_median(_UNARY, name="embedded store", samples=calls.embedded, unit="calls/s"),
        Figure.of_median(_UNARY, name="one server", samples=calls.replicated, unit="calls/s"),
        Figure.of_median(_UNARY, name="one server / embedded store", samples=calls.ratios, unit=""),
        Figure(_UNARY, "latency, p99", percentile_99(milliseconds), "ms"),
    ]


async def _until_current(server: RunningServer) -> None:
    """Waits until a server has caught up with the log."""
    async with (
        asyncio.timeout(_TIMEOUT_SECONDS),
        EngagementClient(server.address, account_id=ACCOUNT_ID) as client,
    ):
        while not all(each.current for each in (await client.get_server_info()).partitions):  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.02)


async def _until_snapshot(nats: NatsCluster) -> float:
    """Waits until a snapshot holds what the log holds now; how long that took, in seconds."""
    log = NatsSettings(nats.urls, name=_LOG, replicas=len(nats.nodes), max_age_seconds=_LOG_SECONDS)
    start = time.perf_counter()
    async with asyncio.timeout(_TIMEOUT_SECONDS), connect(Servers(log), creates=False) as stream:
        bucket = SnapshotBucket(stream)
        last_sequence = (await stream.state()).last_sequence
        while not any(each.facts.sequence >= last_sequence for each in await bucket.snapshots()):  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.2)
    return time.perf_counter() - start


def main() -> None:
    """Measures, and prints a report."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cluster",
        description="Measures servers over a replicated log on this machine.",
    )
    parser.add_argument(
        "--events", type=int, default=_DEFAULT_EVENTS, help="events of one round (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=_DEFAULT_ROUNDS, help="default: %(default)s")
    parser.add_argument(
        "--total",
        type=int,
        default=_DEFAULT_TOTAL,
        help="events that an empty server starts with (default: %(default)s)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to this file")
    options = parser.parse_args()
    events = options.events // MAX_CHUNK_EVENTS * MAX_CHUNK_EVENTS
    root = Path(".benchmarks")
    root.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root) as folder:
        figures = uvloop.run(
            _measure(Path(folder).absolute(), events=events, rounds=options.rounds, total=options.total)
        )
    for line in render(figures):
        print(line)
    if options.json is not None:
        report = {"events": events, "figures": [figure.to_json() for figure in figures]}
        options.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
