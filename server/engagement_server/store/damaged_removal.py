"""Removes events that cannot be read, so that erasures and expiry go on.

A page is the unit: nothing on a damaged page can be told from what was stored, so all its events go, and the
search index, whose words for them are unknown, is rebuilt. The events are found before the transaction that
removes them, through another connection: SQLite ends a transaction that meets damage.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import apsw

from engagement.limits import END_OF_TIME_MS
from engagement_server.cursor import SEQUENCE_BITS
from engagement_server.store.account_rows import count_unreadable, find_bounds
from engagement_server.store.checksums import can_delete_unchecked, connect, is_damage, unchecked
from engagement_server.store.damage import damaged_after
from engagement_server.store.index_rebuild import discard_index

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from engagement_server.model import LogBounds

_MAX_EVENTS = 2_000
"""More events than this share a damaged page only if it leads to others, which are fine."""
NEAR_POSITIONS = 200
"""SQLite merges the pages beside one that loses rows; no page has more events."""
_log = logging.getLogger(__name__)


class StoredId(NamedTuple):
    """An event as the index of ids has it, which is on another page than the event."""

    position: int
    event_id: str


class DamagedRange(NamedTuple):
    """Events of one account that cannot be read."""

    first: int
    last: int
    behind_ms: int | None
    """When the next event that can be read was accepted, by a right clock; None if there is none."""

    def is_near(self, positions: Sequence[int]) -> bool:
        """Whether one of some ascending positions is in the range, or on a page beside it."""
        index = bisect_left(positions, self.first - NEAR_POSITIONS)
        return index < len(positions) and positions[index] <= self.last + NEAR_POSITIONS


class DamagedEvents:
    """The damaged events of one account, read through a connection of its own."""

    def __init__(self, connection: apsw.Connection, bounds: LogBounds, *, clock_ms: int) -> None:
        self.connection = connection
        self.bounds = bounds
        self._clock_ms = clock_ms

    @classmethod
    @contextmanager
    def of(cls, path: str, account_id: str, *, clock_ms: int = END_OF_TIME_MS) -> Iterator[DamagedEvents]:
        """Those of an account that exists. What was accepted after `clock_ms` came by a wrong clock."""
        with closing(connect(path, flags=apsw.SQLITE_OPEN_READONLY)) as connection:
            bounds = find_bounds(connection, account_id)
            assert bounds is not None
            yield cls(connection, bounds, clock_ms=clock_ms)

    def ranges(self, *, kept_since_ms: int = END_OF_TIME_MS) -> Iterator[DamagedRange]:
        """Those before the first event that a right clock accepted at a time or later.

        Reads every event up to there.
        """
        after, end = self.bounds.expired_position, self.bounds.last_position
        while after < end:
            try:
                for position, receive_time_ms in self._events(after + 1):
                    if kept_since_ms <= receive_time_ms <= self._clock_ms:
                        return
                    after = position
            except apsw.Error as error:
                if not is_damage(error):
                    raise
            else:
                return
            damage = damaged_after(self.connection, after, end + 1)
            after = damage.last_position
            yield DamagedRange(damage.first_position, after, self._time_behind(after))

    def ids(self, damaged: DamagedRange) -> list[StoredId]:
        """The events of a range by the index of ids, all of which is read."""
        rows: Any = self.connection.execute(  # Any: each column has its own type
            "SELECT position, event_id FROM events INDEXED BY events_by_id"
            " WHERE account = ? AND position BETWEEN ? AND ? ORDER BY position",
            (self.bounds.account, damaged.first, damaged.last),
        )
        return [StoredId(*row) for row in rows]

    def _time_behind(self, after: int) -> int | None:
        try:
            for _, receive_time_ms in self._events(after + 1):
                if receive_time_ms <= self._clock_ms:
                    return receive_time_ms
        except apsw.Error as error:
            if not is_damage(error):
                raise
        return None

    def _events(self, first: int) -> Iterator[tuple[int, int]]:
        """Positions and times of events; each is read completely."""
        rows: Any = self.connection.execute(  # Any: each column has its own type
            "SELECT position, receive_time_ms, event_id, payload, matched_status FROM events"
            " WHERE position >= ? AND position <= ? ORDER BY position",
            (first, self.bounds.last_position),
        )
        for position, receive_time_ms, *_ in rows:
            yield position, receive_time_ms


def plan_removal(path: str, account_id: str, wanted: Sequence[DamagedRange]) -> list[StoredId]:
    """The events to remove with some damaged ranges; none if that could harm others.

    Reads the whole file, unless there are no ranges.
    """
    if not wanted:
        return []
    with DamagedEvents.of(path, account_id) as damaged:
        groups = [damaged.ids(each) for each in wanted]
    if any(len(group) > _MAX_EVENTS for group in groups) or not can_delete_unchecked(path):
        return []
    return [stored for group in groups for stored in group]


def remove_damaged(connection: apsw.Connection, account: int, events: Sequence[StoredId]) -> None:
    """Removes events without their words, inside the transaction of the writer."""
    with unchecked(connection):
        for stored in events:
            _delete(connection, account, stored)
    count_unreadable(connection, account, events=len(events))
    connection.execute("DELETE FROM profiles WHERE account = ?", (account,))
    discard_index(connection)
    sequences = [stored.position & (1 << SEQUENCE_BITS) - 1 for stored in events]
    _log.warning(
        "removed %d events of account number %d on damaged pages, sequences %s",
        len(events),
        account,
        ", ".join(map(str, sequences)),
    )


def _delete(connection: apsw.Connection, account: int, stored: StoredId) -> None:
    """Deletes an event from the table and from the index of ids, whatever its row says that its id is."""
    delete = "DELETE FROM events WHERE position = ?"
    key = connection.execute(
        "SELECT account, event_id FROM events WHERE position = ?", (stored.position,)
    ).fetchone()
    if key == (account, stored.event_id):
        connection.execute(delete, (stored.position,))
        return
    other = None
    if key is not None:
        # SQLite would take the entry of another event out of the index.
        other = connection.execute(
            "SELECT position FROM events INDEXED BY events_by_id WHERE account = ? AND event_id = ?", key
        ).fetchone()
    with _tolerant(connection):
        connection.execute(delete, (stored.position,))
        if other is not None:
            connection.execute("UPDATE events SET event_id = event_id WHERE position = ?", other)
        # A row with the right id takes its entry of the index along.
        connection.execute(
            "INSERT OR REPLACE INTO events VALUES (?, ?, ?, 0, 0, 0, 0, x'', NULL, NULL, NULL, NULL)",
            (stored.position, account, stored.event_id),
        )
        connection.execute(delete, (stored.position,))


@contextmanager
def _tolerant(connection: apsw.Connection) -> Iterator[None]:
    """Lets SQLite delete a row that its index does not have."""
    connection.pragma("writable_schema", 1)
    try:
        yield
    finally:
        connection.pragma("writable_schema", 0)
