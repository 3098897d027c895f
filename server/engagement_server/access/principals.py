"""Principals: whom a server knows, and what each may do."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from engagement_server.access.quotas import PUBLISHABLE_QUOTAS, Quotas
from engagement_server.access.scopes import SCOPES

ANY_END: Final = "*"
"""At the end of an account in a grant: any further characters."""
_BEHIND_ALL: Final = "\x7f"
"""Comes behind all characters of an account."""


class Accounts:
    """The accounts that a grant covers: exact ids, and beginnings of ids that end in `*`."""

    __slots__ = ("_beginnings", "_exact", "patterns")

    def __init__(self, patterns: Collection[str]) -> None:
        self.patterns = tuple(patterns)
        self._exact = frozenset(each for each in patterns if not each.endswith(ANY_END))
        self._beginnings = tuple(each.removesuffix(ANY_END) for each in patterns if each.endswith(ANY_END))

    @property
    def covers_all(self) -> bool:
        """Whether there is no account that it does not cover."""
        return ANY_END in self.patterns

    @property
    def ranges(self) -> Sequence[tuple[str, str]]:
        """The first and the last id that it may cover, of each of some disjoint ranges, in order."""
        exact = [(each, each) for each in self._exact]
        beginning = [(each, each + _BEHIND_ALL) for each in self._beginnings]
        found: list[tuple[str, str]] = []
        for first, last in sorted(exact + beginning, key=lambda ends: (ends[0], ends[0] == ends[1])):
            if not found or first > found[-1][1]:  # else it lies within the last one
                found.append((first, last))
        return found

    def __contains__(self, account_id: str) -> bool:
        return account_id in self._exact or account_id.startswith(self._beginnings)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Accounts) and self.patterns == other.patterns

    def __hash__(self) -> int:
        return hash(self.patterns)


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody whom the grants name."""

    name: str
    accounts: Accounts
    scopes: frozenset[int]
    sources: frozenset[str] = frozenset()
    """Values of `Event.source` that it may send; empty for all."""
    may_authenticate: bool = True
    """Whether it may set `Event.authenticated`."""
    is_publishable: bool = False
    """Whether its credentials are in other people's hands."""
    quotas: Quotas | None = None
    """How much it may use; None: as much as it likes."""

    def __post_init__(self) -> None:
        if self.is_publishable and self.quotas is None:
            object.__setattr__(self, "quotas", PUBLISHABLE_QUOTAS)

    @property
    def sees_persons(self) -> bool:
        """Whether what may identify a person is shown to it."""
        return SCOPES["read.pii"] in self.scopes


ALL_ACCOUNTS: Final = Accounts([ANY_END])
EVERYBODY: Final = Principal(name="", accounts=ALL_ACCOUNTS, scopes=frozenset(SCOPES.values()))
"""The caller of a server that does not ask who calls: it may do everything."""
