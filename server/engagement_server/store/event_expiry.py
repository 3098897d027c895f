"""Expires events: always the oldest of an account, so that its log loses a prefix."""

from __future__ import annotations

from itertools import starmap
from typing import TYPE_CHECKING, NamedTuple

from engagement import v1
from engagement_server.cursor import BLOCK_BITS, SEQUENCE_BITS, first_position
from engagement_server.model import StoredRow
from engagement_server.store.damaged_removal import (
    NEAR_POSITIONS,
    DamagedEvents,
    DamagedRange,
    StoredId,
    plan_removal,
    remove_damaged,
)
from engagement_server.store.receive_times import ReceiveTimes
from engagement_server.store.rejection_rows import RejectionRows
from engagement_server.store.removal import Removal

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

    from engagement_server.operations import ExpireEvents
    from engagement_server.store.index_merges import IndexMerges


class _Plan(NamedTuple):
    """How one step goes on at damage."""

    events: Sequence[StoredId]
    """Damaged events that it removes first."""
    through: int
    """The last event that has expired and is not near damaged events that are to stay."""


class EventExpiry:
    """Works inside the transactions of the writer."""

    def __init__(self, connection: apsw.Connection, *, merges: IndexMerges) -> None:
        self._connection = connection
        self._removal = Removal(connection, merges=merges)
        self._rejections = RejectionRows(connection)
        self._times = ReceiveTimes(connection)
        self._plan: _Plan | None = None
        """How the next step goes on at damage; None: it fails there."""

    def expire(self, operation: ExpireEvents, account: int) -> int:
        """Removes a bounded number of the events accepted before a time; returns how many."""
        plan, self._plan = self._plan, None
        lost = () if plan is None else plan.events
        if lost:
            remove_damaged(self._connection, account, lost)
        events = self._find_oldest(operation, account, plan)
        if not events:
            return len(lost)
        self._removal.remove(account, events)
        expired, first = events[-1][0].position, first_position(account)
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
        return len(lost) + len(events)

    def plan(self, operation: ExpireEvents) -> bool:
        """Finds damaged events that are to expire, between transactions; the next step removes them.

        They count as accepted before those behind them. Returns whether the next step can go on, without
        those that wait for the ones behind them. Raises apsw.Error.
        """
        path, account_id = self._connection.db_filename("main"), operation.account_id
        due: list[DamagedRange] = []
        with DamagedEvents.of(path, account_id, clock_ms=operation.clock_ms) as damaged:
            bounds = damaged.bounds
            end = bounds.last_position + 1
            for each in damaged.ranges(kept_since_ms=operation.accepted_before_ms):
                if each.behind_ms is None or each.behind_ms >= operation.accepted_before_ms:
                    end = each.first - NEAR_POSITIONS
                    break
                due.append(each)
            # Not in a step, whose transaction would end at damage.
            through = ReceiveTimes(damaged.connection).expired_through(
                bounds.expired_position,
                bounds.last_position,
                accepted_before_ms=operation.accepted_before_ms,
                clock_ms=operation.clock_ms,
                passes_damaged=True,
            )
        events = plan_removal(path, account_id, due)
        if due and not events:
            return False
        self._plan = _Plan(events, min(through or 0, end - 1))
        return True

    def forget_plan(self) -> None:
        """Drops a plan that no step has carried out."""
        self._plan = None

    def _find_oldest(
        self, operation: ExpireEvents, account: int, plan: _Plan | None
    ) -> Sequence[tuple[StoredRow, v1.Event]]:
        ((expired, last),) = self._connection.execute(
            "SELECT expired_sequence, last_sequence FROM accounts WHERE number = ?", (account,)
        )
        first = first_position(account)
        if plan is not None:
            through: int | None = plan.through
        else:
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
        step: list[tuple[StoredRow, v1.Event]] = []
        size_bytes = 0
        for row in starmap(StoredRow, rows):
            size_bytes += len(row.payload)
            if step and size_bytes > operation.max_bytes:
                break
            step.append((row, v1.Event.FromString(row.payload)))
        clearable = self._rejections.count_clearable(
            operation.account_id, [event.event_id for _, event in step], max_results=operation.max_results
        )
        return step[: max(clearable, 1)]
