"""The file of a store, opened as the server opens it: without checksums its pages would look damaged."""

from __future__ import annotations

from pathlib import Path

import apsw

from engagement_server.store.checksums import connect
from engagement_server.store.database import FILE_NAME


def open_store(folder: Path, *, flags: int = apsw.SQLITE_OPEN_READWRITE) -> apsw.Connection:
    """Opens the store in a folder."""
    return connect(str(folder / FILE_NAME), flags=flags)
