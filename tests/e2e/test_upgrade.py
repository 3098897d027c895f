"""A store of an earlier server is upgraded with all its contents, or stays as it was."""

from __future__ import annotations

import contextlib
import logging
import re
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from engagement import v1
from engagement_server.model import StoredRow
from engagement_server.operations import Commit, CommitChunk, OpenUpload, Operation, RecordBatch
from engagement_server.store.database import SCHEMA_VERSION, DatabaseFile, read_cursors
from engagement_server.store.reader import PageQuery, Reader
from engagement_server.store.writer import Writer
from tests.support.events import bad_event, batch_of, customer_event, customer_events, personal_event

SCHEMA_1 = (Path(__file__).parent / "schema_1.sql").read_text()
COPIED = {
    "settings": "name, value",
    "accounts": "number, account_id, last_sequence",
    "events": "position, account, event_id, attribute_set, authenticated, server_time_ms, receive_time_ms,"
    " payload",
    "blocks": "block, min_ms, max_ms",
    "uploads": "*",
    "upload_results": "*",
}
# Opens the store and kills itself at a statement.
DYING = """
import os, pathlib, re, signal, sys
import apsw
from engagement_server.store.database import DatabaseFile

def die(cursor, statement, bindings):
    if re.search(sys.argv[2], statement):
        die.seen += 1
        if die.seen == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)
    return True

die.seen = 0
apsw.connection_hooks.append(lambda connection: setattr(connection, "exec_trace", die))
DatabaseFile(pathlib.Path(sys.argv[1])).open_writer()
"""
FILTERS = [
    v1.EventFilter(),
    v1.EventFilter(customer_ids=["K-1", "k-2"]),
    v1.EventFilter(consumer_ids=["ada"], customer_statuses=["ACTIVE"]),
    v1.EventFilter(conversation_ids=["talk 1"]),
    v1.EventFilter(text='"STRASSE 5" gold'),
    v1.EventFilter(text="2014-10-15"),
    v1.EventFilter(text="zoë"),
    v1.EventFilter(attribute_sets=[v1.AttributeSet.ATTRIBUTE_SET_PERSONAL_INFO]),
]


def odd_events() -> list[v1.Event]:
    """Events of which every filter finds some."""
    events = [
        customer_event("a", customer_id="K-1", customer_status="Active"),
        customer_event("b", customer_id="k-1", last_payment_date=v1.Date(year=2014, month=10, day=15)),
        customer_event("c", account_name="Straße 5", role="GOLD"),
        personal_event("d", name="ZOË"),
        personal_event("e"),
    ]
    events[1].conversation_id = "talk 1"
    events[4].additional_attributes["street"] = "strasse 5, gold"
    return events


def write(data_dir: Path, *operations: Operation) -> None:
    """Fills a store of this server."""
    database = DatabaseFile(data_dir)
    with contextlib.closing(database.open_writer()) as connection:
        Writer(connection).apply(Commit(operations, 1_700_000_000_000))
    database.close()


def record(*events: v1.Event, account_id: str = "acme") -> RecordBatch:
    return RecordBatch(account_id, batch_of(events), is_atomic=False)


def make_schema_1(new_dir: Path, old_dir: Path) -> None:
    """A store of schema version 1 with the rows of a new one."""
    old_dir.mkdir()
    with contextlib.closing(apsw.Connection(str(old_dir / "engagement.db"))) as old:
        old.execute(SCHEMA_1)
        old.execute("ATTACH ? AS new", (str(new_dir / "engagement.db"),))
        for table, columns in COPIED.items():
            names = "" if columns == "*" else f"({columns})"
            old.execute(f"INSERT INTO {table} {names} SELECT {columns} FROM new.{table}")
        old.execute("DELETE FROM settings WHERE name = 'erasure_salt'")
        # The contents of an old index do not matter, as long as there are some.
        old.execute("INSERT INTO search (rowid, attributes) SELECT position, event_id FROM events")
        old.pragma("user_version", 1)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """A new store with events and an upload, and an old one with the same."""
    new_dir, old_dir = tmp_path / "new", tmp_path / "old"
    write(
        new_dir,
        record(*customer_events(1300), *odd_events()),
        record(*odd_events(), account_id="other"),
        OpenUpload("acme", "upload", "owner"),
        CommitChunk("acme", "upload", "owner", 1, batch_of([bad_event("x"), *customer_events(2)])),
    )
    make_schema_1(new_dir, old_dir)
    return new_dir, old_dir


@contextlib.contextmanager
def opened(data_dir: Path) -> Iterator[apsw.Connection]:
    """A connection to a store as a server opens it."""
    database = DatabaseFile(data_dir)
    try:
        with contextlib.closing(database.open_writer()) as connection:
            yield connection
    finally:
        database.close()


