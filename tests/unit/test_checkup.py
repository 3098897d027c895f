"""A check names each kind of damage, with its place as an operator knows it, and finds nothing else."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from engagement import v1
from engagement_server.clock import now_ms
from engagement_server.operations import Commit, RecordBatch
from engagement_server.store.checkup import Report, check_store
from engagement_server.store.database import FILE_NAME
from engagement_server.store.page_file import PAGE_BYTES
from tests.support.events import batch_of, customer_event
from tests.support.flipped_store import make_template, opened
from tests.support.store_file import open_store

_EVENTS = 300
_ANY = "(SELECT min(position) FROM events)"
_FIRST = "event 'event-000000' of account 'acme'"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with rows of every kind, all of them in its file."""
    folder = tmp_path_factory.mktemp("stores") / "template"
    make_template(folder, count=_EVENTS)
    with opened(folder):
        pass
    return folder


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> Path:
    return shutil.copytree(template, tmp_path / "data")


def check(folder: Path) -> Report:
    return check_store(folder / FILE_NAME, on_progress=lambda *_: None)


def findings(folder: Path) -> list[tuple[str, str]]:
    """The kind of each finding, and its text."""
    return [(finding.kind, f"{finding.place} {finding.message}") for finding in check(folder).findings]


def test_a_store_with_rows_of_every_kind_has_no_findings(folder: Path) -> None:
    with closing(open_store(folder)) as connection:
        rows = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        tables = {str(name) for (name,) in rows if not str(name).startswith(("sqlite_", "search"))}
        empty = {table for table in tables if not connection.execute(f"SELECT 1 FROM {table}").fetchone()}
    assert empty == {"log_digests", "log_skips", "publishers"}  # of a replicated log
    assert findings(folder) == []


@pytest.mark.parametrize(
    ("statement", "kind", "text"),
    [
        (
            "UPDATE accounts SET last_sequence = last_sequence - 1",
            "event",
            "event 'late-19' of account 'acme' is outside the log of its account",
        ),
        (
            "UPDATE accounts SET expired_sequence = 1",
            "event",
            f"{_FIRST} is outside the log of its account",
        ),
        (
            f"UPDATE events SET account = 9 WHERE position = {_ANY}",
            "event",
            "event 'event-000000' of account number 9 is outside the log of its account",
        ),
        (
            f"UPDATE events SET payload = x'ffff' WHERE position = {_ANY}",
            "event",
            f"{_FIRST} is not an event of this contract",
        ),
        *(
            (
                f"UPDATE events SET {column} WHERE position = {_ANY}",
                "event",
                f"{_FIRST} has columns that do not match its content",
            )
            for column in (
                "authenticated = 1 - authenticated",
                "attribute_set = 3 - attribute_set",
                "attribute_set = attribute_set + 2",
            )
        ),
        (
            f"UPDATE events SET event_id = 'x' WHERE position = {_ANY}",
            "event",
            "event 'x' of account 'acme' has columns that do not match its content",
        ),
        (
            "DELETE FROM blocks",
            "derived",
            "events 1 to 356 of account 'acme' are outside their time bounds",
        ),
        *(
            (
                f"UPDATE uploads SET {outcome} = {outcome} + 1",
                "derived",
                "upload 'upload' has a tally that does not match its results",
            )
            for outcome in ("duplicate", "rejected", "suppressed")
        ),
        (
            "UPDATE entities SET folded = 'x' WHERE number = 1",
            "derived",
            "entity 1 is filed under another name",
        ),
        *(
            (
                f"UPDATE {table} SET {change} WHERE hash = (SELECT hash FROM {table} LIMIT 1)",
                "derived",
                f"the table {table} has rows of no account: 1",
            )
            for table in ("tombstones", "suppressions")
            for change in ("account = 9", "hash = x'00'")
        ),
        *(
            (change, "derived", "erasure 'erasure' has an impossible state")
            for change in (
                "UPDATE erasures SET account = 9",
                "UPDATE erasure_subjects SET hash = x'00'",
                "UPDATE erasures SET complete_time_ms = 1; UPDATE erasure_subjects SET value = 'left'",
                "DELETE FROM erasure_subjects",
            )
        ),
        *(
            (
                f"UPDATE profiles SET {snapshot} = x'ffff' WHERE consumer_id = 'consumer-0'",
                "derived",
                "a profile of account 'acme' cannot be read",
            )
            for snapshot in ("merged", "replaced")
        ),
    ],
)
def test_rows_that_do_not_fit_together_are_found(folder: Path, statement: str, kind: str, text: str) -> None:
    with closing(open_store(folder)) as connection:
        connection.execute(statement)
    assert findings(folder) == [(kind, text)]


