"""Sums up what accounts store, for stores of a version that did not keep count.

It reads through a connection of its own: SQLite ends a transaction that meets damage.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import apsw

from engagement_server.cursor import first_position
from engagement_server.store.checksums import connect, is_damage
from engagement_server.store.damage import damaged_after

if TYPE_CHECKING:
    from collections.abc import Mapping


def sum_stored_bytes(connection: apsw.Connection) -> Mapping[int, int]:
    """Bytes of the events of each account, by its number; events that cannot be read count as nothing."""
    path = connection.db_filename("main")
    with closing(connect(path, flags=apsw.SQLITE_OPEN_READONLY)) as reader:
        rows: Any = reader.execute("SELECT number, last_sequence FROM accounts").fetchall()
        return {account: _sum(reader, account, last_sequence) for account, last_sequence in rows}


def _sum(reader: apsw.Connection, account: int, last_sequence: int) -> int:
    after = first_position(account)
    end = after + last_sequence + 1
    rows: Any  # each column has its own type
    try:
        # The lengths are in the headers of the rows: what overflows a page is not read.
        rows = reader.execute(
            "SELECT sum(length(payload)) FROM events WHERE position > ? AND position < ?", (after, end)
        ).fetchall()
        return rows[0][0] or 0
    except apsw.Error as error:
        if not is_damage(error):
            raise
    size_bytes = 0
    while after < end:
        try:
            rows = reader.execute(
                "SELECT position, length(payload) FROM events WHERE position >= ? AND position < ?"
                " ORDER BY position",
                # From the next position on, not beyond this one, whose page may be damaged.
                (after + 1, end),
            )
            for position, event_bytes in rows:
                size_bytes += event_bytes
                after = position
        except apsw.Error as error:
            if not is_damage(error):
                raise
            after = damaged_after(reader, after, end).last_position
        else:
            return size_bytes
    return size_bytes
