"""Finds positions by the times of acceptance, which a wrong clock may have put out of order.

The highest and the lowest time of each block say which blocks can hold an event; nothing assumes that times
grow with positions. See docs/decisions/0040-expiry-is-held.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import apsw

from engagement_server.cursor import BLOCK_BITS, SEQUENCE_BITS, first_position
from engagement_server.model import DueEvents
from engagement_server.store.checksums import is_damage
from engagement_server.store.damage import damaged_after, damaged_before

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engagement_server.model import LogBounds


class ReceiveTimes:
    """Reads through the connection of the caller."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def position_before(self, bounds: LogBounds, *, accepted_ms: int) -> int:
        """The position before the first event that was accepted at a time or later.

        Events behind it may have earlier times; none before it has a later one. Damaged events right before
        that event, whose times are unknown, are behind the position.
        """
        after, last = bounds.expired_position, bounds.last_position
        try:
            found = self._find(after, last, lowest_ms=accepted_ms, highest_ms=_NO_LIMIT_MS)
        except apsw.Error as error:
            if not is_damage(error):
                raise
            found = self._find_behind_damage(after, last, accepted_ms=accepted_ms)
        return last if found is None else found - 1

    def first_accepted_ms(self, after: int, through: int) -> int | None:
        """When the first event of a range was accepted; None if there is none, or if it cannot be read."""
        try:
            row = self._connection.execute(
                "SELECT receive_time_ms FROM events WHERE position > ? AND position <= ?"
                " ORDER BY position LIMIT 1",
                (after, through),
            ).fetchone()
        except apsw.Error as error:
            if not is_damage(error):
                raise
            return None
        return None if row is None else int(row[0])

    def expired_through(
        self,
        after: int,
        last: int,
        *,
        accepted_before_ms: int,
        clock_ms: int,
        passes_damaged: bool = False,
    ) -> int | None:
        """The last event of the prefix that has expired; None if there is none.

        Events from later than the clock's time have unknown ages: they go with expired events behind them.
        So do damaged ones if they are passed.
        """
        first_kept = self._find(
            after, last, lowest_ms=accepted_before_ms, highest_ms=clock_ms, passes_damaged=passes_damaged
        )
        return self._find_last(
            after,
            last if first_kept is None else first_kept - 1,
            accepted_before_ms=accepted_before_ms,
            passes_damaged=passes_damaged,
        )

    def expired_events(self) -> int:
        """How many events have been expired so far; those that were erased before count as well."""
        ((count,),) = self._connection.execute("SELECT coalesce(sum(expired_sequence), 0) FROM accounts")
        return int(count)

    def accounts_due(self, *, accepted_before_ms: int, clock_ms: int) -> dict[str, int]:
        """The accounts with expired events, and up to how many of them each has."""
        due = {}
        for account_id, after, last in self._accounts_with(accepted_before_ms):
            through = self.expired_through(
                after,
                last,
                accepted_before_ms=accepted_before_ms,
                clock_ms=clock_ms,
                passes_damaged=True,
            )
            if through is not None:
                due[account_id] = through - after
        return due

    def count_due(self, *, accepted_before_ms: int, confirmed_before_ms: int, clock_ms: int) -> DueEvents:
        """Up to how many events have expired, in all accounts.

        The time it takes grows with the number of accounts and blocks.
        """
        ((stored,),) = self._connection.execute(
            "SELECT coalesce(sum(last_sequence - expired_sequence), 0) FROM accounts"
        )
        due = sum(self.accounts_due(accepted_before_ms=accepted_before_ms, clock_ms=clock_ms).values())
        confirmed = sum(
            self.accounts_due(
                accepted_before_ms=min(accepted_before_ms, confirmed_before_ms), clock_ms=clock_ms
            ).values()
        )
        return DueEvents(due, int(stored), confirmed)

    def _accounts_with(self, accepted_before_ms: int) -> list[tuple[str, int, int]]:
        """Accounts with events from before a time, and where their logs begin and end."""
        rows: Any = self._connection.execute(  # Any: each column has its own type
            "SELECT account_id, number, expired_sequence, last_sequence FROM accounts WHERE number IN"
            " (SELECT DISTINCT block >> ? FROM blocks WHERE min_receive_ms < ?)",
            (SEQUENCE_BITS - BLOCK_BITS, accepted_before_ms),
        )
        return [
            (account_id, first_position(number) + expired, first_position(number) + last)
            for account_id, number, expired, last in rows
        ]

    def _find(
        self, after: int, through: int, *, lowest_ms: int, highest_ms: int, passes_damaged: bool = False
    ) -> int | None:
        """The first event accepted between two times."""
        blocks = self._connection.execute(
            "SELECT block FROM blocks WHERE block BETWEEN ? AND ? AND max_receive_ms >= ?"
            " AND min_receive_ms <= ? ORDER BY block",
            (after + 1 >> BLOCK_BITS, through >> BLOCK_BITS, lowest_ms, highest_ms),
        )
        for (block,) in blocks:
            range_ = _range(block, after, through)
            try:
                row = self._connection.execute(
                    "SELECT position FROM events WHERE position BETWEEN ? AND ?"
                    " AND receive_time_ms BETWEEN ? AND ? ORDER BY position LIMIT 1",
                    (*range_, lowest_ms, highest_ms),
                ).fetchone()
            except apsw.Error as error:
                if not (passes_damaged and is_damage(error)):
                    raise
                times = self._readable(*range_)
                row = next(((each,) for each, ms in times if lowest_ms <= ms <= highest_ms), None)
            if row is not None:
                return int(row[0])
        return None

    def _find_behind_damage(self, after: int, through: int, *, accepted_ms: int) -> int | None:
        """The first event accepted at a time or later, or the first of the damaged ones right before it."""
        found = self._find(
            after, through, lowest_ms=accepted_ms, highest_ms=_NO_LIMIT_MS, passes_damaged=True
        )
        end = through + 1 if found is None else found
        try:
            self._connection.execute(
                "SELECT receive_time_ms FROM events WHERE position > ? AND position < ?"
                " ORDER BY position DESC LIMIT 1",
                (after, end),
            ).fetchone()
        except apsw.Error as error:
            if not is_damage(error):
                raise
            return damaged_before(self._connection, after, end).first_position
        return found

    def _find_last(
        self, after: int, through: int, *, accepted_before_ms: int, passes_damaged: bool
    ) -> int | None:
        """The last event accepted before a time."""
        blocks = self._connection.execute(
            "SELECT block FROM blocks WHERE block BETWEEN ? AND ? AND min_receive_ms < ? ORDER BY block DESC",
            (after + 1 >> BLOCK_BITS, through >> BLOCK_BITS, accepted_before_ms),
        )
        for (block,) in blocks:
            range_ = _range(block, after, through)
            try:
                row = self._connection.execute(
                    "SELECT position FROM events WHERE position BETWEEN ? AND ? AND receive_time_ms < ?"
                    " ORDER BY position DESC LIMIT 1",
                    (*range_, accepted_before_ms),
                ).fetchone()
            except apsw.Error as error:
                if not (passes_damaged and is_damage(error)):
                    raise
                found = [each for each, ms in self._readable(*range_) if ms < accepted_before_ms]
                row = (found[-1],) if found else None
            if row is not None:
                return int(row[0])
        return None

    def _readable(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Positions and times of the events of a range that can be read."""
        after = first - 1
        while after < last:
            try:
                rows: Any = self._connection.execute(  # Any: each column has its own type
                    "SELECT position, receive_time_ms FROM events WHERE position >= ? AND position <= ?"
                    " ORDER BY position",
                    (after + 1, last),
                )
                for position, receive_time_ms in rows:
                    after = position
                    yield position, receive_time_ms
            except apsw.Error as error:
                if not is_damage(error):
                    raise
                after = damaged_after(self._connection, after, last + 1).last_position
            else:
                return


def _range(block: int, after: int, through: int) -> tuple[int, int]:
    """The first and the last position of a block within bounds."""
    return max(after + 1, block << BLOCK_BITS), min(through, (block + 1 << BLOCK_BITS) - 1)


_NO_LIMIT_MS = (1 << 63) - 1
