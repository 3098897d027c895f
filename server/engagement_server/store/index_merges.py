"""Paces the merges of the search index, so that all commits share their cost.

Every insert adds a segment, and 16 segments of a level merge into one of the next, so an event is rewritten
once per level. Automatic merges run at full speed as soon as there are 16 segments, which halves the rate
of ingest for minutes. Here each commit merges its share of all levels.
See docs/decisions/0009-fts-merges.md.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import apsw

_MERGED_SEGMENTS = 16
_PAGE_BYTES = 4050
# Pages of the index for a page of text, as measured plus some room to catch up.
_PAGES_A_PAGE_OF_TEXT = 0.55
# However little text they hold, 16 segments make at least a page.
_PAGES_A_SEGMENT = 0.1
# A merge has a fixed cost, so small commits accumulate their shares.
_MIN_MERGED_PAGES = 3


class IndexMerges:
    """Works inside the transactions of the writer."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        ((events,),) = connection.execute("SELECT total(last_sequence) FROM accounts")
        self._events = int(events)
        self._due_pages = 0.0

    def merge_share(self, *, rows: int, text_characters: int) -> None:
        """Merges the share of rows that one statement has inserted."""
        self._events += rows
        levels = max(1.0, math.log(self._events / rows, _MERGED_SEGMENTS))
        self._due_pages += _PAGES_A_SEGMENT + _PAGES_A_PAGE_OF_TEXT * levels * text_characters / _PAGE_BYTES
        if self._due_pages >= _MIN_MERGED_PAGES:
            self._connection.execute(
                "INSERT INTO search (search, rank) VALUES ('merge', ?)", (int(self._due_pages),)
            )
            self._due_pages = 0.0
