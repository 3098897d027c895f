"""Measures what events of three shapes take of a server: `python -m benchmarks.sizing`.

`engagement sizing` calculates with its figures. The server, the log and the client share this machine; times
of servers are of their processors, so other load changes them little.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import grpc
import uvloop

from benchmarks import usage
from benchmarks.load import ACCOUNT_ID, time_upload
from benchmarks.processes import RunningServer, engagement_server
from benchmarks.settings import add_output_options, announce
from benchmarks.shapes import SHAPES, Shape, ShapedEvents
from engagement import EngagementClient
from engagement_server.commands.sizing_figures import ShapeFigures
from engagement_server.log.nats.connection import NatsSettings, Servers
from engagement_server.log.nats.snapshots.bucket import SnapshotBucket
from engagement_server.log.nats.stream import connect
from tests.support.nats_cluster import NatsCluster

_MILLION: Final = 1_000_000
_WAIT_SECONDS: Final = 600
_POLL_SECONDS: Final = 0.05
_SNAPSHOT_HOURS: Final = "0.0005"
_LOG: Final = "engagement-0of1"
_LOG_SECONDS: Final = timedelta(days=7).total_seconds()
_SMALLEST: Final = 2_000


class _Sizing:
    """The measurements of one shape, in a folder of their own."""

    def __init__(self, folder: Path, shape: Shape, *, events: int) -> None:
        self._folder = folder
        self._shape = shape
        self._events = events
        self._chunks = list(ShapedEvents(shape).chunks(events))

    async def measure(self) -> ShapeFigures:
        """Measures everything, one thing after the other."""
        event_bytes = sum(map(len, self._chunks)) / self._events
        embedded = await self._measure_store()
        replicated = await self._measure_log()
        return ShapeFigures(
            event_bytes=round(event_bytes), measured_events=self._events, **embedded, **replicated
        )

    async def _measure_store(self) -> dict[str, Any]:  # Any: fields of ShapeFigures
        self._announce("bulk upload")
        data = self._folder / "data"
        with engagement_server(data) as server:
            ingest_seconds = await self._upload(server)
            memory_mb = usage.memory_megabytes(server.pid, "VmHWM")
        store_bytes = usage.database_bytes(data)
        self._announce("backup and restore")
        backup_seconds = _run("backup", str(data), str(self._folder / "backup.db"))
        backup_bytes = usage.database_bytes(self._folder)
        restore_seconds = _run("restore", str(self._folder / "backup.db"), str(self._folder / "restored"))
        self._announce("expiry")
        return {
            "ingest_cpu_seconds": self._per_million(ingest_seconds),
            "memory_mb": round(memory_mb),
            "store_bytes": self._per_event(store_bytes),
            "backup_bytes": self._per_event(backup_bytes),
            "backup_seconds": self._per_million(backup_seconds),
            "restore_seconds": self._per_million(restore_seconds),
            "expiry_cpu_seconds": self._per_million(await self._expire(data)),
        }

    async def _upload(self, server: RunningServer) -> float:
        """Processor seconds of the server for all events."""
        before = usage.tree_cpu_seconds(server.pid)
        async with grpc.aio.insecure_channel(server.address) as channel:
            await time_upload(channel, self._chunks, events=self._events)
        return usage.tree_cpu_seconds(server.pid) - before

    async def _expire(self, data: Path) -> float:
        """Processor seconds for the removal of all events."""
        with engagement_server(data, "--allow-short-retention") as server:
            async with EngagementClient(server.address, account_id=ACCOUNT_ID) as client:
                before = usage.tree_cpu_seconds(server.pid)
                await client.set_retention(timedelta(seconds=1))
                await client.release_expiry()  # it was held: the first expiry would remove everything

                async def is_empty() -> bool:
                    info = await client.get_server_info()
                    return all(each.expired_events >= self._events for each in info.partitions)

                await _until(is_empty)
                return usage.tree_cpu_seconds(server.pid) - before

    async def _measure_log(self) -> dict[str, Any]:  # Any: fields of ShapeFigures
        with NatsCluster(self._folder / "nats", size=1) as nats:
            log = NatsSettings(nats.urls, name=_LOG, replicas=1, max_age_seconds=_LOG_SECONDS)
            self._announce("bulk upload over a replicated log")
            async with self._node("a", nats) as (first, start_seconds):
                empty_bytes = await _stream_bytes(log)
                await self._upload(first)
                log_bytes = await _stream_bytes(log) - empty_bytes
                self._announce("a new node from the log")
                async with self._node("b", nats) as (_, apply_seconds):
                    pass
            self._announce("snapshot")
            async with self._node("a", nats, "--snapshot-hours", _SNAPSHOT_HOURS):
                snapshot_bytes = await _snapshot_bytes(log)
            self._announce("a new node from the snapshot")
            async with self._node("c", nats) as (_, fill_seconds):
                pass
        return {
            "log_bytes": self._per_event(log_bytes),
            "apply_cpu_seconds": self._per_million(apply_seconds - start_seconds),
            "snapshot_bytes": self._per_event(snapshot_bytes),
            "fill_cpu_seconds": self._per_million(fill_seconds - start_seconds),
        }

    @asynccontextmanager
    async def _node(
        self, name: str, nats: NatsCluster, *options: str
    ) -> AsyncIterator[tuple[RunningServer, float]]:
        """A node once it has everything, and the processor seconds that this took."""
        log = ("--log", nats.url, "--log-replicas", "1", *options)
        with engagement_server(self._folder / name, *log) as server:
            async with EngagementClient(server.address, account_id=ACCOUNT_ID) as client:

                async def is_current() -> bool:
                    return all(each.current for each in (await client.get_server_info()).partitions)

                await _until(is_current)
            yield server, usage.tree_cpu_seconds(server.pid)

    def _per_million(self, seconds: float) -> float:
        return round(seconds / self._events * _MILLION, 1)

    def _per_event(self, size_bytes: float) -> int:
        return round(size_bytes / self._events)

    def _announce(self, what: str) -> None:
        announce(f"{self._shape.name}, {self._events:,} events: {what}")


def _run(*arguments: str) -> float:
    """Seconds of a command of `engagement`, as it tells them: without its start."""
    command = [sys.executable, "-m", "engagement.cli", *arguments, "--json"]
    told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return float(told["seconds"])


async def _until(is_so: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(_WAIT_SECONDS):
        while not await is_so():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(_POLL_SECONDS)


async def _stream_bytes(log: NatsSettings) -> int:
    async with connect(Servers(log), creates=False) as stream:
        info = await stream.js.stream_info(_LOG)
        return int(info.state.bytes)


async def _snapshot_bytes(log: NatsSettings) -> int:
    """Waits until a snapshot has all that the log has, and returns its size."""
    async with asyncio.timeout(_WAIT_SECONDS), connect(Servers(log), creates=False) as stream:
        bucket = SnapshotBucket(stream)
        last_sequence = (await stream.state()).last_sequence
        while True:
            complete = [each for each in await bucket.snapshots() if each.facts.sequence >= last_sequence]
            if complete:
                return complete[-1].packed_bytes
            await asyncio.sleep(_POLL_SECONDS)


def main() -> None:
    """Measures, and prints the figures as the module has them that calculates with them."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sizing",
        description="Measures what events of three shapes take on disk, in memory and of processors.",
    )
    parser.add_argument(
        "--scale", type=float, default=1.0, help="how many events, against the default (default: %(default)s)"
    )
    parser.add_argument(
        "--only",
        nargs="+",
        choices=[shape.name for shape in SHAPES],
        default=[],
        help="shapes (default: all)",
    )
    add_output_options(parser)
    options = parser.parse_args()
    options.data.mkdir(parents=True, exist_ok=True)
    chosen = [shape for shape in SHAPES if not options.only or shape.name in options.only]
    began = time.monotonic()
    figures = {shape.name: _measure(shape, options.data, scale=options.scale) for shape in chosen}
    for name, measured in figures.items():
        print(f"    {name!r}: {measured},")
    announce(f"measured in {time.monotonic() - began:.0f} s")
    if options.json is not None:
        report = {name: asdict(measured) for name, measured in figures.items()}
        options.json.write_text(json.dumps(report, indent=2) + "\n")


def _measure(shape: Shape, folder: Path, *, scale: float) -> ShapeFigures:
    events = max(_SMALLEST, round(shape.events * scale))
    with tempfile.TemporaryDirectory(dir=folder) as data:
        return uvloop.run(_Sizing(Path(data).absolute(), shape, events=events).measure())


if __name__ == "__main__":
    main()