def record(folder: Path, account_id: str, *events: v1.Event) -> None:
    """Commits events."""
    with opened(folder) as (_, _, writer):
        writer.apply(Commit([RecordBatch(account_id, batch_of(events), is_atomic=True)], now_ms()))


def pages_of(folder: Path, table: str) -> list[int]:
    """The numbers of the leaf pages of a table or an index, the fullest first."""
    with closing(open_store(folder)) as connection:
        rows: Any = connection.execute(  # Any: each column has its own type
            "SELECT pageno FROM dbstat WHERE name = ? AND pagetype = 'leaf' ORDER BY unused", (table,)
        )
        return [page for (page,) in rows]


def page_in(content: bytes, page: int) -> bytes:
    """A page of a file."""
    return content[(page - 1) * PAGE_BYTES : page * PAGE_BYTES]


def flip(folder: Path, page: int, offset: int = PAGE_BYTES // 2) -> None:
    """Flips a bit of a page."""
    path = folder / FILE_NAME
    content = bytearray(path.read_bytes())
    content[(page - 1) * PAGE_BYTES + offset] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("table", "kind", "further"),
    [
        ("events_by_id", "page", []),
        ("upload_results", "page", ["the uploads cannot be checked completely"]),
        ("entities", "page", ["the entities cannot be checked completely"]),
        ("tombstones", "page", ["the hashes cannot be checked completely"]),
        ("erasures", "page", ["the erasures cannot be checked completely"]),
        ("profiles", "page", ["the profiles cannot be checked completely"]),
        ("blocks", "page", ["the time bounds cannot be checked completely"]),
        ("search_data", "index", ["the search index cannot be checked completely"]),
    ],
)
def test_a_damaged_page_is_named_by_what_is_on_it(
    folder: Path, table: str, kind: str, further: list[str]
) -> None:
    page, *_ = pages_of(folder, table)
    flip(folder, page)
    assert findings(folder) == [
        (kind, f"page {page} of {table} is not as it was written"),
        *(("page", text) for text in further),
    ]


def test_a_time_that_is_not_the_event_s_own_is_found(folder: Path) -> None:
    record(folder, "other", customer_event("timed", server_time_stamp=1_600_000_000_000))
    assert findings(folder) == []
    with closing(open_store(folder)) as connection:
        connection.execute("UPDATE events SET server_time_ms = 1 WHERE event_id = 'timed'")
        connection.execute("UPDATE blocks SET min_ms = 1")
    assert findings(folder) == [
        ("event", "event 'timed' of account 'other' has columns that do not match its content")
    ]


def test_an_event_that_is_filed_under_another_account_is_found(folder: Path) -> None:
    record(folder, "other", *(customer_event(f"other-{number}") for number in range(3)))
    with closing(open_store(folder)) as connection:
        connection.execute(f"UPDATE events SET account = 2 WHERE position = {_ANY}")
    assert findings(folder) == [
        ("event", "event 'event-000000' of account 'other' is outside the log of its account")
    ]


def test_a_damaged_page_that_is_free_belongs_to_no_table(folder: Path) -> None:
    with closing(open_store(folder)) as connection:
        connection.execute("CREATE TABLE gone AS SELECT randomblob(9000)")
        connection.execute("DROP TABLE gone")
        page = connection.pragma("page_count")
    assert isinstance(page, int)
    flip(folder, page)
    assert findings(folder)[0] == ("page", f"page {page} of no table is not as it was written")


