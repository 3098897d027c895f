"""Expires events: always the oldest of an account, so that its log loses a prefix."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING

from engagement import v1
from engagement_server.cursor import BLOCK_BITS, SEQUENCE_BITS, first_position
from engagement_server.model import StoredRow
from engagement_server.store.damaged_removal import (
    DamagedEvents,
    DamagedRange,
    StoredId,
    plan_removal,
    remove_damaged,
)
from engagement_server.store.removal import Removal

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

    from engagement_server.operations import ExpireEvents
    from engagement_server.store.index_merges import IndexMerges

# A step of some hundreds delays other commits by about the time of one commit.
_EVENTS_A_STEP = 500


class EventExpiry:
    """Works inside the transactions of the writer."""

    def __init__(self, connection: apsw.Connection, *, merges: IndexMerges) -> None:
        self._connection = connection
        self._removal = Removal(connection, merges=merges)
        self._planned: Sequence[StoredId] = ()
        """Damaged events that the next step removes."""

    def expire(self, operation: ExpireEvents, account: int) -> int:
        """Removes a bounded number of the events accepted before a time; returns how many."""
        lost, self._planned = self._planned, ()
        if lost:
            remove_damaged(self._connection, account, lost)
        rows = self._find_oldest(account, accepted_before_ms=operation.accepted_before_ms)
        if not rows:
            return len(lost)
        self._removal.remove(account, [(row, v1.Event.FromString(row.payload)) for row in rows])
        expired, first = rows[-1].position, first_position(account)
        self._connection.execute(
            "UPDATE accounts SET expired_sequence = ? WHERE number = ?",
            (expired & (1 << SEQUENCE_BITS) - 1, account),
        )
        self._connection.execute(
            "DELETE FROM blocks WHERE block >= ? AND block < ?",
            (first >> BLOCK_BITS, expired + 1 >> BLOCK_BITS),
        )
        self._connection.execute("DELETE FROM notices WHERE position > ? AND position <= ?", (first, expired))
        self._connection.execute(
            "DELETE FROM profiles WHERE account = ? AND oldest_position <= ?", (account, expired)
        )
        return len(lost) + len(rows)

    def plan(self, operation: ExpireEvents) -> bool:
        """Finds damaged events that are to expire, between transactions; the next step removes them.

        They count as accepted before those behind them. Returns whether there are any. Raises apsw.Error.
        """
        path, account_id = self._connection.db_filename("main"), operation.account_id
        due: list[DamagedRange] = []
        with DamagedEvents.of(path, account_id) as damaged:
            for each in damaged.ranges():
                if each.behind_ms is None or each.behind_ms >= operation.accepted_before_ms:
                    break
                due.append(each)
        self._planned = plan_removal(path, account_id, due)
        return bool(self._planned)

    def _find_oldest(self, account: int, *, accepted_before_ms: int) -> Sequence[StoredRow]:
        rows = self._connection.execute(
            "SELECT e.position, e.server_time_ms, e.receive_time_ms, e.payload, e.matched_status,"
            " e.matched_type FROM accounts AS a JOIN events AS e"
            " ON e.position > ? + a.expired_sequence AND e.position < ?"
            " WHERE a.number = ? ORDER BY e.position LIMIT ?",
            (first_position(account), first_position(account + 1), account, _EVENTS_A_STEP),
        )
        stored = map(StoredRow._make, rows)
        return list(takewhile(lambda row: row.receive_time_ms < accepted_before_ms, stored))
