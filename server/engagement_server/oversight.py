"""What an operator sees of a running server besides its log: what it checks, and the gauges of its state.

It reads the state of stores, logs and jobs and changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
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

    from engagement_server.access.audit import Auditor
    from engagement_server.access.watch import AccessWatch
    from engagement_server.api.grpc.endpoint import Endpoint
    from engagement_server.config import Config
    from engagement_server.governor.memory import MemoryMeter
    from engagement_server.log.base import CommitLog
    from engagement_server.log.committer import Committer
    from engagement_server.metrics.measures import Measures
    from engagement_server.stats.streams import Streams
    from engagement_server.store.presence import Presence
    from engagement_server.store.readers import Readers
    from engagement_server.supervision import Supervisor
    from engagement_server.telemetry.tracing import Tracing
    from engagement_server.transport.certificate_files import CertificateFiles

VERSION: Final = version("engagement-attributes")
_FILES = {"database": FILE_NAME, "wal": f"{FILE_NAME}-wal", "reserve": RESERVE_NAME}
_ESSENTIAL: Final = frozenset(("", INGEST_SERVICE))
"""Services whose background jobs new calls depend on; those of others remove events."""
_COUNT_SECONDS: Final = 1.0
"""How long a scrape may wait for the stores."""


def measure_process(measures: Measures, committers: Sequence[Committer], supervisor: Supervisor) -> None:
    """Registers what each process has, workers too."""
    measures.count(catalogue.SPANS_DROPPED)
    measures.count(catalogue.AUDIT_LOST)
    measures.gauge(catalogue.STALLED_JOBS, read=lambda: supervisor.stalled_jobs)
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


def measure_calls(measures: Measures, endpoint: Endpoint, streams: Streams) -> None:
    """Registers the gauges of processes that take calls."""
    measures.gauge(catalogue.RUNNING_CALLS, read=lambda: endpoint.running_calls)
    measures.gauge(catalogue.OPEN_STREAMS, "upload", read=lambda: streams.own.uploads)
    measures.gauge(catalogue.OPEN_STREAMS, "subscription", read=lambda: streams.own.subscriptions)
    measures.gauge(catalogue.SUBSCRIPTION_LAG_EVENTS, read=lambda: streams.own.max_lag_events)
    measures.gauge(catalogue.SUBSCRIPTION_LAG_SECONDS, read=lambda: streams.own.max_lag_ms / 1000)
    measures.before_reading(streams.refresh)


def measure_node(
    measures: Measures, config: Config, *, folders: Sequence[Path], readers: Mapping[int, Readers]
) -> None:
    """Registers the gauges that only the process has that owns the stores; `readers` are by partition."""
    for kind, name in _FILES.items():
        paths = [folder / name for folder in folders]
        measures.gauge(catalogue.STORE_BYTES, kind, read=lambda paths=paths: _size_bytes(paths))  # type: ignore[misc]
    measures.gauge(catalogue.DISK_FREE_BYTES, read=lambda: _disk(config.data)[0])
    measures.gauge(catalogue.DISK_SIZE_BYTES, read=lambda: _disk(config.data)[1])
    limit_bytes = config.max_memory_bytes
    measures.gauge(catalogue.MEMORY_BYTES, "limit", read=lambda: limit_bytes)
    measures.gauge(catalogue.BUILD_INFO, VERSION, platform.python_version(), read=lambda: 1)
    removal = _Removal(readers)
    measures.gauge(catalogue.ERASURES_PENDING, read=lambda: removal.pending_erasures)
    for number in readers:
        measures.gauge(
            catalogue.EXPIRY_HELD,
            str(number),
            read=lambda number=number: removal.is_held(number),  # type: ignore[misc]
        )
    measures.before_reading(removal.refresh)


def measure_access(measures: Measures, access: AccessWatch) -> None:
    """Registers what the process has that watches the files of access."""
    for kind in access.kinds:
        measures.gauge(
            catalogue.ACCESS_RELOAD_FAILED,
            kind,
            read=lambda kind=kind: int(access.is_broken(kind)),  # type: ignore[misc]
        )


def measure_transport(measures: Measures, config: Config, certificate: CertificateFiles | None) -> None:
    """Registers when the certificate expires, and what the operator has switched off."""
    switches = {"no-tls": config.insecure_no_tls, "no-auth": config.insecure_no_auth}
    for name, is_given in switches.items():
        measures.gauge(catalogue.INSECURE, name, read=lambda is_given=is_given: int(is_given))  # type: ignore[misc]
    if certificate is not None:
        measures.gauge(catalogue.CERTIFICATE_EXPIRY_SECONDS, read=lambda: certificate.expires_at)


class _Removal:
    """What is to be removed and is not yet, as the stores say."""

    def __init__(self, readers: Mapping[int, Readers]) -> None:
        self._readers = readers
        self._found: dict[int, tuple[int, bool]] = {}
        """By partition: how many erasures are not complete, and whether expiry is held."""

    @property
    def pending_erasures(self) -> int | None:
        """Erasures that are not complete; there is no number if a store does not answer."""
        found = self._found
        return sum(count for count, _ in found.values()) if len(found) == len(self._readers) else None

    def is_held(self, partition: int) -> bool | None:
        """Whether expiry is held; None if the store does not answer."""
        return self._found[partition][1] if partition in self._found else None

    async def refresh(self) -> None:
        """Asks the stores, which have a moment to answer."""
        found = {}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_COUNT_SECONDS):
                for number, readers in self._readers.items():
                    with contextlib.suppress(RequestError, RuntimeError):  # overloaded, damaged or closed
                        found[number] = await readers.run(
                            lambda reader: (
                                len(reader.erasures.running()),
                                reader.retention().hold is not None,
                            )
                        )
        self._found = found


class Oversight:
    """The conditions that a server checks when a probe asks for them."""

    def __init__(  # noqa: PLR0913  # all but one are named at the call
        self,
        logs: Mapping[int, CommitLog],
        *,
        presence: Presence,
        supervisor: Supervisor,
        meter: MemoryMeter,
        access: AccessWatch | None = None,
        certificate: CertificateFiles | None = None,
        audit: Auditor | None = None,
    ) -> None:
        """Takes the logs by partition.

        `access` is there if callers are asked who they are, `certificate` if calls come over TLS, `audit` if
        there is an audit log.
        """
        self._access = access
        self._certificate = certificate
        self._audit = audit
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
            # What was revoked in the newest version still works here.
            *([] if self._access is None else [Check("files of access", self._access.problem)]),
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
            *self._certificate_checks(),
            # Reads and events go on; erasures are refused one by one.
            *([] if self._audit is None else [Check("audit log", self._audit.problem, is_required=False)]),
        ]

    def _certificate_checks(self) -> list[Check]:
        if self._certificate is None:
            return []
        # What is served still works, or another node has the same files.
        return [Check("certificate", self._certificate.problem, is_required=False)]


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


def _disk(folder: Path) -> tuple[int, int] | tuple[None, None]:
    """Free bytes for this program, and all that it could have."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return None, None
    used = disk.f_blocks - disk.f_bfree
    return disk.f_bavail * disk.f_frsize, (used + disk.f_bavail) * disk.f_frsize
