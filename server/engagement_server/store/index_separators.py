"""Takes the words of erased events out of the separators of the search index.

FTS5 finds a page of a segment by a separator: the shortest beginning of the page's first word that tells it
from the page before. Its `secure-delete` removes a word from its page, but leaves the separator, which may be
the whole word. See docs/decisions/0019-no-byte-is-left.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engagement_server.store.index_sums import words_of_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import apsw

# What FTS5 puts before each word of its main index.
_MAIN = b"0"


def drop_separators(connection: apsw.Connection, erased: Iterable[Sequence[str]]) -> bool:
    """Replaces the separators that only erased events explain, given their indexed texts.

    The words must be gone from the index. Returns False if a separator could not be replaced.
    """
    separators = {bytes(term) for (term,) in connection.execute("SELECT term FROM search_idx")}
    words = {_MAIN + word for texts in erased for text in texts for word in words_of_text(text)}
    left = {word[:end] for word in words for end in range(2, len(word) + 1)} & separators
    if not left:
        return True
    connection.execute("CREATE VIRTUAL TABLE temp.live_words USING fts5vocab(main, search, instance)")
    try:
        unreplaced = [separator for separator in sorted(left) if not _replace(connection, separator)]
    finally:
        connection.execute("DROP TABLE temp.live_words")
    return not unreplaced


def _replace(connection: apsw.Connection, separator: bytes) -> bool:
    """Replaces a separator by the beginning of the next word that is left: it divides the pages as well."""
    following = _next_word(connection, separator[len(_MAIN) :])
    if following is None:
        return False
    word = _MAIN + following
    if word.startswith(separator):
        return True  # it is the beginning of a word that is left
    shorter = next(word[:end] for end in range(1, len(word) + 1) if word[:end] > separator)
    taken = connection.execute(
        "SELECT 1 FROM search_idx WHERE term = ? AND segid IN (SELECT segid FROM search_idx WHERE term = ?)",
        (shorter, separator),
    ).fetchone()
    if taken is not None:
        return False
    connection.execute("UPDATE search_idx SET term = ? WHERE term = ?", (shorter, separator))
    return True


def _next_word(connection: apsw.Connection, beginning: bytes) -> bytes | None:
    """The first word of the index from a beginning on, which may end within a character."""
    rows = connection.execute(
        "SELECT term FROM temp.live_words WHERE term >= ?", (beginning.decode(errors="ignore"),)
    )
    with_bytes = (str(term).encode(errors="surrogateescape") for (term,) in rows)
    found = next((word for word in with_bytes if word >= beginning), None)
    rows.close()
    return found