def test_events_on_a_damaged_page_are_named_by_account_and_number(folder: Path) -> None:
    record(folder, "other", *(customer_event(f"other-{number}") for number in range(100)))
    content = (folder / FILE_NAME).read_bytes()
    (both,) = [
        each
        for each in pages_of(folder, "events")
        if {b"late-19", b"other-0"} <= {*re.findall(rb"late-19|other-0", page_in(content, each))}
    ]
    flip(folder, both, page_in(content, both).rindex(b"late-19"))
    page, first, second, bounds = findings(folder)
    assert re.fullmatch(r"page \d+ of events is not as it was written", page[1])
    assert re.fullmatch(r"events \d{3} to 356 of account 'acme' cannot be read", first[1])
    assert re.fullmatch(r"events 1 to \d+ of account 'other' cannot be read", second[1])
    assert bounds[1] == "the time bounds cannot be checked completely"
    assert [page[0], first[0], second[0], bounds[0]] == ["page", "event", "event", "page"]


def test_an_index_that_lacks_a_row_is_a_wrong_structure(folder: Path) -> None:
    name = "profiles_by_age"
    with closing(open_store(folder)) as connection:
        connection.pragma("writable_schema", 1)
        (row,) = connection.execute("SELECT * FROM sqlite_schema WHERE name = ?", (name,)).fetchall()
        connection.execute("DELETE FROM sqlite_schema WHERE name = ?", (name,))
    with closing(open_store(folder)) as connection:
        connection.execute("DELETE FROM profiles WHERE consumer_id = 'consumer-0'")
        connection.pragma("writable_schema", 1)
        connection.execute("INSERT INTO sqlite_schema VALUES (?, ?, ?, ?, ?)", row)
    assert findings(folder) == [
        ("page", f"the structure of the file is wrong: wrong # of entries in index {name}")
    ]


def test_words_that_are_not_those_of_the_events_are_found(folder: Path) -> None:
    with closing(open_store(folder)) as connection:
        connection.execute("INSERT INTO search (rowid, attributes) VALUES ((1 << 40) + 7, 'strange')")
    assert findings(folder) == [("index", "events 1 to 356 of account 'acme' are indexed under other words")]


def not_sqlite(path: Path) -> None:
    path.write_bytes(b"something else" * 1000)


def without_checksums(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[20] = 0
    path.write_bytes(content)


def of_another_program(path: Path) -> None:
    with closing(open_store(path.parent)) as connection:
        connection.pragma("application_id", 7)


def of_another_version(path: Path) -> None:
    with closing(open_store(path.parent)) as connection:
        connection.pragma("user_version", 99)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: 10 * PAGE_BYTES])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (not_sqlite, "is not an SQLite file, or its header is damaged"),
        (without_checksums, "has a damaged header, or is not a store of this version"),
        (of_another_program, "is a file of another program"),
        (of_another_version, "has schema version 99, which this version cannot check"),
        (cut, "cannot be read: database disk image is malformed"),
    ],
)
def test_a_file_that_is_no_whole_store_is_one_finding(
    folder: Path, change: Callable[[Path], None], text: str
) -> None:
    path = folder / FILE_NAME
    change(path)
    assert findings(folder) == [("file", f"{path} {text}")]


def test_damage_to_the_write_ahead_log_is_found(tmp_path: Path) -> None:
    make_template(tmp_path / "killed", count=_EVENTS)
    wal = tmp_path / "killed" / f"{FILE_NAME}-wal"
    content = bytearray(wal.read_bytes())
    content[len(content) // 2] ^= 1
    wal.write_bytes(content)
    (kind, text), *_ = findings(tmp_path / "killed")
    assert (kind, "acknowledged commits from there on cannot be recovered" in text) == ("log", True)


def test_a_check_lists_a_hundred_findings_of_a_kind_and_says_that_there_are_more(folder: Path) -> None:
    assert not check(folder).is_cut
    with closing(open_store(folder)) as connection:
        connection.execute("UPDATE events SET authenticated = 1 - authenticated")
    report = check(folder)
    assert (len(report.findings), report.is_cut) == (100, True)
