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
