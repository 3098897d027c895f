"""Purges every byte of removed rows from the files of the store, in steps between commits."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import apsw

from engagement_server.store.database import BUSY_TIMEOUT_MS
from engagement_server.store.failures import failure_of
from engagement_server.store.index_purge import IndexPurge
from engagement_server.store.index_rebuild import is_index_current, rebuild_index_at_once
from engagement_server.store.residue import DatabasePages

if TYPE_CHECKING:
    from collections.abc import Generator

# The writer waits this long for readers to release the log, then lets commits pass and tries again.
_READER_WAIT_MS = 50
_MAX_BUSY_ATTEMPTS = 100
# How long a purge blocks commits before it lets waiting ones pass.
_MAX_HOLD_SECONDS = 0.1
_BUSY_PAUSE_SECONDS = 0.05


class Purge:
    """One purge. Runs on the writer's thread."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._index = IndexPurge(connection)
        self._held_since = time.monotonic()

    @staticmethod
    def schedule(connection: apsw.Connection) -> None:
        """Schedules a purge, inside the transaction of the caller."""
        connection.execute("INSERT OR REPLACE INTO settings VALUES ('purge', 'due')")

    @property
    def is_due(self) -> bool:
        """Whether a purge is scheduled or was interrupted."""
        row = self._connection.execute("SELECT 1 FROM settings WHERE name = 'purge'").fetchone()
        return row is not None

    def steps(self) -> Generator[float]:
        """Purges in steps; after each, yields for how many seconds commits should pass.

        Raises StoreUnavailableError if a reader holds the write-ahead log for too long.
        """
        try:
            # Removals from here on schedule another purge.
            self._connection.execute("UPDATE settings SET value = 'running' WHERE name = 'purge'")
            if not is_index_current(self._connection):
                rebuild_index_at_once(self._connection)
            yield from self._merge_index()
            yield from self._empty_log()
            with contextlib.closing(DatabasePages(self._connection.db_filename("main"))) as pages:
                yield from self._zero(pages)
            self._connection.execute("DELETE FROM settings WHERE name = 'purge' AND value = 'running'")
        except apsw.Error as error:
            raise failure_of(error) from error

    def _merge_index(self) -> Generator[float]:
        is_done = False
        while not is_done:
            with self._connection:
                is_done = self._index.step()
            yield from self._let_pass()

    def _empty_log(self) -> Generator[float]:
        """Checkpoints the write-ahead log and truncates it.

        Deleted rows are overwritten in the file, but the log has older versions of their pages.
        """
        for _ in range(_MAX_BUSY_ATTEMPTS):
            if self._truncate_log():
                return
            yield _BUSY_PAUSE_SECONDS
        raise apsw.BusyError

    def _truncate_log(self) -> bool:
        self._connection.set_busy_timeout(_READER_WAIT_MS)
        try:
            ((is_busy, _, _),) = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            self._connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        return not is_busy

    def _zero(self, pages: DatabasePages) -> Generator[float]:
        for found in pages.find_residue():
            if found:
                yield from self._empty_log()
                # Otherwise the connection would write pages again as they are in its cache.
                self._connection.release_memory()
                pages.zero_residue(found)
            yield from self._let_pass()

    def _let_pass(self) -> Generator[float]:
        """Lets commits pass if they have been blocked for some time."""
        if time.monotonic() - self._held_since > _MAX_HOLD_SECONDS:
            yield 0
            self._held_since = time.monotonic()
