"""A store as a server with another contract leaves it."""

from __future__ import annotations

import contextlib
from pathlib import Path

from tests.support.store_file import open_store

WORD = "before"
"""All that the index then says about an event."""


def index_otherwise(folder: Path, *, events: int) -> None:
    """Indexes the first events of a store as a server with another contract."""
    with contextlib.closing(open_store(folder)) as connection:
        connection.execute("INSERT INTO search (search) VALUES ('delete-all')")
        connection.execute(
            "INSERT INTO search (rowid, attributes) SELECT position, ? FROM events LIMIT ?", (WORD, events)
        )
        connection.execute("UPDATE settings SET value = 'other' WHERE name = 'search_fingerprint'")
