"""A queue in which callers take turns, and the room that each of them may take in it."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Collection

T = TypeVar("T")


class Caller(NamedTuple):
    """Whose turn it is: connections take turns, and within one its accounts.

    Accounts alone would not do: a client names any account it likes.
    """

    connection: str
    account_id: str


class Turns(Generic[T]):
    """A queue that serves connections in turn, within one its accounts, and within these in order."""

    def __init__(self) -> None:
        self._connections: OrderedDict[str, OrderedDict[str, deque[T]]] = OrderedDict()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def append(self, caller: Caller, item: T) -> None:
        """Appends an item of a caller."""
        accounts = self._connections.get(caller.connection)
        if accounts is None:
            accounts = self._connections[caller.connection] = OrderedDict()
        items = accounts.get(caller.account_id)
        if items is None:
            items = accounts[caller.account_id] = deque()
        items.append(item)
        self._length += 1

    def first(self, *, passing_over: Collection[str] = ()) -> T | None:
        """The item whose turn it is, those of some connections left aside; None if there is none."""
        for connection, accounts in self._connections.items():
            if connection not in passing_over:
                return next(iter(accounts.values()))[0]
        return None

    def popleft(self, *, passing_over: Collection[str] = ()) -> T:
        """Removes the item whose turn it is, those of some connections left aside.

        Raises StopIteration if there is none.
        """
        connection = next(each for each in self._connections if each not in passing_over)
        accounts = self._connections[connection]
        account_id, items = next(iter(accounts.items()))
        item = items.popleft()
        if items:
            accounts.move_to_end(account_id)
        else:
            del accounts[account_id]
        if accounts:
            self._connections.move_to_end(connection)
        else:
            del self._connections[connection]
        self._length -= 1
        return item


class Room:
    """Bytes that may wait at a time.

    A connection may take as much as is left beside it, and an account as much as is left beside its
    connection. So there is room for others however much one of them asks for: a lone account gets a third.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._used_bytes = 0
        self._by_connection: Counter[str] = Counter()
        self._by_caller: Counter[Caller] = Counter()

    @property
    def used_bytes(self) -> int:
        """Bytes that are taken."""
        return self._used_bytes

    def is_free_for(self, caller: Caller) -> bool:
        """Whether a caller may take room; the last to come may exceed it."""
        free = self._max_bytes - self._used_bytes - self._by_connection[caller.connection]
        return self._by_caller[caller] <= free

    def take(self, caller: Caller, size_bytes: int) -> None:
        """Takes room for a caller."""
        self._used_bytes += size_bytes
        self._by_connection[caller.connection] += size_bytes
        self._by_caller[caller] += size_bytes

    def give_back(self, caller: Caller, size_bytes: int) -> None:
        """Gives back what a caller has taken."""
        self._used_bytes -= size_bytes
        _reduce(self._by_connection, caller.connection, size_bytes)
        _reduce(self._by_caller, caller, size_bytes)


def _reduce(counter: Counter[T], key: T, size_bytes: int) -> None:
    counter[key] -= size_bytes
    if not counter[key]:
        del counter[key]