def schema(connection: apsw.Connection) -> list[tuple[str, ...]]:
    """All tables and indexes; whitespace and comments in their statements are ignored."""
    rows = connection.execute("SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema")
    return sorted(
        (*names, " ".join(re.findall(r"\w+|[^\w\s]", re.sub(r"--.*", "", sql)))) for *names, sql in rows
    )


def found(data_dir: Path, wanted: v1.EventFilter, *, account_id: str) -> list[StoredRow]:
    """Rows of the events that match a filter."""
    query = PageQuery(
        account_id=account_id,
        wanted=wanted,
        after_position=None,
        newest_first=False,
        max_events=10_000,
        max_bytes=1 << 30,
    )
    with opened(data_dir) as connection:
        return [row for row, _ in Reader(connection).page(query).rows]


def test_an_upgraded_store_has_the_schema_of_a_fresh_one(folders: tuple[Path, Path]) -> None:
    new_dir, old_dir = folders
    with opened(new_dir) as new, opened(old_dir) as old:
        assert schema(old) == schema(new)
        assert old.pragma("user_version") == new.pragma("user_version") == SCHEMA_VERSION
        for table in ("search_config", "uploads", "upload_results", "accounts", "events", "blocks"):
            rows = [list(each.execute(f"SELECT * FROM {table} ORDER BY 1, 2")) for each in (old, new)]
            assert rows[0] == rows[1]
        assert read_cursors(old) == read_cursors(new)
        assert old.pragma("integrity_check") == "ok"
        old.execute("INSERT INTO search (search) VALUES ('integrity-check')")


@pytest.mark.parametrize("account_id", ["acme", "other"])
def test_every_event_is_found_after_an_upgrade(folders: tuple[Path, Path], account_id: str) -> None:
    new_dir, old_dir = folders
    for wanted in FILTERS:
        expected = found(new_dir, wanted, account_id=account_id)
        assert expected
        assert found(old_dir, wanted, account_id=account_id) == expected
    with opened(old_dir) as connection:
        for event in odd_events():
            row = Reader(connection).find_by_id(account_id, event.event_id)
            assert row is not None
            assert v1.Event.FromString(row.payload) == event


def test_an_upgraded_store_goes_on(folders: tuple[Path, Path]) -> None:
    _, old_dir = folders
    with opened(old_dir):
        pass
    write(old_dir, record(customer_event("new", customer_id="K-1"), *odd_events()))
    rows = found(old_dir, v1.EventFilter(customer_ids=["K-1"]), account_id="acme")
    assert [v1.Event.FromString(row.payload).event_id for row in rows] == ["a", "new"]


@pytest.mark.parametrize(
    ("statement", "count"),
    [
        ("ALTER TABLE events", 1),
        ("DROP TABLE search", 1),
        (r"INSERT INTO search \(rowid", 2),
        (r"INSERT INTO search \(rowid", 1310),
    ],
)
def test_a_kill_in_the_middle_leaves_the_store_as_it_was(
    folders: tuple[Path, Path], statement: str, count: int
) -> None:
    _, old_dir = folders
    with contextlib.closing(apsw.Connection(str(old_dir / "engagement.db"))) as connection:
        before = schema(connection)
    arguments = [sys.executable, "-c", DYING, str(old_dir), statement, str(count)]
    assert subprocess.run(arguments, check=False, timeout=20).returncode == -signal.SIGKILL
    with contextlib.closing(apsw.Connection(str(old_dir / "engagement.db"))) as connection:
        assert connection.pragma("user_version") == 1
        assert schema(connection) == before
        assert connection.pragma("integrity_check") == "ok"
    test_an_upgraded_store_has_the_schema_of_a_fresh_one(folders)


def test_an_upgrade_tells_how_far_it_is_and_takes_little_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    texts = dict.fromkeys(("balance", "role", "imei", "currency"), "x" * 50_000)
    large = [customer_event(f"large {number:03}", **texts) for number in range(100)]
    write(tmp_path / "new", record(*large))
    make_schema_1(tmp_path / "new", tmp_path / "old")
    tracemalloc.start()
    try:
        with caplog.at_level(logging.INFO), opened(tmp_path / "old"):
            _, peak_bytes = tracemalloc.get_traced_memory()
            log_bytes = (tmp_path / "old/engagement.db-wal").stat().st_size
    finally:
        tracemalloc.stop()
    assert peak_bytes < sum(event.ByteSize() for event in large) / 4
    assert "upgrading the store to schema version 2: 100 events to index" in caplog.text
    assert log_bytes == 0
