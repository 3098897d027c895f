"""Bytes that SQLite leaves between the cells of its pages are zeroed, and no other bytes are."""

from __future__ import annotations

import random
from pathlib import Path

import apsw
import pytest

from engagement_server.store.database import DatabaseFile
from engagement_server.store.purge import Purge
from engagement_server.store.residue import DatabasePages

MARKER = b"zqmark"
ROWS = 20_000


@pytest.fixture
def connection(tmp_path: Path) -> apsw.Connection:
    return DatabaseFile(tmp_path).open_writer()


def fill_and_delete(connection: apsw.Connection) -> set[tuple[int, str]]:
    """Inserts rows in the middle of their table, which splits pages, and deletes every fourth."""
    chance = random.Random(1)
    last = {1: 0, 2: 0}
    kept: set[tuple[int, str]] = set()
    for start in range(0, ROWS, 500):
        with connection:
            for number in range(start, start + 500):
                account = chance.choice((1, 2))
                last[account] += 1
                position = account << 40 | last[account]
                word = f"{MARKER.decode()}{number}" if number % 4 == 0 else f"kept{number}"
                event_id = f"{chance.getrandbits(64):016x}-{word}"
                payload = f"{word} {'x' * chance.choice((50, 200, 6000))}".encode()
                connection.execute(
                    "INSERT INTO events VALUES (?, ?, ?, 1, 1, 0, 0, ?, NULL, NULL, NULL, NULL)",
                    (position, account, event_id, payload),
                )
                if number % 4:
                    kept.add((position, event_id))
    connection.execute("DELETE FROM events WHERE event_id LIKE '%-' || ? || '%'", (MARKER.decode(),))
    return kept


def test_a_purge_leaves_no_byte_of_deleted_rows_and_every_byte_of_others(
    connection: apsw.Connection, tmp_path: Path
) -> None:
    kept = fill_and_delete(connection)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    path = tmp_path / "engagement.db"
    assert MARKER in path.read_bytes(), "SQLite leaves no residue any more: the purge can go"
    for _ in Purge(connection).steps():
        # Writes between the steps must not bring back pages from the cache of the connection.
        connection.execute("UPDATE events SET receive_time_ms = receive_time_ms + 1 WHERE position % 50 = 0")
    connection.execute("UPDATE events SET receive_time_ms = receive_time_ms + 1")
    assert MARKER not in path.read_bytes()
    assert MARKER not in (tmp_path / "engagement.db-wal").read_bytes()
    assert set(connection.execute("SELECT position, event_id FROM events")) == kept
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_zeroed_file_has_nothing_more_to_zero(connection: apsw.Connection, tmp_path: Path) -> None:
    fill_and_delete(connection)
    for _ in Purge(connection).steps():
        pass
    pages = DatabasePages(str(tmp_path / "engagement.db"))
    assert [found for found in pages.find_residue() if found] == []
    pages.close()
