"""What an operator sees of a running server besides its log: what it checks, and the gauges of its state.

It reads the state of stores, logs and jobs and changes nothing.
"""

from __future__ import annotations

import asyncio
import os
import platform
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from engagement_server.errors import RequestError
from engagement_server.governor.memory import Pressure, process_bytes
from engagement_server.http.checks import Check
from engagement_server.jobs.supervisor import INGEST_SERVICE
from engagement_server.metrics import catalogue
from engagement_server.store.database import FILE_NAME
from engagement_server.store.reserve import FILE_NAME as RESERVE_NAME
from engagement_server.telemetry.tracing import open_tracing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from engagement_server.config import Config
    from engagement_server.governor.memory import MemoryMeter
    from engagement_server.log.base import CommitLog
    from engagement_server.log.committer import Committer
    from engagement_server.metrics.measures import Measures
    from engagement_server.store.presence import Presence
    from engagement_server.store.readers import Readers
    from engagement_server.supervision import Supervisor
    from engagement_server.telemetry.tracing import Tracing

VERSION: Final = version("engagement-attributes")
_FILES = {"database": FILE_NAME, "wal": f"{FILE_NAME}-wal", "reserve": RESERVE_NAME}
_ESSENTIAL: Final = frozenset(("", INGEST_SERVICE))
"""Services whose background jobs new calls depend on; those of others remove events."""
_COUNT_SECONDS: Final = 1.0
"""How long a scrape may wait for the stores."""


def measure_process(measures: Measures, committers: Sequence[Committer]) -> None:
    """Registers what each process has, workers too."""
    measures.count(catalogue.SPANS_DROPPED)
    measures.gauge(catalogue.MEMORY_BYTES, "used", read=process_bytes)
    measures.gauge(
        catalogue.WAITING_BYTES, read=lambda: sum(committer.waiting_bytes for committer in committers)
    )


def trace_process(config: Config, measures: Measures, *, name: str) -> Tracing | None:
    """Traces a process with this name if the operator has named a collector. Raises ConfigurationError."""
    if not config.trace_endpoint:
        return None
    dropped = measures.count(catalogue.SPANS_DROPPED)

    def count_dropped(spans: int) -> None:
        dropped.value += spans

    return open_tracing(
        config.trace_endpoint,
        ratio=config.trace_sampling,
        name=name,
        version=VERSION,
        on_dropped=count_dropped,
    )


def measure_node(
    measures: Measures, config: Config, *, folders: Sequence[Path], readers: Sequence[Readers]
) -> None:
    """Registers the gauges that only the process has that owns the stores."""
    for kind, name in _FILES.items():
        paths = [folder / name for folder in folders]
        measures.gauge(catalogue.STORE_BYTES, kind, read=lambda paths=paths: _size_bytes(paths))  # type: ignore[misc]
    measures.gauge(catalogue.DISK_FREE_BYTES, read=lambda: _free_bytes(config.data))
    limit_bytes = config.max_memory_bytes
    measures.gauge(catalogue.MEMORY_BYTES, "limit", read=lambda: limit_bytes)
    measures.gauge(catalogue.BUILD_INFO, VERSION, platform.python_version(), read=lambda: 1)
    pending = _PendingErasures(readers)
    measures.gauge(catalogue.ERASURES_PENDING, read=lambda: pending.count)
    measures.before_reading(pending.refresh)


class _PendingErasures:
    """Erasures that are not complete, as the stores say."""

    def __init__(self, readers: Sequence[Readers]) -> None:
        self._readers = readers
        self.count: int | None = None

    async def refresh(self) -> None:
        """Counts them; there is no number if the stores do not answer soon."""
        try:
            async with asyncio.timeout(_COUNT_SECONDS):
                counts = [
                    await each.run(lambda reader: len(reader.erasures.running())) for each in self._readers
                ]
        except (RequestError, TimeoutError, RuntimeError):  # overloaded, damaged or closed
            self.count = None
        else:
            self.count = sum(counts)


class Oversight:
    """The conditions that a server checks when a probe asks for them."""

    def __init__(
        self,
        logs: Mapping[int, CommitLog],
        *,
        presence: Presence,
        supervisor: Supervisor,
        meter: MemoryMeter,
    ) -> None:
        """Takes the logs by partition."""
        self._logs = logs
        self._presence = presence
        self._supervisor = supervisor
        self._meter = meter

    def checks(self) -> list[Check]:
        """All conditions as they are now."""
        stalled = self._supervisor.stalled_services
        jobs = ", ".join(sorted(service or "all services" for service in stalled))
        pressure = self._meter.pressure
        return [
            *(Check(f"log of partition {number}", _problem_of(log)) for number, log in self._logs.items()),
            Check("files of the store", self._presence.problem),
            # Reads go on, and no other node would have more to say to them.
            Check(
                "room on the disk",
                "none: events are refused" if any(log.is_full for log in self._logs.values()) else "",
                is_required=False,
            ),
            Check(
                "background jobs",
                f"stalled: {jobs}" if jobs else "",
                is_required=not stalled.isdisjoint(_ESSENTIAL),
            ),
            Check("memory", "" if pressure is Pressure.NONE else f"pressure is {pressure.name.lower()}"),
        ]


def _problem_of(log: CommitLog) -> str:
    if (damage := log.damage) is not None:
        return damage.message
    return "" if log.is_current else "behind, or cut off"


def _size_bytes(paths: Iterable[Path]) -> int:
    """Together; those that are not there count as empty."""
    total = 0
    for path in paths:
        try:
            total += path.stat().st_size
        except OSError:
            continue
    return total


def _free_bytes(folder: Path) -> int | None:
    try:
        disk = os.statvfs(folder)
    except OSError:
        return None
    return disk.f_bavail * disk.f_frsize
