"""Counts by key that several processes keep and one of them adds up.

It does not know what is counted, nor how snapshots travel.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from typing import Generic, Protocol, TypeVar

K = TypeVar("K", bound=Hashable)
S = TypeVar("S")


class Mergeable(Protocol[S]):
    """What one process has counted, for another one to add to its own.

    Merging is addition: as long as no limit is reached, snapshots merged in any order give the same.
    """

    def drain(self) -> S | None:
        """Returns what was counted since the last call, and discards it; None if there is nothing.

        The size is bounded by the limits of what is counted.
        """

    def merge(self, snapshot: S) -> None:
        """Adds what another process has counted."""

    def of(self, subject: str) -> S:
        """Returns what there is about a subject, such as an account."""


class Counters(Generic[K]):
    """Counts by key, for at most `max_keys` keys. Once these are taken, new keys count as `others`."""

    __slots__ = ("_counts", "_max_keys", "others")

    def __init__(self, *, max_keys: int) -> None:
        self._counts: dict[K, int] = {}
        self._max_keys = max_keys
        self.others = 0

    def __len__(self) -> int:
        return len(self._counts)

    def __contains__(self, key: K) -> bool:
        return key in self._counts

    def __iter__(self) -> Iterator[tuple[K, int]]:
        return iter(self._counts.items())

    @property
    def has_room(self) -> bool:
        """Whether a new key would get a count of its own."""
        return len(self._counts) < self._max_keys

    @property
    def total(self) -> int:
        """The sum of all counts. It is exact even when keys are not."""
        return sum(self._counts.values()) + self.others

    def add(self, key: K, amount: int = 1) -> None:
        """Counts `amount` more of a key."""
        if key in self._counts:
            self._counts[key] += amount
        elif self.has_room:
            self._counts[key] = amount
        else:
            self.others += amount

    def merge(self, counts: Iterable[tuple[K, int]], *, others: int = 0) -> None:
        """Adds the counts of another process."""
        for key, amount in counts:
            self.add(key, amount)
        self.others += others
