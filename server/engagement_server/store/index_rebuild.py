"""Rebuilds the search index of a store that was indexed under another contract or other rules for text.

The words of an event are removed by indexing it once more, so the index must hold exactly what this server
makes of each event. See docs/decisions/0033-index-rebuild.md.
"""

from __future__ import annotations

import contextlib
import json
import logging
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import apsw

from engagement_server.errors import StoreUnavailableError
from engagement_server.store.checksums import can_delete_unchecked, is_damage, unchecked
from engagement_server.store.damage import damaged_after
from engagement_server.store.entity_rows import refold_entities
from engagement_server.store.fingerprint import FINGERPRINT, INDEX_DECLARATION
from engagement_server.store.index_merges import IndexMerges
from engagement_server.store.index_rows import insert_words
from engagement_server.store.readable import read_event
from engagement_server.store.search import DAMAGED_SETTING, DAMAGED_WORD, indexed_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# A commit of the rebuild ends with the event that reaches one of these.
_EVENTS_A_STEP = 4_000
_BYTES_A_STEP = 8 * 1024 * 1024
_PAGES_A_STEP = 4_000
_PROGRESS_SECONDS = 10.0
# More are below a damaged page that leads to others.
_MAX_DAMAGED_EVENTS = 2_000
_END = 1 << 62

_log = logging.getLogger(__name__)


class _Progress(NamedTuple):
    """How far a rebuild has come; stored, so that the next start continues an interrupted one."""

    fingerprint: str
    """The rebuild of another server is not continued."""
    position: int
    """The last event that is in the new index."""


def create_index(connection: apsw.Connection) -> None:
    """Creates the index of a store without events, inside the transaction of the caller."""
    connection.execute(INDEX_DECLARATION)
    _write_setting(connection, "search_fingerprint", FINGERPRINT)


def discard_index(connection: apsw.Connection) -> None:
    """Marks the index as out of date, inside the transaction of the caller: a rebuild is due."""
    connection.execute("DELETE FROM settings WHERE name = 'search_fingerprint'")


def is_index_current(connection: apsw.Connection) -> bool:
    """Whether the index is complete, and as this server makes it."""
    return _read_setting(connection, "search_fingerprint") == FINGERPRINT


def rebuild_index_at_once(connection: apsw.Connection) -> None:
    """Rebuilds the index in one transaction, so that readers have the old one until the new one is complete.

    Commits wait meanwhile.
    """
    with connection:
        _rebuild(connection, is_stopped=lambda: False)


def rebuild_index(connection: apsw.Connection, *, is_stopped: Callable[[], bool]) -> None:
    """Rebuilds the index unless this server, or one that reads events alike, has written it.

    Memory does not grow with the store. The next call resumes a rebuild that was stopped or killed; only a
    complete index is marked as usable. Raises StoreUnavailableError if stopped.
    """
    if not is_index_current(connection):
        _rebuild(connection, is_stopped=is_stopped)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _rebuild(connection: apsw.Connection, *, is_stopped: Callable[[], bool]) -> None:
    started = time.monotonic()
    ((most,),) = connection.execute("SELECT total(last_sequence - expired_sequence) FROM accounts")
    _log.info(
        "indexing the events again, at most %d: the contract or the rules for text have changed, or events"
        " were damaged",
        most,
    )
    rebuild = _Rebuild(connection)
    reported = started
    while rebuild.step():
        if is_stopped():
            raise StoreUnavailableError("stopped while indexing the events again; the next start continues")
        if time.monotonic() >= reported + _PROGRESS_SECONDS:
            reported = time.monotonic()
            _log.info("indexed %d events of at most %d", rebuild.events, most)
    if rebuild.repaired:
        _log.warning("dropped values from %d events that the contract cannot express", rebuild.repaired)
    if rebuild.damaged:
        _log.error("%d events are damaged and cannot be indexed", rebuild.damaged)
    _log.info("indexed %d events in %.1f seconds", rebuild.events, time.monotonic() - started)


