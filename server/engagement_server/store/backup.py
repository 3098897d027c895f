"""Copies a store in use into one file, and makes a store of such a copy."""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING, NamedTuple

import apsw

from engagement_server.errors import ConfigurationError, DataDamagedError
from engagement_server.store.checksums import connect, is_damage, require_checked
from engagement_server.store.data_folder import DataFolder
from engagement_server.store.database import FILE_NAME, DatabaseFile, Identity
from engagement_server.store.failures import failure_of
from engagement_server.store.page_file import PAGE_BYTES, PageFile
from engagement_server.store.schema import APPLICATION_ID
from engagement_server.store.view_copy import ViewCopy, remove_copy
from engagement_server.store.wal_tail import require_whole_wal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_PAGES_BETWEEN_CALLS = 1_000


class Copied(NamedTuple):
    """The contents of a copy."""

    size_bytes: int
    events: int | None
    """None if damage keeps them from being counted."""
    accounts: int | None
    damaged_pages: int


def back_up(folder: Path, path: Path) -> Copied:
    """Copies the store in a folder, as of one moment, into a file that is not there yet.

    A server may go on meanwhile. A failure leaves no file.

    Raises ConfigurationError, StoreUnavailableError, DataDamagedError and OSError.
    """
    if path.exists():
        raise ConfigurationError(f"{path} exists; name another file")
    if not path.parent.is_dir():
        raise ConfigurationError(f"{path.parent} is no folder; name a file in a folder that exists")
    if not (folder / FILE_NAME).exists():
        raise ConfigurationError(_missing_store(folder))
    path.touch(exist_ok=False)  # says why if it cannot be written; SQLite does not
    try:
        ViewCopy(DatabaseFile(folder, is_lent=True), path).make()
        with contextlib.closing(connect(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
            return _describe(connection, path, damaged_pages=0)
    except BaseException as error:
        remove_copy(path)  # half a copy
        if isinstance(error, apsw.Error):
            raise failure_of(error) from error
        raise


def restore(
    path: Path,
    folder: Path,
    *,
    accepts_damage: bool = False,
    on_progress: Callable[[int, int], None] = lambda _, __: None,
) -> Copied:
    """Makes a store of a copy, with a new epoch, in a folder without one.

    Cursors and page tokens from after the copy would otherwise point at other events. A view becomes a store
    of its own, on which a log can be founded. The checksums of all pages are checked before, and
    `on_progress` is called with the bytes that are checked and their total. A failure leaves nothing.

    Raises ConfigurationError, also for a damaged copy unless that is accepted, and OSError.
    """
    wal = path.with_name(path.name + "-wal")
    if wal.exists() and wal.stat().st_size:
        raise ConfigurationError(
            f"{path} has commits in its write-ahead log, which would be lost; restore a file that"
            " `engagement backup` made"
        )
    with _restorable(path):
        _require_own(path)
        damaged_pages = _count_damaged(path, on_progress)
    if damaged_pages and not accepts_damage:
        raise ConfigurationError(
            f"{path} is damaged in {damaged_pages} of its pages. Restore another backup;"
            f" `engagement check {path}` says what is damaged, and --accept-damage restores the rest"
        )
    locked = DataFolder(folder)
    try:
        copied = _restore(path, folder / FILE_NAME, damaged_pages=damaged_pages)
    except BaseException:
        locked.undo()
        raise
    locked.close()
    return copied


def _restore(path: Path, restored: Path, *, damaged_pages: int) -> Copied:
    if restored.exists():
        raise ConfigurationError(f"{restored.parent} holds a store; choose another folder")
    require_whole_wal(restored)  # that of another store would change the copy
    try:
        shutil.copyfile(path, restored)
        with _restorable(path):
            return _begin_epoch(restored, damaged_pages)
    except BaseException:
        remove_copy(restored)
        raise


def _missing_store(folder: Path) -> str:
    text = f"{folder} holds no store: there is no {FILE_NAME} in it"
    partitions = sorted(path.parent.name for path in folder.glob(f"[0-9]*of[0-9]*/{FILE_NAME}"))
    if partitions:
        text += f"; copy each of its partitions: {', '.join(partitions)}"
    return text


@contextlib.contextmanager
def _restorable(path: Path) -> Iterator[None]:
    """Says what is wrong with a copy that cannot be restored. Raises ConfigurationError."""
    try:
        yield
    except apsw.NotADBError as error:
        raise ConfigurationError(f"{path} is not a backup of a store, or is damaged: {error}") from error
    except (apsw.Error, DataDamagedError, KeyError) as error:
        if isinstance(error, apsw.Error) and not is_damage(error):
            raise ConfigurationError(f"{path} cannot be restored: {error}") from error
        raise ConfigurationError(
            f"{path} is damaged where a restore needs it. Restore another backup; `engagement check {path}`"
            " says what is damaged"
        ) from error


def _require_own(path: Path) -> None:
    with contextlib.closing(connect(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
        if connection.pragma("application_id") != APPLICATION_ID:
            raise ConfigurationError(f"{path} is not a backup of a store")
        require_checked(connection)
        connection.execute("SELECT 1 FROM sqlite_schema").fetchall()


def _count_damaged(path: Path, on_progress: Callable[[int, int], None]) -> int:
    damaged = 0
    with contextlib.closing(PageFile(str(path), is_written=False)) as pages:
        for number, start in enumerate(pages.damaged()):
            damaged += start is not None
            if number % _PAGES_BETWEEN_CALLS == 0:
                on_progress(number * PAGE_BYTES, pages.size_bytes)
    return damaged


def _begin_epoch(restored: Path, damaged_pages: int) -> Copied:
    with contextlib.closing(connect(str(restored), flags=apsw.SQLITE_OPEN_READWRITE)) as connection:
        # Each on its own: SQLite ends a transaction that meets damage, and half a restore is removed.
        connection.execute("DELETE FROM log_position")
        connection.execute("UPDATE settings SET value = ? WHERE name = 'log_epoch'", (Identity.new().epoch,))
        return _describe(connection, restored, damaged_pages=damaged_pages)


def _describe(connection: apsw.Connection, path: Path, *, damaged_pages: int) -> Copied:
    return Copied(
        path.stat().st_size, _count(connection, "events"), _count(connection, "accounts"), damaged_pages
    )


def _count(connection: apsw.Connection, table: str) -> int | None:
    try:
        ((count,),) = connection.execute(f"SELECT count(*) FROM {table}").fetchall()  # noqa: S608
    except apsw.Error as error:
        if not is_damage(error):
            raise
        return None
    assert isinstance(count, int)
    return count
