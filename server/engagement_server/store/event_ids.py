"""Finds an event by its id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import apsw

from engagement import v1
from engagement_server.errors import DamagedEventsError
from engagement_server.model import StoredRow
from engagement_server.store.checksums import is_damage
from engagement_server.store.event_pages import Page
from engagement_server.store.row_columns import RowColumns

if TYPE_CHECKING:
    from collections.abc import Sequence


def positions_with_id(connection: apsw.Connection, account: int, event_id: str) -> list[int]:
    """The position that the index of ids has for an event id, if any; the event is not read."""
    rows = connection.execute(
        "SELECT position FROM events INDEXED BY events_by_id WHERE account = ? AND event_id = ?",
        (account, event_id),
    )
    return [int(position) for (position,) in rows]


def page_with_id(connection: apsw.Connection, account: int, event_id: str) -> Page:
    """The event with an id, if any, as a page that is complete. Raises DamagedEventsError."""
    positions = positions_with_id(connection, account, event_id)
    return Page([_read(connection, position) for position in positions], None)


def _read(connection: apsw.Connection, position: int) -> tuple[StoredRow, v1.Event]:
    try:
        columns: Sequence[Any] = connection.execute(  # Any: each column has its own type
            f"SELECT {RowColumns(connection).text} FROM events AS e WHERE e.position = ?",  # noqa: S608
            (position,),
        ).fetchall()
    except apsw.Error as error:
        if not is_damage(error):
            raise
        raise DamagedEventsError(position, position) from error
    row = StoredRow._make(columns[0])
    return row, v1.Event.FromString(row.payload)
