"""What is in use for a while and has a limit: names in groups, and who holds them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable


class Holds:
    """Names that are held. A name that several hold counts once."""

    def __init__(self) -> None:
        self._groups: dict[str, dict[str, Counter[Hashable]]] = {}

    def hold(self, group: str, name: str, *, holder: Hashable) -> int:
        """Holds a name; returns how many are held in its group, with this one."""
        names = self._groups.setdefault(group, {})
        names.setdefault(name, Counter())[holder] += 1
        return len(names)

    def release(self, group: str, name: str, *, holder: Hashable) -> None:
        """Ends one hold of a name, if it is still held."""
        names = self._groups.get(group, {})
        holders = names.get(name)
        if holders is None or holder not in holders:
            return
        holders[holder] -= 1
        if not holders[holder]:
            del holders[holder]
        self._tidy(group, name)

    def drop(self, holder: Hashable) -> None:
        """Ends all holds of a holder."""
        for group, names in list(self._groups.items()):
            for name, holders in list(names.items()):
                holders.pop(holder, None)
                self._tidy(group, name)

    def _tidy(self, group: str, name: str) -> None:
        names = self._groups[group]
        if not names[name]:
            del names[name]
        if not names:
            del self._groups[group]
