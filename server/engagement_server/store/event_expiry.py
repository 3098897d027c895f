"""Expires events: always the oldest of an account, so that its log loses a prefix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engagement import v1
from engagement_server.cursor import BLOCK_BITS, SEQUENCE_BITS, first_position
from engagement_server.model import StoredRow
from engagement_server.store.receive_times import ReceiveTimes
from engagement_server.store.removal import Removal

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

    from engagement_server.operations import ExpireEvents
    from engagement_server.store.index_merges import IndexMerges


class EventExpiry:
    """Works inside the transactions of the writer."""

    def __init__(self, connection: apsw.Connection, *, merges: IndexMerges) -> None:
        self._connection = connection
        self._removal = Removal(connection, merges=merges)
        self._times = ReceiveTimes(connection)

    def expire(self, operation: ExpireEvents, account: int) -> int:
        """Removes a bounded number of the events accepted before a time; returns how many."""
        rows = self._find_oldest(operation, account)
        if not rows:
            return 0
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
        return len(rows)

    def _find_oldest(self, operation: ExpireEvents, account: int) -> Sequence[StoredRow]:
        ((expired, last),) = self._connection.execute(
            "SELECT expired_sequence, last_sequence FROM accounts WHERE number = ?", (account,)
        )
        first = first_position(account)
        through = self._times.expired_through(
            first + expired,
            first + last,
            accepted_before_ms=operation.accepted_before_ms,
            clock_ms=operation.clock_ms,
        )
        if through is None:
            return ()
        rows = self._connection.execute(
            "SELECT position, server_time_ms, receive_time_ms, payload, matched_status, matched_type"
            " FROM events WHERE position > ? AND position <= ? ORDER BY position LIMIT ?",
            (first + expired, through, operation.max_events),
        )
        step: list[StoredRow] = []
        size_bytes = 0
        for row in map(StoredRow._make, rows):
            size_bytes += len(row.payload)
            if step and size_bytes > operation.max_bytes:
                break
            step.append(row)
        return step
