"""Names accounts and events of a damaged store as its operator knows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import apsw

from engagement_server.cursor import SEQUENCE_BITS, first_position
from engagement_server.store.checksums import is_damage

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_ACCOUNTS = 101
"""More than are listed."""


class Places:
    """Reads the rows of accounts; those that cannot be read have only a number."""

    def __init__(self, connection: apsw.Connection | None = None) -> None:
        self._connection = connection

    def account(self, number: int) -> str:
        """An account by its id."""
        for _, account_id, *_ in self._accounts(number, number):
            return f"account {account_id!r}"
        return f"account number {number}"

    def events(self, first: int, last: int) -> Iterator[str]:
        """The events in a range of positions, account by account, numbered in the order of acceptance."""
        is_named = False
        for number, account_id, expired, last_sequence in self._accounts(
            first >> SEQUENCE_BITS, last >> SEQUENCE_BITS
        ):
            start = first_position(number)
            low, high = max(first - start, expired + 1), min(last - start, last_sequence)
            if low <= high:
                is_named = True
                events = f"event {low}" if low == high else f"events {low} to {high}"
                yield f"{events} of account {account_id!r}"
        if not is_named:
            yield "rows of the table events"

    def _accounts(self, first: int, last: int) -> list[tuple[int, str, int, int]]:
        if self._connection is None:
            return []
        try:
            rows: Any = self._connection.execute(  # Any: each column has its own type
                "SELECT number, account_id, expired_sequence, last_sequence FROM accounts"
                " WHERE number BETWEEN ? AND ? ORDER BY number LIMIT ?",
                (first, last, _MAX_ACCOUNTS),
            ).fetchall()
        except apsw.Error as error:
            if not is_damage(error):
                raise
            return []
        return list(rows)
