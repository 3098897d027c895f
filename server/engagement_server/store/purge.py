"""Leaves no byte of removed rows in the files of the store, in parts between commits."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import apsw

from engagement_server.store.database import BUSY_TIMEOUT_MS, unavailable
from engagement_server.store.index_purge import IndexPurge
from engagement_server.store.residue import DatabasePages

if TYPE_CHECKING:
    from collections.abc import Generator

# The writer waits this long for readers to let go of the log, then lets commits pass and tries again.
_READER_WAIT_MS = 50
_MAX_BUSY_ATTEMPTS = 100
# How long a purge holds up commits before it lets those pass that wait.
_MAX_HOLD_SECONDS = 0.1
_BUSY_PAUSE_SECONDS = 0.05


class Purge:
    """One purge, from its start to its end. Runs on the writer's thread."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._index = IndexPurge(connection)
        self._held_since = time.monotonic()

    @staticmethod
    def schedule(connection: apsw.Connection) -> None:
        """Makes a purge due; works inside the transaction of the caller."""
        connection.execute("INSERT OR REPLACE INTO settings VALUES ('purge', 'due')")

    @property
    def is_due(self) -> bool:
        """Whether something was removed since the last purge, or one was not finished."""
        row = self._connection.execute("SELECT 1 FROM settings WHERE name = 'purge'").fetchone()
        return row is not None

    def steps(self) -> Generator[float]:
        """Does a part, then yields for how many seconds commits should pass; ends when nothing is left.

        Raises StoreUnavailableError where a reader holds on to the write-ahead log for too long.
        """
        try:
            # What is removed from here on makes it due again.
            self._connection.execute("UPDATE settings SET value = 'running' WHERE name = 'purge'")
            yield from self._merge_index()
            yield from self._empty_log()
            with contextlib.closing(DatabasePages(self._connection.db_filename("main"))) as pages:
                yield from self._zero(pages)
            self._connection.execute("DELETE FROM settings WHERE name = 'purge' AND value = 'running'")
        except apsw.Error as error:
            raise unavailable(error) from error

    def _merge_index(self) -> Generator[float]:
        is_done = False
        while not is_done:
            with self._connection:
                is_done = self._index.step()
            yield from self._let_pass()

    def _empty_log(self) -> Generator[float]:
        """Moves everything from the write-ahead log to the file, and truncates the log.

        Deleted rows are overwritten in the file, but older versions of their pages stand in the log.
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
                # Else a page would be written again as it stands in the cache of the connection.
                self._connection.release_memory()
                pages.zero_residue(found)
            yield from self._let_pass()

    def _let_pass(self) -> Generator[float]:
        """Lets commits pass where they were held up for some time."""
        if time.monotonic() - self._held_since > _MAX_HOLD_SECONDS:
            yield 0
            self._held_since = time.monotonic()
