"""Takes the words of erased events out of the separators of the search index.

FTS5 finds a page of a segment by a separator: the shortest beginning of the page's first word that tells it
from the page before. Its `secure-delete` removes a word from its page, but leaves the separator, which may be
the whole word. See docs/decisions/0019-no-byte-is-left.md.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Any

from engagement_server.store.index_sums import words_of_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import apsw

# What FTS5 puts before each word of its main index.
_MAIN = b"0"
# The key of a page: the number of its segment, and in the lower bits the number of the page.
_PAGE_BITS = 37


def drop_separators(connection: apsw.Connection, erased: Iterable[Sequence[str]]) -> bool:
    """Replaces the separators that only erased events explain, given their indexed texts.

    The words must be gone from the index. Returns False if a page could not be read.
    """
    words = sorted({_MAIN + word for texts in erased for text in texts for word in words_of_text(text)})
    pages: list[Any] = connection.execute("SELECT segid, term, pgno FROM search_idx").fetchall()  # of 3 types
    left = [page for page in pages if len(page[1]) > len(_MAIN) and _begins_one(page[1], words)]
    return all(_replace(connection, *page) for page in left)


def _begins_one(beginning: bytes, words: Sequence[bytes]) -> bool:
    """Whether one of sorted words has the beginning."""
    found = bisect_left(words, beginning)
    return found < len(words) and words[found].startswith(beginning)


def _replace(connection: apsw.Connection, segment: int, separator: bytes, page_and_flag: int) -> bool:
    """Replaces a separator by the beginning of the first word of its page, which divides as well."""
    word = _first_word(connection, segment, page_and_flag >> 1)
    if word is None or word < separator:
        return False
    if not word.startswith(separator):
        shortest = next(word[:end] for end in range(1, len(word) + 1) if word[:end] > separator)
        connection.execute(
            "UPDATE search_idx SET term = ? WHERE segid = ? AND term = ?", (shortest, segment, separator)
        )
    return True


def _first_word(connection: apsw.Connection, segment: int, page: int) -> bytes | None:
    """The first word that is stored on a page of a segment, with its prefix; None if it cannot be read.

    A page has a header of two numbers, the second of them the offset at which the offsets of its words
    begin. The first word is stored whole, behind its length.
    """
    row: Any = connection.execute(
        "SELECT block FROM search_data WHERE id = ?", ((segment << _PAGE_BITS) + page,)
    ).fetchone()  # Any: a blob
    if row is None:
        return None
    block: bytes = row[0]
    try:
        offset, _ = _read_varint(block, int.from_bytes(block[2:4]))
        length, start = _read_varint(block, offset)
    except IndexError:
        return None
    word = block[start : start + length]
    return word if len(word) == length and word.startswith(_MAIN) else None


def _read_varint(block: bytes, offset: int) -> tuple[int, int]:
    """A number of up to four bytes, and the offset behind it."""
    value = 0
    while True:
        byte = block[offset]
        offset += 1
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, offset
