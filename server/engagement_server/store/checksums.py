"""Checksums of pages: SQLite's file layer that writes one into each page and checks it on reading.

It is an extension that comes with apsw. See docs/decisions/0042-page-checksums.md.
"""

from __future__ import annotations

from contextlib import closing, contextmanager
from functools import cache
from typing import TYPE_CHECKING, Final

import apsw
from apsw import sqlite_extra

from engagement_server.errors import ConfigurationError, DataDamagedError

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE_LAYER: Final = "cksmvfs"
"""SQLite's name of the layer. Whatever writes a store without it makes its pages look damaged."""
RESERVED_BYTES: Final = 8
"""The end of each page, which holds its checksum. Any other number turns the layer off."""


# What SQLite says of values that are not as expected, on pages whose structure is.
_OF_VALUES = (
    *("ok", "NULL value in", "NUMERIC value in", "TEXT value in", "non-", "row ", "wrong # of"),
    *("malformed inverted index", "unable to validate the inverted index"),
)


@cache
def load_file_layer() -> None:
    """Makes the layer known to this process. Raises ConfigurationError if apsw comes without it."""
    default = apsw.vfs_names()[0]
    connection = apsw.Connection(":memory:")
    try:
        sqlite_extra.load(connection, "cksumvfs")
    except (sqlite_extra.NotAvailable, LookupError, apsw.Error) as error:
        raise ConfigurationError(
            "this installation of apsw lacks SQLite's checksums of pages (cksumvfs); install apsw 3.51.3 or"
            " later as a wheel from PyPI"
        ) from error
    finally:
        connection.close()
    apsw.set_default_vfs(default)  # the extension makes itself the default


def connect(path: str, *, flags: int, **options: int) -> apsw.Connection:
    """Opens a file whose pages have checksums. Raises apsw.Error and ConfigurationError."""
    load_file_layer()
    return apsw.Connection(path, flags=flags, vfs=FILE_LAYER, **options)


def require_checked(connection: apsw.Connection) -> None:
    """Raises DataDamagedError if damage to the header of the file has turned the checks off."""
    if connection.reserve_bytes() != RESERVED_BYTES:
        raise DataDamagedError


@contextmanager
def unchecked(connection: apsw.Connection) -> Iterator[None]:
    """Lets a connection read damaged pages; what it finds there may be anything."""
    connection.pragma("checksum_verification", 0)
    try:
        yield
    finally:
        connection.pragma("checksum_verification", 1)


def can_delete_unchecked(path: str) -> bool:
    """Whether only values are damaged, so that deleting frees no page of others. Reads the whole file."""
    # A connection of its own: no other one may keep damaged pages in its cache.
    with closing(connect(path, flags=apsw.SQLITE_OPEN_READONLY)) as connection, unchecked(connection):
        rows = connection.execute("PRAGMA quick_check").fetchall()
    return all(str(message).startswith(_OF_VALUES) for (message,) in rows)


def is_damage(error: apsw.Error) -> bool:
    """Whether SQLite failed because of what the file holds."""
    if isinstance(error, apsw.CorruptError | apsw.NotADBError):
        return True
    # The stub lacks the attribute that each error has.
    return isinstance(error, apsw.IOError) and getattr(error, "extendedresult", 0) == apsw.SQLITE_IOERR_DATA
