"""Copies a store in use into one file, and makes a store of such a copy."""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING

import apsw

from engagement_server.errors import ConfigurationError
from engagement_server.store.checksums import connect, require_checked
from engagement_server.store.data_folder import DataFolder
from engagement_server.store.database import FILE_NAME, DatabaseFile, Identity
from engagement_server.store.failures import usable
from engagement_server.store.schema import APPLICATION_ID
from engagement_server.store.view_copy import ViewCopy
from engagement_server.store.wal_tail import require_whole_wal

if TYPE_CHECKING:
    from pathlib import Path


def back_up(folder: Path, path: Path) -> None:
    """Copies the store in a folder, as of one moment, into a file that is not there yet.

    A server may go on meanwhile. Raises ConfigurationError, StoreUnavailableError and DataDamagedError.
    """
    if path.exists():
        raise ConfigurationError(f"{path} exists; name another file")
    if not path.parent.is_dir():
        raise ConfigurationError(f"{path.parent} is no folder; name a file in a folder that exists")
    if not (folder / FILE_NAME).exists():
        raise ConfigurationError(f"{folder} holds no store: there is no {FILE_NAME} in it")
    try:
        ViewCopy(DatabaseFile(folder, is_lent=True), path).make()
    except BaseException:
        path.unlink(missing_ok=True)  # half a copy
        raise


def restore(path: Path, folder: Path) -> None:
    """Makes a store of a copy, with a new epoch, in a folder without one.

    Cursors and page tokens from after the copy would otherwise point at other events. A view becomes a store
    of its own, on which a log can be founded. A failure leaves no store.

    Raises ConfigurationError and OSError.
    """
    wal = path.with_name(path.name + "-wal")
    if wal.exists() and wal.stat().st_size:
        raise ConfigurationError(
            f"{path} has commits in its write-ahead log, which would be lost; restore a file that"
            " `engagement backup` made"
        )
    locked = DataFolder(folder)
    restored = folder / FILE_NAME
    try:
        if restored.exists():
            raise ConfigurationError(f"{folder} holds a store; choose another folder")
        require_whole_wal(restored)  # that of another store would change the copy
        try:
            shutil.copyfile(path, restored)
            with usable(path):
                _begin_epoch(restored, of=path)
        except BaseException:
            restored.unlink(missing_ok=True)
            raise
    finally:
        locked.close()


def _begin_epoch(restored: Path, *, of: Path) -> None:
    with contextlib.closing(connect(str(restored), flags=apsw.SQLITE_OPEN_READWRITE)) as connection:
        if connection.pragma("application_id") != APPLICATION_ID:
            raise ConfigurationError(f"{of} is a file of another program")
        require_checked(connection)
        with connection:
            connection.execute("DELETE FROM log_position")
            connection.execute(
                "UPDATE settings SET value = ? WHERE name = 'log_epoch'", (Identity.new().epoch,)
            )
