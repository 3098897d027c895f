"""Keeps the background jobs of a partition running, and stops them together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from engagement_server.errors import RequestError
from engagement_server.jobs.erasures import Erasures
from engagement_server.jobs.node_clock import NodeClock
from engagement_server.jobs.retention import Retention

if TYPE_CHECKING:
    from engagement_server.jobs.agreement import Terms
    from engagement_server.log.base import CommitLog
    from engagement_server.log.committer import Committer
    from engagement_server.store.readers import Readers

_MIN_RESTART_SECONDS = 1.0
_MAX_RESTART_SECONDS = 300.0

_log = logging.getLogger(__name__)


class Jobs:
    """The background jobs that change a partition."""

    def __init__(
        self, *, committer: Committer, readers: Readers, log: CommitLog, terms: Terms | None
    ) -> None:
        """Without `terms` another process expires events and resumes erasures; this one only runs its own."""
        self.erasures = Erasures(committer=committer, readers=readers, log=log)
        self._tasks: list[asyncio.Task[None]] = []
        if terms is not None:
            retention = Retention(terms, committer=committer, readers=readers, log=log, clock=NodeClock(log))
            for name, job in (("retention", retention.run), ("erasures-resume", self.erasures.resume)):
                self._tasks.append(asyncio.create_task(supervise(name, job), name=name))

    async def stop(self) -> None:
        """Ends each job between two steps; the rest is resumed after a restart."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self.erasures.stop()


async def supervise(
    name: str, job: Callable[[], Awaitable[None]], *, min_restart_seconds: float = _MIN_RESTART_SECONDS
) -> None:
    """Runs a job until it returns. A job that fails is logged, and restarted after ever longer pauses."""
    pause_seconds = min_restart_seconds
    while True:
        try:
            return await job()
        except RequestError as error:
            _log.error("the job %s is postponed for %.0f s: %s", name, pause_seconds, error)
        except Exception:
            _log.exception("the job %s failed; it restarts in %.0f s", name, pause_seconds)
        await asyncio.sleep(pause_seconds)
        pause_seconds = min(2 * pause_seconds, _MAX_RESTART_SECONDS)
