"""The file of a store, opened as the server opens it: without checksums its pages would look damaged."""

from __future__ import annotations

from pathlib import Path

import apsw

from engagement_server.store.checksums import connect
from engagement_server.store.database import FILE_NAME


def open_store(folder: Path, *, flags: int = apsw.SQLITE_OPEN_READWRITE) -> apsw.Connection:
    """Opens the store in a folder."""
    return connect(str(folder / FILE_NAME), flags=flags)


def damage_root(folder: Path, index: str) -> None:
    """Flips a bit in the first page of an index."""
    store = open_store(folder)
    ((page,),) = store.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (index,))
    page_bytes = int(store.pragma("page_size"))
    store.close()
    with (folder / FILE_NAME).open("r+b") as file:
        file.seek((int(page) - 1) * page_bytes + page_bytes // 2)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))


def forget_use_of_accounts(connection: apsw.Connection) -> None:
    """Turns a store into one of version 10, which does not know what accounts use."""
    connection.execute("DROP INDEX accounts_by_principal")
    for column in ("stored_bytes", "principal"):
        connection.execute(f"ALTER TABLE accounts DROP COLUMN {column}")
    connection.pragma("user_version", 10)
