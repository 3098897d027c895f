"""Runs a server until a signal stops it."""

from __future__ import annotations

import asyncio
import logging
import signal
from typing import TYPE_CHECKING, Protocol

import uvloop

from engagement_server.node import Server, cluster_extra, prepare_process

if TYPE_CHECKING:
    from engagement_server.config import Config
    from engagement_server.log.nats.config import LogConfig
    from engagement_server.workers.config import WorkerConfig

_log = logging.getLogger(__name__)


class Running(Protocol):
    """A server of one process, or of several."""

    address: str

    async def fail(self) -> None:
        """Raises LogError once the server has to end."""

    async def stop(self) -> None:
        """Stops the server with everything acknowledged or refused."""


def serve(config: Config, *, log: LogConfig | None = None, workers: WorkerConfig | None = None) -> None:
    """Serves until SIGTERM or SIGINT, then stops gracefully. Raises ConfigurationError and LogError."""
    prepare_process()
    if log is not None and log.metrics:
        with cluster_extra():
            from engagement_server.log.nats.metrics import expose  # noqa: PLC0415  # an optional room

        expose(log.metrics)
    uvloop.run(_serve(config, log, workers))


async def _serve(config: Config, log: LogConfig | None, workers: WorkerConfig | None) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    stopping = asyncio.create_task(stop.wait())
    starting = asyncio.create_task(_start(config, log, workers))
    await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():  # it waits for the log, or for its workers
        starting.cancel()
        await asyncio.wait([starting])
        return
    server = starting.result()
    print(f"listening on {server.address}", flush=True)
    failing = asyncio.create_task(server.fail())
    await asyncio.wait([failing, stopping], return_when=asyncio.FIRST_COMPLETED)
    _log.info("stopping")
    failed = failing.done()
    if not failed:
        failing.cancel()
    await server.stop()
    if failed:
        failing.result()


async def _start(config: Config, log: LogConfig | None, workers: WorkerConfig | None) -> Running:
    if workers is None or workers.workers == 1:
        return await Server.start(config, log)
    from engagement_server.workers.parent import Parent  # noqa: PLC0415  # an optional room

    return await Parent.start(config, log, worker_count=workers.workers)
