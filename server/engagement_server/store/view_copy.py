"""Copies a view into one file, from which the view of another node can continue."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import apsw

from engagement_server.errors import DamagedSnapshotError, DataDamagedError, StoreUnavailableError
from engagement_server.store.checksums import connect, require_checked
from engagement_server.store.database import FILE_NAME, DatabaseFile, read_state
from engagement_server.store.failures import failure_of
from engagement_server.store.log_digest import DigestRows, forget_voter
from engagement_server.store.page_file import PAGE_BYTES, PageFile
from engagement_server.store.purge import Purge

if TYPE_CHECKING:
    from pathlib import Path

    from engagement_server.store.database import StoreState

# Disk space that a copy leaves to the store itself.
_SPARE_BYTES = 64 * 1024 * 1024
_STEPS_BETWEEN_LOOKS = 100_000


class ViewCopy:
    """Copies a view in use. The copy is made in one thread and may be stopped from any."""

    def __init__(self, database: DatabaseFile, path: Path) -> None:
        self._database = database
        self._path = path
        self._is_stopped = threading.Event()

    def stop(self) -> None:
        """Stops `make`, which then raises."""
        self._is_stopped.set()

    def make(self) -> StoreState:
        """Writes the copy, as of one moment, without free pages and without bytes of erased events.

        Readers and the writer continue, but the write-ahead log cannot be truncated meanwhile.
        Raises StoreUnavailableError.
        """
        try:
            with contextlib.closing(self._database.open_reader()) as connection:
                self._require_room(connection)
                # Writing the copy is more than a reading connection may do.
                connection.pragma("query_only", 0)
                connection.set_progress_handler(self._is_stopped.is_set, _STEPS_BETWEEN_LOOKS)
                connection.execute("VACUUM INTO ?", (str(self._path),))
            _add_checksums(self._path, is_stopped=self._is_stopped.is_set)
            with contextlib.closing(_open(self._path, apsw.SQLITE_OPEN_READWRITE)) as copy:
                forget_voter(copy)
                self._purge(copy)
                return read_state(copy)
        except apsw.Error as error:
            raise failure_of(error) from error

    def _require_room(self, connection: apsw.Connection) -> None:
        pages = connection.pragma("page_count") - connection.pragma("freelist_count")
        size_bytes = pages * connection.pragma("page_size")
        free_bytes = shutil.disk_usage(self._path.parent).free
        if free_bytes < size_bytes + _SPARE_BYTES:
            raise StoreUnavailableError(f"no room for a copy of {size_bytes >> 20} MiB")

    def _purge(self, copy: apsw.Connection) -> None:
        """Purges the copy if the view has a purge due."""
        due = copy.execute("SELECT 1 FROM settings WHERE name IN ('purge', 'index_purge')").fetchone()
        if due is None:
            return
        # An unfinished copy is useless, so it needs no protection from crashes.
        copy.pragma("synchronous", "off")
        copy.pragma("journal_mode", "memory")
        copy.pragma("secure_delete", "on")
        for _ in Purge(copy).steps():
            if self._is_stopped.is_set():
                raise StoreUnavailableError("stopped")


def read_view(database: DatabaseFile) -> StoreState:
    """The state of the view. Raises StoreUnavailableError."""
    try:
        with contextlib.closing(database.open_reader()) as connection:
            return read_state(connection)
    except apsw.Error as error:
        raise failure_of(error) from error


def read_copy(path: Path) -> StoreState:
    """The state in a copy. Raises DamagedSnapshotError."""
    try:
        with contextlib.closing(_open(path, apsw.SQLITE_OPEN_READONLY)) as connection:
            return read_state(connection)
    except (apsw.Error, KeyError) as error:
        raise DamagedSnapshotError(f"it is not a view: {error}") from error


def _open(path: Path, flags: int) -> apsw.Connection:
    return connect(str(path), flags=flags)


def _add_checksums(path: Path, *, is_stopped: Callable[[], bool]) -> None:
    """Completes a copy: SQLite writes most pages before the first, which turns the checksums on.

    Raises StoreUnavailableError if stopped.
    """
    with contextlib.closing(PageFile(str(path))) as pages:
        for start in pages.damaged():
            if start is not None:
                pages.write(start, bytearray(pages.read(start, PAGE_BYTES)))
            if is_stopped():
                raise StoreUnavailableError("stopped")
        pages.sync()


def import_copy(source: Path, path: Path) -> None:
    """Copies the view in a file or folder, which nothing may write meanwhile, to a new file.

    Raises DamagedSnapshotError and OSError.
    """
    remove_copy(path)
    file = source / FILE_NAME if source.is_dir() else source
    if not file.exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    try:
        with contextlib.closing(_open(file, apsw.SQLITE_OPEN_READONLY)) as connection:
            require_checked(connection)
            connection.execute("VACUUM INTO ?", (str(path),))
        _add_checksums(path, is_stopped=lambda: False)
        with contextlib.closing(_open(path, apsw.SQLITE_OPEN_READWRITE)) as copy:
            forget_voter(copy)
    except (apsw.Error, DataDamagedError) as error:
        raise DamagedSnapshotError(f"it is not a view: {error}") from error


@contextlib.contextmanager
def set_aside(folder: Path) -> Iterator[contextlib.ExitStack]:
    """Renames the files of a view, and back unless the caller takes the callbacks. Raises OSError."""
    with contextlib.ExitStack() as undo:
        for suffix in ("", "-wal", "-shm"):
            path = folder / (FILE_NAME + suffix)
            aside = path.with_name(path.name + ".aside")
            aside.unlink(missing_ok=True)
            if path.exists():
                path.replace(aside)
                undo.callback(aside.replace, path)
        yield undo


def read_voter(folder: Path) -> str | None:
    """The id with which the view in a folder votes; None if it has none, or cannot be read."""
    try:
        with contextlib.closing(_open(folder / FILE_NAME, apsw.SQLITE_OPEN_READONLY)) as connection:
            return DigestRows(connection).known_voter()
    except apsw.Error:
        return None


def appoint_voter(folder: Path, voter: str | None) -> None:
    """Has the view in a folder vote at once: see `DigestRows.appoint`. Raises StoreUnavailableError."""
    try:
        with (
            contextlib.closing(_open(folder / FILE_NAME, apsw.SQLITE_OPEN_READWRITE)) as connection,
            connection,
        ):
            DigestRows(connection).appoint(voter)
    except apsw.Error as error:
        raise failure_of(error) from error


class ViewReport(NamedTuple):
    """How far a view is, and what is wrong with it."""

    folder: str
    position: int
    """The last message that it has applied; 0: there is no view."""
    cause: str
    """Why it may be wrong; empty if no other view says so."""

    @property
    def text(self) -> str:
        """One sentence."""
        if not self.position:
            return self.cause or f"{self.folder} has no view of a log"
        applied = f"the view in {self.folder} has applied message {self.position}"
        return f"{applied}; {self.cause}" if self.cause else applied


def report_view(folder: Path) -> ViewReport:
    """Reports on the view in a folder, which a server may be using."""
    if not (folder / FILE_NAME).exists():
        return ViewReport(str(folder), 0, "")
    try:
        with contextlib.closing(DatabaseFile(folder, is_view=True, is_lent=True).open_reader()) as connection:
            digests = DigestRows(connection)
            divergence = digests.state(digests.known_voter() or "").divergence
            position = read_state(connection).position.sequence
    except (apsw.Error, KeyError) as error:
        return ViewReport(str(folder), 0, f"the view in {folder} cannot be read: {error}")
    if divergence is None:
        return ViewReport(str(folder), position, "")
    cause = f"it may be wrong from message {divergence.after + 1} on: {divergence.cause}"
    return ViewReport(str(folder), position, cause)


def remove_copy(path: Path) -> None:
    """Removes a copy, complete or not, if there is one. Raises OSError."""
    for suffix in ("", "-journal", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
