"""Runs a server until a signal stops it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeAlias

import uvloop

from engagement_server.errors import ConfigurationError
from engagement_server.http.checks import Readiness
from engagement_server.http.stats import StatsDocument
from engagement_server.metrics.catalogue import READY
from engagement_server.metrics.exposition import Exposition
from engagement_server.metrics.measures import Measures
from engagement_server.node import Server, prepare_process

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engagement import v1
    from engagement_server.config import Config
    from engagement_server.http.checks import Check
    from engagement_server.http.config import HttpConfig
    from engagement_server.http.port import ManagementPort
    from engagement_server.log.nats.config import LogConfig
    from engagement_server.workers.config import WorkerConfig

Report: TypeAlias = Callable[[str, str | None], None]
"""Takes HOST:PORT of the server, and of its management port if there is one."""

_log = logging.getLogger(__name__)


class Running(Protocol):
    """A server of one process, or of several."""

    address: str

    def checks(self) -> Sequence[Check]:
        """The conditions of readiness as they are now."""

    @property
    def stats(self) -> v1.GetServerStatsResponse:
        """What the server does now, as it was sampled last."""

    async def fail(self) -> None:
        """Raises LogError once the server has to end."""

    async def stop(self) -> None:
        """Stops the server with everything acknowledged or refused."""


def print_addresses(address: str, http_address: str | None) -> None:
    """Prints where a server listens, for people and scripts."""
    print(f"listening on {address}", flush=True)
    if http_address is not None:
        print(f"health and metrics on http://{http_address}", flush=True)


def serve(
    config: Config,
    *,
    log: LogConfig | None = None,
    workers: WorkerConfig | None = None,
    http: HttpConfig | None = None,
    report: Report = print_addresses,
) -> None:
    """Serves until SIGTERM or SIGINT, then stops gracefully. Raises ConfigurationError and LogError.

    Without `http` there is no management port. `report` is called once the server takes calls.
    """
    prepare_process()
    uvloop.run(_serve(config, log, workers, http, report))


async def _serve(
    config: Config,
    log: LogConfig | None,
    workers: WorkerConfig | None,
    http: HttpConfig | None,
    report: Report,
) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    stopping = asyncio.create_task(stop.wait())
    measures, readiness, stats = Measures(), Readiness(), StatsDocument()
    measures.gauge(READY, read=lambda: readiness.is_ready)
    async with contextlib.AsyncExitStack() as ending:
        # First and last: probes and scrapes see how the server starts and stops.
        port = await _open_port(config, http, measures, readiness, stats)
        if port is not None:
            ending.push_async_callback(port.close)
        starting = asyncio.create_task(_start(config, log, workers, measures))
        await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():  # it waits for the log, or for its workers
            starting.cancel()
            await asyncio.wait([starting])
            return
        server = starting.result()
        readiness.begin(server.checks)
        stats.begin(lambda: server.stats)
        report(server.address, port.address if port is not None else None)
        failing = asyncio.create_task(server.fail())
        await asyncio.wait([failing, stopping], return_when=asyncio.FIRST_COMPLETED)
        _log.info("stopping")
        readiness.note_stopping()
        failed = failing.done()
        if not failed:
            failing.cancel()
        await server.stop()
        if failed:
            failing.result()


async def _open_port(
    config: Config,
    http: HttpConfig | None,
    measures: Measures,
    readiness: Readiness,
    stats: StatsDocument,
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
    return await ManagementPort.open(http, readiness, Exposition(measures), stats, listen=config.listen)


async def _start(
    config: Config, log: LogConfig | None, workers: WorkerConfig | None, measures: Measures
) -> Running:
    if workers is None or workers.workers == 1:
        return await Server.start(config, log, measures=measures)
    from engagement_server.workers.parent import Parent  # noqa: PLC0415  # an optional room

    return await Parent.start(config, log, worker_count=workers.workers, measures=measures)
