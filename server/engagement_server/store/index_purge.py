"""Purges the words of removed events from the search index.

A removal may only mark words as deleted; a merge of all segments then drops words and marks. The merge runs
in steps between commits and resumes after a restart. See docs/decisions/0018-purging-the-index.md.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import apsw

_PAGES_A_STEP = 1_000
# The row of the index that lists its segments, and the bytes before that list.
_STRUCTURE_ROW = 10
_COOKIE_BYTES = 4


class IndexPurge:
    """Works inside the transactions of the writer. Any object may schedule a purge; a new one runs it."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._merged: frozenset[int] | None = None

    def schedule(self) -> None:
        """Schedules a purge of everything removed so far."""
        self._connection.execute("INSERT OR REPLACE INTO settings VALUES ('index_purge', 'due')")

    def step(self) -> bool:
        """Merges some pages; returns True once everything removed before the purge began is purged."""
        row = self._connection.execute("SELECT value FROM settings WHERE name = 'index_purge'").fetchone()
        if row is None:
            return True
        if self._merged is None:
            # Removals from here on schedule another purge.
            self._connection.execute("UPDATE settings SET value = 'running' WHERE name = 'index_purge'")
            self._merge(-_PAGES_A_STEP)
            self._merged = max(self._merges(), key=len, default=frozenset())
        else:
            self._merge(_PAGES_A_STEP)
        if self._merged in self._merges():
            return False
        self._merged = None
        self._connection.execute("DELETE FROM settings WHERE name = 'index_purge' AND value = 'running'")
        return True

    def _merge(self, pages: int) -> None:
        # A negative number makes all segments the inputs of one merge.
        self._connection.execute("INSERT INTO search (search, rank) VALUES ('merge', ?)", (pages,))

    def _merges(self) -> list[frozenset[int]]:
        """The input segments of each running merge."""
        ((structure,),) = self._connection.execute(
            "SELECT block FROM search_data WHERE id = ?", (_STRUCTURE_ROW,)
        )
        numbers = _varints(bytes(structure)[_COOKIE_BYTES:])
        levels, _, _ = islice(numbers, 3)
        merges = []
        for _ in range(levels):
            inputs, segments = islice(numbers, 2)
            listed = [tuple(islice(numbers, 3)) for _ in range(segments)]
            if inputs:
                merges.append(frozenset(segment for segment, _, _ in listed[:inputs]))
        return merges


def _varints(packed: bytes) -> Iterator[int]:
    """Decodes variable-length integers: only the last byte of each has its highest bit unset."""
    value = 0
    for byte in packed:
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            yield value
            value = 0
