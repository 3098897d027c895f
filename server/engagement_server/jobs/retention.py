"""Expires events by their age since acceptance, and uploads that have gone idle."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engagement_server.clock import now_ms
from engagement_server.errors import DrainingError, UnavailableError
from engagement_server.operations import ExpireEvents, ExpireUploads

if TYPE_CHECKING:
    from datetime import timedelta

    from engagement_server.log.committer import Committer
    from engagement_server.store.readers import Readers

_INTERVAL_SECONDS = 3600.0
# Pause after each step, in durations of the step, in which the writer is free for other commits.
_PAUSE_FACTOR = 4

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ages:
    """How long events and idle uploads are kept."""

    events: timedelta
    idle_uploads: timedelta


class Retention:
    """A job that expires a few rows at a time, so that it never holds up other commits for long."""

    def __init__(
        self,
        ages: Ages,
        *,
        committer: Committer,
        readers: Readers,
        interval_seconds: float = _INTERVAL_SECONDS,
    ) -> None:
        self._ages = ages
        self._committer = committer
        self._readers = readers
        self._interval_seconds = interval_seconds

    async def run(self) -> None:
        """Expires now and at every interval; returns once the server drains."""
        while True:
            try:
                await self._expire(now_ms=now_ms())
            except DrainingError:
                return
            except UnavailableError as error:
                _log.warning("expiry is postponed: %s", error)
            await asyncio.sleep(self._interval_seconds)

    async def _expire(self, *, now_ms: int) -> None:
        events_before_ms = now_ms - int(self._ages.events.total_seconds() * 1000)
        idle_since_ms = now_ms - int(self._ages.idle_uploads.total_seconds() * 1000)
        await self._repeat(ExpireUploads(idle_since_ms, finished_before_ms=events_before_ms))
        accounts = await self._readers.run(
            lambda reader: reader.accounts_with_events_before(events_before_ms)
        )
        for account_id in accounts:
            await self._repeat(ExpireEvents(account_id, events_before_ms))

    async def _repeat(self, operation: ExpireUploads | ExpireEvents) -> None:
        """Repeats a bounded operation until it finds nothing left to expire."""
        while True:
            await self._committer.wait_for_room()
            began = time.monotonic()
            if not await self._committer.submit(operation, returns=int):
                return
            await asyncio.sleep(_PAUSE_FACTOR * (time.monotonic() - began))
