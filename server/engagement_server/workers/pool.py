"""The workers of a server: as many as there should be, started again when one ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from engagement_server.workers.process import WorkerProcess

if TYPE_CHECKING:
    from engagement_server.config import Config
    from engagement_server.workers.host import LogHost

_MIN_PAUSE_SECONDS = 0.2
_MAX_PAUSE_SECONDS = 30.0
# Who lived so long did not fail because of how it was started.
_LONG_LIFE_SECONDS = 60.0
# Beyond the time that calls may take: for what they left to be committed, also where a log does not answer.
_STOP_SECONDS = 30.0

_log = logging.getLogger(__name__)


class Workers:
    """Processes that take calls on one port."""

    def __init__(self, config: Config, hosts: Mapping[int, LogHost], *, count: int) -> None:
        """`config` is that of each worker; `hosts` are the logs, by partition."""
        self._config = config
        self._hosts = hosts
        self._count = count
        self._running: dict[int, WorkerProcess] = {}
        self._keepers: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Returns once all of them take calls. Raises ConfigurationError."""
        for number in range(1, self._count + 1):
            await self._launch(number)
        for worker in self._running.values():
            await worker.until_listening()
        self._keepers = [asyncio.create_task(self._keep(number), name="workers") for number in self._running]

    async def fail(self) -> None:
        """Raises what keeps workers from being started again."""
        done, _ = await asyncio.wait(self._keepers, return_when=asyncio.FIRST_COMPLETED)
        for keeper in done:
            keeper.result()

    async def stop(self) -> None:
        """Has all of them end their calls and commit what is left, and kills those that do not."""
        for keeper in self._keepers:
            keeper.cancel()
        if self._keepers:
            await asyncio.wait(self._keepers)
        if not self._running:
            return
        for worker in self._running.values():
            worker.stop()
        ends = [worker.end for worker in self._running.values()]
        _, late = await asyncio.wait(ends, timeout=self._config.stop_grace_seconds + _STOP_SECONDS)
        for number, worker in self._running.items():
            if worker.end in late:
                _log.error("worker %d does not end, and is killed", number)
                worker.kill()
        await asyncio.wait(ends)

    async def _launch(self, number: int) -> None:
        self._running[number] = await WorkerProcess.start(number, self._config, self._hosts)

    async def _keep(self, number: int) -> None:
        """Starts a worker again whenever it ends, with longer pauses where that happens at once."""
        loop = asyncio.get_running_loop()
        pause_seconds, started = _MIN_PAUSE_SECONDS, loop.time()
        while True:
            worker = self._running[number]
            status = await asyncio.shield(worker.end)
            if loop.time() - started > _LONG_LIFE_SECONDS:
                pause_seconds = _MIN_PAUSE_SECONDS
            _log.error(
                "worker %d (process %d) ended with status %d; another one starts in %.1f s",
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
                _log.error("worker %d cannot be started: %s", number, error)
