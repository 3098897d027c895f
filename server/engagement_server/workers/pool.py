"""The pool of workers: starts them, and replaces each that exits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from engagement_server.workers.process import WorkerProcess
from engagement_server.workers.quotas import SharedLedger
from engagement_server.workers.settings import encode_contents

if TYPE_CHECKING:
    from engagement_server.access.audit import Auditor
    from engagement_server.access.files import AllContents
    from engagement_server.access.watch import AccessWatch
    from engagement_server.config import Config
    from engagement_server.telemetry.config import LogLineConfig
    from engagement_server.transport.served_certificate import Pem, ServedCertificate
    from engagement_server.workers.counts import SharedCounts
    from engagement_server.workers.remote_log_server import RemoteLogServer

_MIN_PAUSE_SECONDS = 0.2
_MAX_PAUSE_SECONDS = 30.0
# A worker that has run for this long did not fail because of its start.
_LONG_RUN_SECONDS = 60.0
# Time beyond the grace period of calls, in which their operations are committed or a dead log times out.
_STOP_SECONDS = 30.0

_log = logging.getLogger(__name__)


class WorkerPool:
    """A fixed number of workers on one port."""

    def __init__(  # noqa: PLR0913  # all but three are named at the call
        self,
        config: Config,
        logs: Mapping[int, RemoteLogServer],
        counts: SharedCounts,
        *,
        count: int,
        lines: LogLineConfig,
        access: AccessWatch | None = None,
        audit: Auditor | None = None,
        certificate: ServedCertificate | None = None,
    ) -> None:
        """Takes the settings of each worker, the logs by partition, and where workers' counts go.

        `access` is there if callers are asked; workers get its versions. `audit` takes their lines.
        """
        self._access = access
        if access is not None:
            access.subscribe(self._hand_access)
        self._audit = audit
        self._config = config
        self._lines = lines
        self._certificate = certificate
        self._logs = logs
        self._counts = counts
        self._quotas = SharedLedger()
        self._count = count
        self._running: dict[int, WorkerProcess] = {}
        self._stalled: frozenset[str] = frozenset()
        self._is_stopping = False
        self._keepers: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Returns once all workers accept calls. Raises ConfigurationError."""
        for number in range(1, self._count + 1):
            await self._launch(number)
        for worker in self._running.values():
            await worker.until_listening()
        self._keepers = [asyncio.create_task(self._keep(number), name="workers") for number in self._running]

    async def fail(self) -> None:
        """Raises the error that prevents workers from being restarted."""
        done, _ = await asyncio.wait(self._keepers, return_when=asyncio.FIRST_COMPLETED)
        for keeper in done:
            keeper.result()

    def report_stalled(self, services: frozenset[str]) -> None:
        """Reports to all workers, also to later ones, the services whose background jobs are stalled."""
        self._stalled = services
        for worker in self._running.values():
            worker.report_stalled(services)

    def report_stopping(self) -> None:
        """Lets all workers, also later ones, report that the server will stop."""
        self._is_stopping = True
        for worker in self._running.values():
            worker.report_stopping()

    def send_certificate(self, pem: Pem) -> None:
        """Lets all workers give new connections this certificate; later ones start with it."""
        for worker in self._running.values():
            worker.send_certificate(pem)

    async def stop(self) -> None:
        """Stops all workers: they end their calls and commit; late ones are killed."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        if not self._running:
            return
        for worker in self._running.values():
            worker.stop()
        ends = [worker.end for worker in self._running.values()]
        _, late = await asyncio.wait(ends, timeout=self._config.stop_grace_seconds + _STOP_SECONDS)
        for number, worker in self._running.items():
            if worker.end in late:
                _log.error("worker %d does not exit, killing it", number)
                worker.kill()
        await asyncio.wait(ends)

    async def _launch(self, number: int) -> None:
        pem = None if self._certificate is None else self._certificate.pem
        worker = await WorkerProcess.start(
            number,
            self._config,
            self._logs,
            self._counts,
            quotas=self._quotas,
            lines=self._lines,
            access=self._access,
            audit=self._audit,
            certificate=pem,
        )
        self._running[number] = worker
        if self._certificate is not None and self._certificate.pem is not pem:  # replaced meanwhile
            worker.send_certificate(self._certificate.pem)
        worker.report_stalled(self._stalled)
        if self._is_stopping:
            worker.report_stopping()

    def _hand_access(self, contents: AllContents) -> None:
        encoded = encode_contents(contents)
        for worker in self._running.values():
            worker.hand_access(encoded)

    async def _keep(self, number: int) -> None:
        """Restarts a worker whenever it exits, after longer pauses if it keeps exiting soon."""
        loop = asyncio.get_running_loop()
        pause_seconds, started = _MIN_PAUSE_SECONDS, loop.time()
        while True:
            worker = self._running[number]
            status = await asyncio.shield(worker.end)
            if loop.time() - started > _LONG_RUN_SECONDS:
                pause_seconds = _MIN_PAUSE_SECONDS
            _log.error(
                "worker %d (process %d) exited with status %d; restarting it in %.1f s",
                number,
                worker.pid,
                status,
                pause_seconds,
            )
            await asyncio.sleep(pause_seconds)
            pause_seconds, started = min(2 * pause_seconds, _MAX_PAUSE_SECONDS), loop.time()
            try:
                await self._launch(number)
            except OSError as error:
                _log.error("cannot start worker %d: %s", number, error)
