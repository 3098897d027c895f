"""Paces the merging of the search index, so that its cost is spread evenly over the events.

Every insert leaves a segment, and 16 segments of a level are merged into one of the next: an event is
rewritten once a level. Left to itself the index merges as fast as it can once 16 are there, which halves
the rate of ingest for minutes. Here each commit merges as much as its share of all levels.
See docs/decisions/0009-fts-merges.md.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import apsw

_MERGED_SEGMENTS = 16
_PAGE_BYTES = 4050
# Pages of the index that a page of text takes, measured, with some room to catch up.
_PAGES_A_PAGE_OF_TEXT = 0.55
# However little text a segment has, 16 of them make at least a page.
_PAGES_A_SEGMENT = 0.1
# A merge costs something before it does anything: small commits save their shares up.
_MIN_MERGED_PAGES = 3


class IndexMerges:
    """Works inside the transactions of the writer."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        ((events,),) = connection.execute("SELECT total(last_sequence) FROM accounts")
        self._events = int(events)
        self._due_pages = 0.0

    def merge_share(self, *, rows: int, text_characters: int) -> None:
        """Merges the share of new events, which one statement has inserted."""
        self._events += rows
        levels = max(1.0, math.log(self._events / rows, _MERGED_SEGMENTS))
        self._due_pages += _PAGES_A_SEGMENT + _PAGES_A_PAGE_OF_TEXT * levels * text_characters / _PAGE_BYTES
        if self._due_pages >= _MIN_MERGED_PAGES:
            self._connection.execute(
                "INSERT INTO search (search, rank) VALUES ('merge', ?)", (int(self._due_pages),)
            )
            self._due_pages = 0.0
