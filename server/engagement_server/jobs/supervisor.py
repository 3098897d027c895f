"""Keeps the background jobs of a partition running, and stops them together."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from engagement_server.jobs.disk_room import watch_room
from engagement_server.jobs.erasures import Erasures
from engagement_server.jobs.node_clock import NodeClock
from engagement_server.jobs.retention import Retention
from engagement_server.metrics.catalogue import EXPIRED
from engagement_server.metrics.measures import Measures
from engagement_server.supervision import Supervisor

if TYPE_CHECKING:
    from engagement_server.jobs.agreement import Terms
    from engagement_server.log.base import CommitLog
    from engagement_server.log.committer import Committer
    from engagement_server.store.readers import Readers

EXPIRY = "expiry"
"""Name under which health says whether expiry goes on: NOT_SERVING while it is held or fails."""
INGEST_SERVICE = "engagement.v1.IngestService"
_PRIVACY_SERVICE = "engagement.v1.PrivacyService"


class Jobs:
    """The background jobs that change a partition."""

    def __init__(  # noqa: PLR0913  # all are named at the call
        self,
        *,
        committer: Committer,
        readers: Readers,
        log: CommitLog,
        terms: Terms | None,
        supervisor: Supervisor | None = None,
        measures: Measures | None = None,
    ) -> None:
        """Without `terms` another process expires events and resumes erasures; this one only runs its own."""
        self.erasures = Erasures(committer=committer, readers=readers, log=log)
        self._tasks: list[asyncio.Task[None]] = []
        if terms is not None:
            retention = Retention(
                terms,
                committer=committer,
                readers=readers,
                log=log,
                clock=NodeClock(log),
                expired=(measures or Measures()).count(EXPIRED),
            )
            supervisor = supervisor or Supervisor()
            self._tasks = [
                supervisor.start("retention", retention.run, service=EXPIRY),
                supervisor.start("erasures-resume", self.erasures.resume, service=_PRIVACY_SERVICE),
                supervisor.start("disk-room", lambda: watch_room(log), service=INGEST_SERVICE),
            ]

    async def stop(self) -> None:
        """Ends each job between two steps; the rest is resumed after a restart."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self.erasures.stop()
