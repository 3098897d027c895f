"""Compares the search index with the events: sums over all words, which do not depend on their order."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from engagement_server.cursor import BLOCK_BITS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import apsw

# As the tokenizer of the index splits text: at ASCII characters other than letters and digits.
_WORDS = re.compile(rb"[0-9A-Za-z\x80-\xff]+")
_MAX_WORD_BYTES = 32_768
_COLUMNS = ("attributes", "consumer_id", "conversation_id", "customer_id")
_MASK = (1 << 64) - 1


def words_of_text(text: str) -> list[bytes]:
    """The words of an indexed text, as the index has them."""
    return [word[:_MAX_WORD_BYTES] for word in _WORDS.findall(text.encode())]


class IndexSums:
    """A sum for each block of positions: memory grows with a few bytes for thousands of events."""

    def __init__(self) -> None:
        self._sums: defaultdict[int, int] = defaultdict(int)

    def add_event(self, position: int, texts: Sequence[str]) -> None:
        """Adds the words of an event, given by its indexed texts."""
        for column, text in zip(_COLUMNS, texts, strict=True):
            for offset, word in enumerate(words_of_text(text)):
                self._change(position, column, offset, word, sign=1)

    def subtract_index(self, connection: apsw.Connection) -> Iterator[None]:
        """Subtracts the words of the index; yields now and then."""
        connection.execute("CREATE VIRTUAL TABLE temp.words USING fts5vocab(main, search, instance)")
        rows: Any = connection.execute(
            'SELECT term, doc, col, "offset" FROM temp.words'
        )  # Any: of each its own
        for number, (word, position, column, offset) in enumerate(rows):
            self._change(position, column, offset, word.encode(errors="surrogateescape"), sign=-1)
            if number % 10_000 == 0:
                yield

    def differing_blocks(self) -> list[int]:
        """The blocks whose events have other words in the index."""
        return sorted(block for block, total in self._sums.items() if total)

    def _change(self, position: int, column: str, offset: int, word: bytes, *, sign: int) -> None:
        block = position >> BLOCK_BITS
        self._sums[block] = self._sums[block] + sign * hash((position, column, offset, word)) & _MASK
