"""The rows of entity lists: the names that customer statuses and types are matched against."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engagement import v1
from engagement.limits import MAX_ENTITY_NAMES
from engagement.rules import Violation
from engagement_server.errors import EntityNotFoundError, FieldInvalidError
from engagement_server.model import EntityList
from engagement_server.store.account_rows import NO_ACCOUNT, open_account
from engagement_server.store.entity_lists import EntityLists
from engagement_server.store.fold import caseless

if TYPE_CHECKING:
    import apsw

    from engagement_server.operations import DeleteEntity, PutEntities

# Accounts whose lists are cached: reading full lists takes as long as storing an event.
_MAX_CACHED_ACCOUNTS = 1000


def read_list(connection: apsw.Connection, account: int, kind: int) -> EntityList:
    """A list; its names are in the order in which they were added."""
    names = connection.execute(
        "SELECT name FROM entities WHERE account = ? AND kind = ? ORDER BY number", (account, kind)
    )
    row = connection.execute(
        "SELECT closed FROM entity_lists WHERE account = ? AND kind = ?", (account, kind)
    ).fetchone()
    return EntityList([name for (name,) in names], is_closed=row is not None and bool(row[0]))


def read_lists(connection: apsw.Connection, account: int) -> EntityLists:
    """Both lists of an account."""
    return EntityLists(
        statuses=read_list(connection, account, v1.EntityKind.ENTITY_KIND_CUSTOMER_STATUS),
        types=read_list(connection, account, v1.EntityKind.ENTITY_KIND_CUSTOMER_TYPE),
    )


def refold_entities(connection: apsw.Connection) -> None:
    """Folds all names anew, inside the transaction of the caller; needed if `caseless` gives other forms.

    Of names that have become one, the first keeps its place and gets the spelling of the last, as if they
    had been put today.
    """
    rows: Any = connection.execute(  # Any: each column has its own type
        "SELECT number, account, kind, name FROM entities ORDER BY number"
    ).fetchall()
    lists: dict[tuple[int, int, str], tuple[int, str]] = {}
    for number, account, kind, name in rows:
        key = account, kind, caseless(name)
        first, _ = lists.get(key, (number, name))
        lists[key] = first, name
    connection.execute("DELETE FROM entities")
    connection.executemany(
        "INSERT INTO entities (number, account, kind, folded, name) VALUES (?, ?, ?, ?, ?)",
        [(number, *key, name) for key, (number, name) in lists.items()],
    )


class EntityRows:
    """Writes the rows of lists, inside the transaction of the caller."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._lists: dict[int, EntityLists] = {}

    def lists_of(self, account: int) -> EntityLists:
        """Both lists of an account, as they are at this point of the transaction."""
        lists = self._lists.get(account)
        if lists is None:
            if len(self._lists) >= _MAX_CACHED_ACCOUNTS:
                self._lists.clear()
            lists = self._lists[account] = read_lists(self._connection, account)
        return lists

    def discard_cache(self) -> None:
        """Discards the cached lists, for use after a rollback."""
        self._lists.clear()

    def put(self, operation: PutEntities, account: int) -> EntityList:
        """Adds names; a name that matches one on the list gets the new spelling and keeps its place.

        Creates the account if it is missing, unless its list would be as it is without one. Raises
        FieldInvalidError if the list would hold too many names.
        """
        present = read_list(self._connection, account, operation.kind)
        folded = {caseless(name): name for name in operation.names}
        total = len({*folded, *map(caseless, present.names)})
        if total > MAX_ENTITY_NAMES:
            raise FieldInvalidError(
                [
                    Violation(
                        "names",
                        "server.entities.max_names",
                        f"a list holds at most {MAX_ENTITY_NAMES} names, with these it would hold {total}",
                    )
                ]
            )
        is_closed = present.is_closed if operation.is_closed is None else operation.is_closed
        if account == NO_ACCOUNT:
            if not folded and not is_closed:
                return present
            account = open_account(self._connection, operation.account_id)
        self._lists.pop(account, None)
        self._connection.execute(
            "INSERT INTO entity_lists VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET closed = excluded.closed",
            (account, operation.kind, is_closed),
        )
        self._connection.executemany(
            "INSERT INTO entities (account, kind, folded, name) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (account, kind, folded) DO UPDATE SET name = excluded.name",
            [(account, operation.kind, key, name) for key, name in folded.items()],
        )
        return read_list(self._connection, account, operation.kind)

    def delete(self, operation: DeleteEntity, account: int) -> EntityList:
        """Deletes a name, in any spelling that matches it. Raises EntityNotFoundError."""
        self._connection.execute(
            "DELETE FROM entities WHERE account = ? AND kind = ? AND folded = ?",
            (account, operation.kind, caseless(operation.name)),
        )
        if self._connection.changes() == 0:
            raise EntityNotFoundError(operation.name)
        self._lists.pop(account, None)
        return read_list(self._connection, account, operation.kind)
