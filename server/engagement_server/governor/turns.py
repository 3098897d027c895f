"""A queue in which callers take turns, and the room that each of them may take in it."""

from __future__ import annotations

from collections import OrderedDict, deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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

    def first(self, may_go: Callable[[Caller], bool]) -> T | None:
        """The item whose turn it is, of the callers that may go; None if there is none."""
        for connection, accounts in self._connections.items():
            for account_id, items in accounts.items():
                if may_go(Caller(connection, account_id)):
                    return items[0]
        return None

    def popleft(self) -> T:
        """Removes the item whose turn it is. Raises StopIteration if there is none."""
        connection, accounts = next(iter(self._connections.items()))
        return self._take(connection, next(iter(accounts)))

    def pop(self, may_go: Callable[[Caller], bool]) -> T | None:
        """Removes the item whose turn it is, of the callers that may go; None if there is none."""
        for connection, accounts in self._connections.items():
            for account_id in accounts:
                if may_go(Caller(connection, account_id)):
                    return self._take(connection, account_id)
        return None

    def pop_while(self, may_go: Callable[[Caller], bool]) -> Iterator[T]:
        """Removes and yields, in turn, items whose callers may go, until none of the rest may."""
        connections = deque(self._connections)
        while connections:
            connection = connections.popleft()
            accounts = self._connections[connection]
            account_id = next((each for each in accounts if may_go(Caller(connection, each))), None)
            if account_id is None:
                continue
            yield self._take(connection, account_id)
            if connection in self._connections:
                connections.append(connection)

    def remove(self, caller: Caller, item: T) -> None:
        """Removes an item of a caller; its turn stays as it is."""
        self._connections[caller.connection][caller.account_id].remove(item)
        self._length -= 1
        self._drop_empty(*caller)

    def _take(self, connection: str, account_id: str) -> T:
        """Removes the first item of a caller, which has its next turn after all others."""
        accounts = self._connections[connection]
        item = accounts[account_id].popleft()
        accounts.move_to_end(account_id)
        self._connections.move_to_end(connection)
        self._length -= 1
        self._drop_empty(connection, account_id)
        return item

    def _drop_empty(self, connection: str, account_id: str) -> None:
        accounts = self._connections[connection]
        if not accounts[account_id]:
            del accounts[account_id]
        if not accounts:
            del self._connections[connection]


class Room:
    """Bytes that may wait at a time.

    A connection may take as much as is left beside it, and an account as much as is left beside its
    connection. A lone account gets a third. The last item of a connection may exceed its half of the room,
    and is not counted against others beyond that half: whatever two connections take, a third finds room.
    So all of them together exceed the room by three items at most.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._max_counted = max(max_bytes // 2, 1)
        """Of each connection."""
        self._used_bytes = 0
        self._counted_bytes = 0
        # Dicts: a Counter is several times slower, and each call takes room in several places.
        self._by_connection: dict[str, int] = {}
        self._by_caller: dict[Caller, int] = {}

    @property
    def used_bytes(self) -> int:
        """Bytes that are taken."""
        return self._used_bytes

    def is_free_for(self, caller: Caller) -> bool:
        """Whether a caller may take room for an item, whatever its size."""
        free = self._max_bytes - self._counted_bytes - self._by_connection.get(caller.connection, 0)
        return self._by_caller.get(caller, 0) <= free

    @contextmanager
    def taken(self, caller: Caller, size_bytes: int) -> Iterator[None]:
        """Takes room for a caller while the context is open."""
        self.take(caller, size_bytes)
        try:
            yield
        finally:
            self.give_back(caller, size_bytes)

    def take(self, caller: Caller, size_bytes: int) -> None:
        """Takes room for a caller."""
        self._add(caller, size_bytes)

    def give_back(self, caller: Caller, size_bytes: int) -> None:
        """Gives back what a caller has taken."""
        self._add(caller, -size_bytes)

    def _add(self, caller: Caller, size_bytes: int) -> None:
        self._used_bytes += size_bytes
        before, after = _add_to(self._by_connection, caller.connection, size_bytes)
        _add_to(self._by_caller, caller, size_bytes)
        self._counted_bytes += min(after, self._max_counted) - min(before, self._max_counted)


def _add_to(sizes: dict[T, int], key: T, size_bytes: int) -> tuple[int, int]:
    """Adds to the size under a key, which goes at 0; returns the size before and after."""
    before = sizes.get(key, 0)
    after = before + size_bytes
    if after:
        sizes[key] = after
    else:
        sizes.pop(key, None)
    return before, after
