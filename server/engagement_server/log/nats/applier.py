"""Applies the entries of the log to the view of a node, however long its store fails. It knows no network."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from engagement_server.errors import StoreUnavailableError
from engagement_server.log.disk_room import apply_entries_with_reserve
from engagement_server.log.writer_thread import WriterThread
from engagement_server.log_entries import LogEntry
from engagement_server.store.log_digest import DigestState
from engagement_server.store.log_position import LogPosition
from engagement_server.store.writer import Writer
from engagement_server.supervision import supervise

if TYPE_CHECKING:
    from engagement_server.operations import Applied
    from engagement_server.store.database import DatabaseFile, Identity
    from engagement_server.store.reserve import Reserve

_log = logging.getLogger(__name__)

_RETRY_SECONDS = 0.2
_MAX_RETRY_SECONDS = 5.0
_PURGE_RETRY_SECONDS = 10.0

DelayCallback = Callable[[Sequence[LogEntry], StoreUnavailableError], None]


class Applier:
    """Applies every entry, in order, and purges the view after erasures."""

    def __init__(
        self,
        database: DatabaseFile,
        identity: Identity | None,
        *,
        on_delay: DelayCallback,
        reserve: Reserve | None = None,
    ) -> None:
        """Opens the view, a new one with the identity of the log. Raises ConfigurationError.

        `on_delay` is called with the entries that cannot be applied now.
        """
        self._writer = WriterThread(database, identity)
        self.position = self._writer.position
        """The last entry that the view has applied."""
        self.divergence = self._writer.divergence
        """How the view differed from others when they were last compared."""
        self.last_erasure_ms = self._writer.last_erasure_ms
        self._on_delay = on_delay
        self._reserve = reserve
        self._failure: StoreUnavailableError | None = None
        self._retry_now = asyncio.Event()
        self._retried = asyncio.Event()
        self._purge_due = asyncio.Event()
        self._purge_due.set()  # an erasure may have been left when the node ended
        self._purging = asyncio.create_task(supervise("log-purge", self._purge_when_due), name="log-purge")

    async def require_writable(self, deadline: float) -> None:
        """Retries a failing store now. Raises StoreUnavailableError if it still fails at the deadline."""
        if self._failure is None:
            return
        self._retried.clear()
        self._retry_now.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await self._retried.wait()
        if self._failure is not None:
            raise self._failure

    async def apply(self, entries: Sequence[LogEntry]) -> list[Applied | None]:
        """Applies entries, retrying until the store takes them; None for entries that change nothing.

        Raises InapplicableCommitError if trying again does not help.
        """
        delay_seconds = _RETRY_SECONDS
        while True:
            try:
                applied = await self._writer.run(
                    lambda writer: apply_entries_with_reserve(writer, entries, self._reserve)
                )
            except StoreUnavailableError as error:
                _log.error("cannot write the view: %s", error.fault)
                self._failure = error
                self._on_delay(entries, error)
            else:
                self._failure = None
                self._retried.set()
                self.position = LogPosition(entries[-1].sequence, entries[-1].message_id)
                return applied
            self._retry_now.clear()
            self._retried.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay_seconds):
                    await self._retry_now.wait()
            delay_seconds = min(2 * delay_seconds, _MAX_RETRY_SECONDS)

    async def compare_digests(self) -> DigestState:
        """Compares the view with others; while the store fails, as if it had no votes to give."""
        try:
            state = await self._writer.run(Writer.compare_digests)
        except StoreUnavailableError:
            return DigestState(self.divergence, [], None)
        self.divergence = state.divergence
        return state

    async def run(self, work: Callable[[Writer], None]) -> None:
        """Runs `work` with the writer."""
        await self._writer.run(work)

    async def purge(self) -> None:
        """See `CommitLog.purge`."""
        await self._writer.purge()

    def schedule_purge(self) -> None:
        """Purges the view soon, if an erasure that another node ran has left bytes in it."""
        self._purge_due.set()

    async def close(self) -> None:
        """Closes the view."""
        self._purging.cancel()
        await asyncio.wait([self._purging])
        await self._writer.close()

    async def _purge_when_due(self) -> None:
        while True:
            await self._purge_due.wait()
            self._purge_due.clear()
            try:
                await self._writer.purge_if_due()
            except StoreUnavailableError as error:
                _log.warning("cannot purge the files of the view, will retry: %s", error.fault)
                await asyncio.sleep(_PURGE_RETRY_SECONDS)
                self._purge_due.set()
