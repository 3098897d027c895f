"""Runs a server until a signal stops it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

import uvloop

from engagement_server.access.audit_config import AUDIT_OFF
from engagement_server.access.config import ACCESS_OFF
from engagement_server.api.observers import Observers
from engagement_server.errors import ConfigurationError
from engagement_server.http.checks import Readiness
from engagement_server.http.stats import StatsDocument
from engagement_server.http.visitors import note_refused_visitor
from engagement_server.listeners import open_certificate, require_protected_listeners
from engagement_server.metrics.catalogue import READY
from engagement_server.metrics.exposition import Exposition
from engagement_server.metrics.measures import Measures
from engagement_server.node import Server, prepare_process
from engagement_server.oversight import VERSION, trace_process
from engagement_server.service_manager import ServiceManager
from engagement_server.supervision import run_in_background, supervise
from engagement_server.telemetry.config import DEFAULT_LINES
from engagement_server.telemetry.setup import report_of_loop

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from engagement import v1
    from engagement_server.access.audit_config import AuditConfig
    from engagement_server.access.audit_log import AuditLog
    from engagement_server.access.config import AccessConfig
    from engagement_server.access.identities import Credentials
    from engagement_server.access.watch import AccessWatch
    from engagement_server.config import Config
    from engagement_server.http.checks import Check
    from engagement_server.http.config import HttpConfig
    from engagement_server.http.port import ManagementPort
    from engagement_server.log.nats.config import LogConfig
    from engagement_server.telemetry.config import LogLineConfig
    from engagement_server.transport.certificate_files import CertificateFiles
    from engagement_server.workers.config import WorkerConfig


class Addresses(NamedTuple):
    """Where a server listens: HOST:PORT of each."""

    listen: str
    http: str | None
    """Of the management port, if there is one."""
    mtls_listen: str | None
    is_https: bool


Report: TypeAlias = Callable[[Addresses], None]

_log = logging.getLogger(__name__)


class Running(Protocol):
    """A server of one process, or of several."""

    address: str
    mtls_address: str | None

    def checks(self) -> Sequence[Check]:
        """The conditions of readiness as they are now."""

    @property
    def stats(self) -> v1.GetServerStatsResponse:
        """What the server does now, as it was sampled last."""

    async def fail(self) -> None:
        """Raises LogError once the server has to end."""

    def report_stopping(self) -> None:
        """Reports NOT_SERVING from now on, and goes on taking calls."""

    async def stop(self) -> None:
        """Stops the server with everything acknowledged or refused."""


def print_addresses(addresses: Addresses) -> None:
    """Prints where a server listens, for people and scripts."""
    print(f"listening on {addresses.listen}", flush=True)
    if addresses.http is not None:
        scheme = "https" if addresses.is_https else "http"
        print(f"health and metrics on {scheme}://{addresses.http}", flush=True)
    if addresses.mtls_listen is not None:
        print(f"clients with certificates on {addresses.mtls_listen}", flush=True)


def serve(  # noqa: PLR0913  # all but one are named at the call
    config: Config,
    *,
    log: LogConfig | None = None,
    workers: WorkerConfig | None = None,
    access: AccessConfig = ACCESS_OFF,
    audit: AuditConfig = AUDIT_OFF,
    http: HttpConfig | None = None,
    lines: LogLineConfig = DEFAULT_LINES,
    report: Report = print_addresses,
) -> None:
    """Serves until SIGTERM or SIGINT, then stops gracefully. Raises ConfigurationError and LogError.

    Without `http` there is no management port. `report` is called once the server takes calls.
    """
    prepare_process(lines)
    asks_identity = access.is_on
    warnings = require_protected_listeners(config, http, asks_identity=asks_identity)
    uvloop.run(
        _serve(
            config,
            log=log,
            workers=workers,
            access=access,
            audit=audit,
            http=http,
            lines=lines,
            warnings=warnings,
            report=report,
        )
    )


async def _serve(  # noqa: PLR0913  # all but one are named at the call
    config: Config,
    *,
    log: LogConfig | None,
    workers: WorkerConfig | None,
    access: AccessConfig,
    audit: AuditConfig,
    http: HttpConfig | None,
    lines: LogLineConfig,
    warnings: Iterable[str],
    report: Report,
) -> None:
    asyncio.get_running_loop().set_exception_handler(report_of_loop)
    stop, hurry = _take_signals()
    watch = _watch_access(access, config)
    stopping = asyncio.create_task(stop.wait())
    measures, readiness, manager = Measures(), Readiness(), ServiceManager()
    stats = StatsDocument()
    measures.gauge(READY, read=lambda: readiness.is_ready)
    async with contextlib.AsyncExitStack() as ending:
        ending.callback(run_in_background("tell-service-manager", manager.beat).cancel)
        # First and last: probes and scrapes see how the server starts and stops.
        files = open_certificate(config)
        if files is not None:
            ending.callback(asyncio.create_task(supervise("watch-certificate", files.watch)).cancel)
        audit_log = _open_audit(audit, config, measures, watch)
        if audit_log is not None:
            ending.push_async_callback(audit_log.close)
        _reload_on_hangup(
            [
                *([] if files is None else [files.reload]),
                *([] if watch is None else [watch.look_now]),
                *([] if audit_log is None else [audit_log.reopen]),
            ]
        )
        credentials = None if watch is None else watch.directory
        port = await _open_port(config, http, measures, readiness, stats, files, credentials, audit_log)
        if port is not None:
            ending.push_async_callback(port.close)
        tracing = trace_process(config, measures, name="server")
        if tracing is not None:
            ending.push_async_callback(tracing.close)
        tracer = None if tracing is None else tracing.tracer
        observers = Observers(measures, lines, tracer, audit_log)
        starting = asyncio.create_task(_start(config, log, workers, observers, access=watch, files=files))
        await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():  # it waits for the log, or for its workers
            starting.cancel()
            await asyncio.wait([starting])
            return
        server = starting.result()
        readiness.begin(server.checks)
        stats.begin(lambda: server.stats)
        for warning in warnings:  # here, where no error is to be the only line
            _log.warning("%s", warning)
        report(_addresses(server, port))
        manager.note_ready(server.address)
        failing = asyncio.create_task(server.fail())
        await asyncio.wait([failing, stopping], return_when=asyncio.FIRST_COMPLETED)
        _log.info("stopping")
        readiness.note_stopping()
        manager.note_stopping()
        failed = failing.done()
        if not failed:
            await _be_lame_duck(server, failing, hurry, seconds=config.lame_duck_seconds)
            failed = failing.done()
            failing.cancel()
        await server.stop()
        if failed:
            failing.result()


def _watch_access(access: AccessConfig, config: Config) -> AccessWatch | None:
    """Reads who is known, if callers are asked. Raises ConfigurationError."""
    access.require_way_in(by_certificate=bool(config.mtls_listen))
    if not access.is_on:
        return None
    from engagement_server.access.watch import AccessWatch  # noqa: PLC0415  # most servers ask nobody

    return AccessWatch(access)


def _open_audit(
    audit: AuditConfig, config: Config, measures: Measures, watch: AccessWatch | None
) -> AuditLog | None:
    """Begins the audit log, if there is to be one. Raises ConfigurationError."""
    if not audit.is_on:
        return None
    from engagement_server.access.audit_access import AccessAudit  # noqa: PLC0415  # most servers have none
    from engagement_server.access.audit_log import AuditLog  # noqa: PLC0415

    audit_log = AuditLog.open(audit, data=config.data, measures=measures)
    audit_log.begin(version=VERSION)
    if watch is not None:
        AccessAudit(audit_log, watch)
    return audit_log


def _reload_on_hangup(reloads: Sequence[Callable[[], None]]) -> None:
    """Lets files be read again on SIGHUP. Without any, it ends the server, as a closed terminal should."""
    if not reloads:
        return

    def reload_all() -> None:
        for reload in reloads:
            reload()

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload_all)


def _addresses(server: Running, port: ManagementPort | None) -> Addresses:
    return Addresses(
        server.address,
        http=None if port is None else port.address,
        mtls_listen=server.mtls_address,
        is_https=port is not None and port.is_encrypted,
    )


def _take_signals() -> tuple[asyncio.Event, asyncio.Event]:
    """Events of the first signal that asks to stop, and of the second."""
    stop, hurry = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(
            number, lambda: hurry.set() if stop.is_set() else stop.set()
        )
    return stop, hurry


async def _be_lame_duck(
    server: Running, failing: asyncio.Task[None], hurry: asyncio.Event, *, seconds: float
) -> None:
    """Takes calls while load balancers learn that the server stops, unless it fails or has to hurry."""
    server.report_stopping()
    if not seconds:
        return
    _log.info("calls are taken for %g s, or until the next signal", seconds)
    hurrying = asyncio.create_task(hurry.wait())
    await asyncio.wait([failing, hurrying], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    hurrying.cancel()


async def _open_port(  # noqa: PLR0913, PLR0917  # the parts that `_serve` makes
    config: Config,
    http: HttpConfig | None,
    measures: Measures,
    readiness: Readiness,
    stats: StatsDocument,
    files: CertificateFiles | None,
    credentials: Credentials | None,
    audit: AuditLog | None,
) -> ManagementPort | None:
    """The management port, unless there is to be none. Raises ConfigurationError."""
    if http is None or not http.is_on:
        return None
    try:
        from engagement_server.http.port import ManagementPort  # noqa: PLC0415  # what it loads is not small
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"serving HTTP needs {error.name}, which is not installed; install it with:"
            " pip install 'engagement-attributes[server]', or give --http off"
        ) from error
    return await ManagementPort.open(
        http,
        readiness,
        Exposition(measures),
        stats,
        listen=config.listen,
        context=None if files is None else lambda: files.context,
        credentials=credentials,
        on_refused=None if audit is None else partial(note_refused_visitor, audit),
    )


async def _start(  # noqa: PLR0913  # the parts that `_serve` makes
    config: Config,
    log: LogConfig | None,
    workers: WorkerConfig | None,
    observers: Observers,
    *,
    access: AccessWatch | None,
    files: CertificateFiles | None,
) -> Running:
    if workers is None or workers.workers == 1:
        return await Server.start(config, log, observers=observers, access=access, files=files)
    from engagement_server.workers.parent import Parent  # noqa: PLC0415  # an optional room

    return await Parent.start(
        config, log, worker_count=workers.workers, observers=observers, access=access, files=files
    )
