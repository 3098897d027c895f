"""Opens the SQLite file of the store: one writer, many readers, one server at a time."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import apsw

from engagement_server.cursor import Cursors
from engagement_server.errors import ConfigurationError, StoreUnavailableError
from engagement_server.store.checksums import RESERVED_BYTES, connect, is_damage, require_checked
from engagement_server.store.data_folder import DataFolder
from engagement_server.store.failures import not_writable, usable
from engagement_server.store.index_rebuild import discard_index, rebuild_index
from engagement_server.store.log_position import LogPosition, read_digest, read_position
from engagement_server.store.schema import UPGRADES, prepare, require_own
from engagement_server.store.wal_tail import require_whole_wal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from engagement_server.store.schema import Upgrade

FILE_NAME = "engagement.db"
"""Name of the SQLite file in the data folder."""
# 16 MiB of write-ahead log between checkpoints: few fsyncs, short recovery.
_CHECKPOINT_PAGES = 4000
_WRITER_CACHE_KIB = 65_536
_READER_CACHE_KIB = 8_192
# Inserts of different numbers of rows are different statements, of up to a hundred kilobytes each.
_STATEMENT_CACHE_SIZE = 64
BUSY_TIMEOUT_MS = 5_000


class Identity(NamedTuple):
    """Identifies a log; all views of the log share it."""

    epoch: int
    """32 bits, part of every cursor."""
    token_key: bytes
    """Seals page tokens."""
    erasure_salt: bytes

    @classmethod
    def new(cls) -> Identity:
        """A random identity."""
        return cls(secrets.randbits(32), secrets.token_bytes(32), secrets.token_bytes(32))


class StoreState(NamedTuple):
    """The schema of a store, the log that it belongs to, and how much of the log it has applied."""

    schema_version: int
    identity: Identity
    position: LogPosition
    digest: str = ""
    """The digest of everything applied up to the position, in hexadecimal digits."""


class DatabaseFile:
    """The data folder, locked against other servers while this object is open."""

    def __init__(
        self,
        data_dir: Path,
        *,
        is_view: bool = False,
        is_lent: bool = False,
        upgrades: Sequence[Upgrade] = UPGRADES,
    ) -> None:
        """Creates the folder if missing. Raises ConfigurationError if it cannot be used.

        A view can be rebuilt from its log, so its commits need not be on disk when they return. A lent
        folder is locked by the process of this server that writes; this process only reads.
        """
        self._is_view = is_view
        self._upgrades = upgrades
        self._path = data_dir / FILE_NAME
        self._files: dict[Path, tuple[int, int]] = {}
        """The files of the open store, by device and inode."""
        self._locked = None if is_lent else DataFolder(data_dir)

    @property
    def folder(self) -> Path:
        """The data folder: a file that is to replace the store must be in it."""
        return self._path.parent

    def inspect(self) -> StoreState | None:
        """The state of the store, its schema upgraded if necessary; None if there is no store.

        A file without a schema, which was being created when its server ended, is no store: its identity is
        yet to be decided. Raises ConfigurationError if the file cannot be used.
        """
        if not self._path.exists() or self._is_half_made():
            return None
        with contextlib.closing(self._open_current(None)) as connection:
            return read_state(connection)

    def replace(self, path: Path) -> None:
        """Replaces the store with another file. Nothing may have the store open."""
        for extra in self._extras():
            extra.unlink(missing_ok=True)
        path.replace(self._path)
        self._files = {}

    def require_present(self) -> None:
        """Raises StoreUnavailableError if a file of the open store was removed or replaced.

        What is written then goes to a file that no start will find.
        """
        for path, known in self._files.items():
            try:
                found = os.stat(path)
            except OSError as error:
                raise StoreUnavailableError(f"{path.name} was removed") from error
            if (found.st_dev, found.st_ino) != known:
                raise StoreUnavailableError(f"{path.name} was replaced by another file")

    def open_writer(
        self, identity: Identity | None = None, *, is_stopped: Callable[[], bool] = lambda: False
    ) -> apsw.Connection:
        """Opens the one connection that writes. Creates the store with the identity, or upgrades it.

        An upgrade may index all events again, which takes minutes for millions and ends with
        StoreUnavailableError once `is_stopped`. Except in a view, every commit is on disk when it returns.
        Raises ConfigurationError if the file cannot be used.
        """
        connection = self._open_current(identity)
        try:
            with usable(self._path):
                rebuild_index(connection, is_stopped=is_stopped)
                self._try_to_write(connection)
        except BaseException:
            connection.close()
            raise
        self._note_files(self._path, *self._extras())
        return connection

    def open_reader(self) -> apsw.Connection:
        """Opens a connection that cannot write and never waits for the writer.

        Raises StoreUnavailableError if another file has taken the place of the store.
        """
        self.require_present()
        connection = self._open(apsw.SQLITE_OPEN_READONLY, _READER_CACHE_KIB)
        if not self._files:  # lent by the writer, beside whose open store its log is
            self._note_files(self._path, *filter(Path.exists, self._extras()))
        connection.pragma("query_only", 1)
        return connection

    def usable(self) -> contextlib.AbstractContextManager[None]:
        """Says what is wrong with the store if a start cannot read it. Raises ConfigurationError."""
        return usable(self._path)

    def close(self) -> None:
        """Unlocks the folder."""
        if self._locked is not None:
            self._locked.close()

    def undo(self) -> None:
        """Unlocks the folder, and removes it if it was created for this and nothing else is in it."""
        if self._locked is not None:
            self._locked.undo()

    def _is_half_made(self) -> bool:
        with usable(self._path):
            self._require_whole_wal()
            with contextlib.closing(self._open(apsw.SQLITE_OPEN_READWRITE, _READER_CACHE_KIB)) as connection:
                return (
                    int(connection.pragma("user_version")) == 0
                    and not connection.execute("SELECT 1 FROM sqlite_schema").fetchone()
                )

    def _require_whole_wal(self) -> None:
        """Raises ConfigurationError if opening the store would drop acknowledged commits."""
        if not self._is_view:  # which applies again what it lost
            require_whole_wal(self._path)

    def _open_current(self, identity: Identity | None) -> apsw.Connection:
        """Opens the connection that writes, to a store of the current schema."""
        with usable(self._path):
            self._require_whole_wal()
            connection = self._open(apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE, _WRITER_CACHE_KIB)
            try:
                self._prepare(connection, identity)
            except BaseException:
                connection.close()
                raise
        return connection

    def _prepare(self, connection: apsw.Connection, identity: Identity | None) -> None:
        if connection.readonly("main"):
            raise not_writable(self._path)
        if require_own(connection, upgrades=self._upgrades):
            require_checked(connection)
        else:
            connection.reserve_bytes(reserve=RESERVED_BYTES)
        connection.pragma("journal_mode", "wal")
        # Only checkpoints sync a view: a crash may undo its latest commits but never damages the file.
        connection.pragma("synchronous", "normal" if self._is_view else "full")
        connection.pragma("secure_delete", "on")
        connection.pragma("wal_autocheckpoint", _CHECKPOINT_PAGES)
        prepare(connection, identity or Identity.new(), upgrades=self._upgrades)
        if not self._is_view and read_position(connection).sequence > 0:
            raise ConfigurationError(
                f"{self._path} is a view of a replicated log, which would not contain what is written here;"
                " start with the log, or choose another folder"
            )

    def _try_to_write(self, connection: apsw.Connection) -> None:
        """Fails now instead of at the first call, for example on files that were restored by another user.

        A full disk is no failure: reads work there, and the reserve makes room.
        """
        try:  # SQLite skips the write of a row that does not change, but never that of the header
            connection.pragma("user_version", connection.pragma("user_version"))
        except apsw.FullError:
            return
        except apsw.IOError as error:
            if is_damage(error):
                raise
            raise not_writable(self._path) from error

    def _extras(self) -> list[Path]:
        """The files that SQLite keeps beside an open store."""
        return [self._path.with_name(self._path.name + suffix) for suffix in ("-wal", "-shm")]

    def _note_files(self, *paths: Path) -> None:
        found = [(path, path.stat()) for path in paths]
        self._files = {path: (status.st_dev, status.st_ino) for path, status in found}

    def _open(self, flags: int, cache_kib: int) -> apsw.Connection:
        connection = connect(str(self._path), flags=flags, statementcachesize=_STATEMENT_CACHE_SIZE)
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        connection.pragma("cache_size", -cache_kib)
        connection.pragma("temp_store", "memory")
        return connection


def discard_search_index(folder: Path) -> None:
    """Lets the next start rebuild the search index of a store. Raises ConfigurationError."""
    locked = DataFolder(folder)
    path = folder / FILE_NAME
    try:
        with (
            usable(path),
            contextlib.closing(connect(str(path), flags=apsw.SQLITE_OPEN_READWRITE)) as connection,
        ):
            discard_index(connection)
    finally:
        locked.close()


def read_identity(connection: apsw.Connection) -> Identity:
    """The identity of the log that the store belongs to."""
    rows: Any = connection.execute("SELECT name, value FROM settings")  # Any: each setting has its own type
    settings = dict(rows.fetchall())
    return Identity(settings["log_epoch"], settings["token_key"], settings["erasure_salt"])


def read_state(connection: apsw.Connection) -> StoreState:
    """The state of the store behind a connection."""
    version = connection.pragma("user_version")
    position, digest = read_position(connection), read_digest(connection)
    return StoreState(version, read_identity(connection), position, digest)


def read_cursors(connection: apsw.Connection) -> Cursors:
    """The codec of this store's cursors."""
    identity = read_identity(connection)
    return Cursors(epoch=identity.epoch, key=identity.token_key)
