"""The rows of accounts: their numbers, and how far their logs reach."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engagement_server.cursor import first_position
from engagement_server.model import LogBounds

if TYPE_CHECKING:
    import apsw


def find_account(connection: apsw.Connection, account_id: str) -> int | None:
    """The number of an account; None if nothing was ever stored for it."""
    row = connection.execute("SELECT number FROM accounts WHERE account_id = ?", (account_id,)).fetchone()
    return None if row is None else int(row[0])


def find_bounds(connection: apsw.Connection, account_id: str) -> LogBounds | None:
    """How far the log of an account reaches; None if nothing was ever stored for it."""
    row = connection.execute(
        "SELECT number, expired_sequence, last_sequence FROM accounts WHERE account_id = ?", (account_id,)
    ).fetchone()
    if row is None:
        return None
    number, expired_sequence, last_sequence = row
    first = first_position(number)
    return LogBounds(number, first + expired_sequence, first + last_sequence)


def open_account(connection: apsw.Connection, account_id: str) -> LogBounds:
    """How far the log of an account reaches; creates the account if missing."""
    connection.execute(
        "INSERT INTO accounts (account_id, last_sequence) VALUES (?, 0) ON CONFLICT DO NOTHING", (account_id,)
    )
    bounds = find_bounds(connection, account_id)
    assert bounds is not None
    return bounds
