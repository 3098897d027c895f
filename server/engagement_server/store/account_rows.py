"""The rows of accounts: their numbers, and how far their logs reach.

Only what is kept makes an account: accepted events, lists of entities, suppressions. Anything else in an
account without a row is applied as if it had the number `NO_ACCOUNT`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engagement_server.cursor import first_position
from engagement_server.model import LogBounds

if TYPE_CHECKING:
    import apsw


NO_ACCOUNT = 0
"""Stands for the number of an account that has no row; no other row has it."""


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


def open_account(connection: apsw.Connection, account_id: str) -> int:
    """The number of an account; creates the account if missing."""
    connection.execute(
        "INSERT INTO accounts (account_id, last_sequence) VALUES (?, 0) ON CONFLICT DO NOTHING", (account_id,)
    )
    account = find_account(connection, account_id)
    assert account is not None
    return account


def next_account(connection: apsw.Connection) -> int:
    """The number that the next new account gets."""
    ((number,),) = connection.execute("SELECT coalesce(max(number), 0) + 1 FROM accounts")
    return int(number)
