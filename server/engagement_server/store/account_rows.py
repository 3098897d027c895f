"""The rows of accounts: their numbers, and how far their logs reach.

Only what is kept makes an account: accepted events, lists of entities, suppressions. Anything else in an
account without a row is applied as if it had the number `NO_ACCOUNT`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import apsw

from engagement_server.cursor import first_position
from engagement_server.model import LogBounds
from engagement_server.store.checksums import is_damage
from engagement_server.store.damage import damaged_before

ALL_IDS = (("", "\x7f"),)
"""A range of all ids that accounts may have."""
NO_ACCOUNT = 0
"""Stands for the number of an account that has no row; no other row has it."""


class AccountSummary(NamedTuple):
    """What an account has stored."""

    account_id: str
    events: int
    last_receive_ms: int | None
    """When the last of the events was accepted; None if there is none that can be read."""
    stored_bytes: int


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


class AccountUse(NamedTuple):
    """What quotas ask of an account."""

    stored_bytes: int = 0
    had_events: bool = False
    """Whether it ever had one; it may have none any more."""


def find_use(connection: apsw.Connection, account_id: str) -> AccountUse:
    """The use of an account, which need not exist."""
    row: Any = connection.execute(  # Any: each column has its own type
        "SELECT stored_bytes, last_sequence > 0 FROM accounts WHERE account_id = ?", (account_id,)
    ).fetchone()
    return AccountUse() if row is None else AccountUse(row[0], bool(row[1]))


def count_accounts_of(connection: apsw.Connection, principal: str, *, at_most: int) -> int:
    """How many accounts had their first event from a principal; counts no further than `at_most`."""
    ((count,),) = connection.execute(
        "SELECT count(*) FROM (SELECT 1 FROM accounts WHERE principal = ? AND principal <> '' LIMIT ?)",
        (principal, at_most),
    )
    return int(count)


def count_removed(connection: apsw.Connection, account: int, *, events: int, size_bytes: int) -> None:
    """Notes that an account has fewer events."""
    connection.execute(
        # Those that were removed unread had other sizes than they were taken to have.
        "UPDATE accounts SET events = events - ?1,"
        " stored_bytes = iif(events = ?1, 0, max(stored_bytes - ?2, 0)) WHERE number = ?3",
        (events, size_bytes, account),
    )


def count_unreadable(connection: apsw.Connection, account: int, *, events: int) -> None:
    """Notes that an account has fewer events, whose sizes nobody can tell: they count as the mean of all."""
    connection.execute(
        "UPDATE accounts SET events = events - ?1,"
        " stored_bytes = stored_bytes - stored_bytes * min(?1, events) / max(events, 1) WHERE number = ?2",
        (events, account),
    )


def list_accounts(
    connection: apsw.Connection, *, ranges: Iterable[tuple[str, str]], after: str, max_accounts: int
) -> list[AccountSummary]:
    """The next accounts in the order of their ids, within ranges that are in order."""
    rows: list[Any] = []  # Any: each column has its own type
    for first, last in ranges:
        if last <= after:
            continue
        if len(rows) == max_accounts:
            break
        rows += connection.execute(
            "SELECT account_id, events, stored_bytes, number, last_sequence FROM accounts"
            " WHERE account_id > ? AND account_id BETWEEN ? AND ? ORDER BY account_id LIMIT ?",
            (after, first, last, max_accounts - len(rows)),
        )
    return [
        AccountSummary(
            account_id, events, _last_receive_ms(connection, first_position(number), sequence), stored_bytes
        )
        for account_id, events, stored_bytes, number, sequence in rows
    ]


def _last_receive_ms(connection: apsw.Connection, first: int, last_sequence: int) -> int | None:
    end = first + last_sequence + 1
    while end > first + 1:
        try:
            row = connection.execute(
                "SELECT receive_time_ms FROM events WHERE position > ? AND position < ?"
                " ORDER BY position DESC LIMIT 1",
                (first, end),
            ).fetchone()
        except apsw.Error as error:
            if not is_damage(error):
                raise
            end = damaged_before(connection, first, end).first_position
        else:
            return None if row is None else int(row[0])
    return None