class _Rebuild:
    """A rebuild of the index, in transactions of its own. Nothing else may use the store."""

    def __init__(self, connection: apsw.Connection) -> None:
        """Continues a rebuild of this server, or drops the index and begins."""
        self._connection = connection
        self.events = 0
        """Number of events that this object has indexed."""
        self.repaired = 0
        self.damaged = 0
        stored = _read_setting(connection, "search_rebuild")
        progress = _Progress(*json.loads(stored)) if stored is not None else None
        if progress is None or progress.fingerprint != FINGERPRINT:
            progress = self._begin()
        self._position = progress.position
        self._merges = IndexMerges(connection)

    def step(self) -> bool:
        """Indexes the next events; returns False once all are in the index, which is then in use."""
        rows = self._read()
        with self._connection:
            if not rows:
                self._connection.execute("DELETE FROM settings WHERE name = 'search_rebuild'")
                _write_setting(self._connection, "search_fingerprint", FINGERPRINT)
                return False
            self._insert(rows)
            self._save(_Progress(FINGERPRINT, rows[-1][0]))
        self._position = rows[-1][0]
        self.events += len(rows)
        return True

    def _begin(self) -> _Progress:
        progress = _Progress(FINGERPRINT, 0)
        # Another server must not continue its own rebuild either.
        self._connection.execute(
            "DELETE FROM settings WHERE name IN ('search_fingerprint', 'search_rebuild')"
        )
        # Damaged words go as well, unless a deletion could free pages of others.
        is_safe = can_delete_unchecked(self._connection.db_filename("main"))
        with unchecked(self._connection) if is_safe else contextlib.nullcontext():
            self._delete_words()
            self._connection.execute("DROP TABLE search")
        with self._connection:
            self._connection.execute(
                "DELETE FROM settings WHERE name IN ('index_purge', ?)", (DAMAGED_SETTING,)
            )
            self._connection.execute(INDEX_DECLARATION)
            refold_entities(self._connection)
            self._save(progress)
        return progress

    def _delete_words(self) -> None:
        """Deletes the pages of the index, some at a time: a transaction keeps what it deletes in memory.

        SQLite overwrites them with zeros, so this also purges the words of removed events.
        """
        while self._connection.execute("SELECT EXISTS (SELECT 1 FROM search_data)").fetchone() == (1,):
            self._connection.execute(
                "DELETE FROM search_data WHERE id IN (SELECT id FROM search_data LIMIT ?)", (_PAGES_A_STEP,)
            )

    def _read(self) -> Sequence[tuple[int, bytes | None]]:
        """The next events; None stands for the payload of a damaged one."""
        rows: list[tuple[int, bytes]] = []
        try:
            return self._read_sound(rows)
        except apsw.Error as error:
            if not is_damage(error):
                raise
            return rows or self._read_damaged(error)

    def _read_damaged(self, error: apsw.Error) -> Sequence[tuple[int, None]]:
        """The next events by the index of ids."""
        damage = damaged_after(self._connection, self._position, _END)
        rows: Any = self._connection.execute(  # Any: each column has its own type
            "SELECT position FROM events INDEXED BY events_by_id WHERE position BETWEEN ? AND ?"
            " ORDER BY position LIMIT ?",
            (damage.first_position, damage.last_position, _MAX_DAMAGED_EVENTS + 1),
        ).fetchall()
        if not 0 < len(rows) <= _MAX_DAMAGED_EVENTS:
            raise error
        return [(int(position), None) for (position,) in rows]

    def _read_sound(self, rows: list[tuple[int, bytes]]) -> Sequence[tuple[int, bytes]]:
        size_bytes = 0
        with contextlib.closing(self._connection.cursor()) as cursor:
            for position, payload in cursor.execute(
                "SELECT position, payload FROM events WHERE position >= ? ORDER BY position LIMIT ?",
                (self._position + 1, _EVENTS_A_STEP),
            ):
                rows.append((int(position), bytes(payload)))
                size_bytes += len(payload)
                if size_bytes >= _BYTES_A_STEP:
                    break
        return rows

    def _insert(self, rows: Sequence[tuple[int, bytes | None]]) -> None:
        words: list[tuple[apsw.SQLiteValue, ...]] = []
        text_characters = 0
        for position, stored in rows:
            if stored is None:
                words.append((position, DAMAGED_WORD, "", "", ""))
                self.damaged += 1
                _write_setting(self._connection, DAMAGED_SETTING, "")
                continue
            event, payload = read_event(stored)
            if payload is not stored:
                self._connection.execute(
                    "UPDATE events SET payload = ? WHERE position = ?", (payload, position)
                )
                self.repaired += 1
            texts = indexed_texts(event)
            words.append((position, *texts))
            text_characters += len(texts[0])
        self._connection.executemany(insert_words(1), words)
        self._merges.merge_share(rows=len(rows), text_characters=text_characters)

    def _save(self, progress: _Progress) -> None:
        _write_setting(self._connection, "search_rebuild", json.dumps(progress))


def _read_setting(connection: apsw.Connection, name: str) -> str | None:
    row = connection.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
    return None if row is None else str(row[0])


def _write_setting(connection: apsw.Connection, name: str, value: str) -> None:
    connection.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, value))
