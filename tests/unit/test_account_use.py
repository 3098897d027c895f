"""Each commit counts the use of accounts: the bytes that they store, and whose first event made them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from engagement import v1
from engagement_server.model import Subject
from engagement_server.operations import (
    BeginErasure,
    Commit,
    CommitChunk,
    EraseEvents,
    ExpireEvents,
    OpenUpload,
    Operation,
    PutEntities,
    RecordBatch,
    SetRetention,
)
from engagement_server.store.account_rows import AccountUse
from engagement_server.store.database import DatabaseFile
from engagement_server.store.reader import Reader
from engagement_server.store.writer import Writer
from tests.support.events import batch_of, customer_event, customer_events

DAY_MS = 24 * 3_600_000


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[apsw.Connection]:
    database = DatabaseFile(tmp_path / "data")
    with contextlib.closing(database.open_writer()) as connection:
        yield connection
    database.close()


def stored(connection: apsw.Connection) -> dict[str, int]:
    """Bytes of the events of each account, as they are in the store."""
    rows: Any = connection.execute(
        "SELECT account_id, coalesce(sum(length(payload)), 0) FROM accounts"
        " LEFT JOIN events ON account = number GROUP BY account_id"
    )
    return dict(rows.fetchall())


def counted(connection: apsw.Connection) -> dict[str, int]:
    rows: Any = connection.execute("SELECT account_id, stored_bytes FROM accounts")
    return dict(rows.fetchall())


def apply(connection: apsw.Connection, *operations: Operation, time_ms: int = DAY_MS) -> None:
    Writer(connection).apply(Commit(operations, time_ms))


def record(principal: str, *events: v1.Event, account_id: str = "acme") -> RecordBatch:
    return RecordBatch(account_id, batch_of(events), is_atomic=False, principal=principal)


def test_erasure_and_expiry_make_room(connection: apsw.Connection) -> None:
    apply(connection, record("crm", *customer_events(20)), SetRetention(1, is_first=True))
    assert counted(connection) == stored(connection) != {"acme": 0}
    subject = Subject(v1.SubjectKind.SUBJECT_KIND_CONSUMER_ID, "ada")
    apply(connection, BeginErasure("acme", "r", "e", [subject], suppress=False))
    apply(connection, EraseEvents("acme", "e", max_events=5))
    assert counted(connection) == stored(connection) != {"acme": 0}
    apply(connection, ExpireEvents("acme", 3 * DAY_MS), time_ms=4 * DAY_MS)
    assert counted(connection) == stored(connection) == {"acme": 0}
    assert Reader(connection).use("acme") == AccountUse(0, had_events=True)


def test_an_account_belongs_to_who_sent_its_first_event(connection: apsw.Connection) -> None:
    first, second = customer_event("a"), customer_event("b")
    apply(connection, PutEntities("acme", 1, ["vip"], is_closed=None))
    reader = Reader(connection)
    assert reader.use("acme") == AccountUse()
    apply(connection, record("crm", first), record("web", second))
    apply(connection, record("web", customer_event("c")))
    upload = OpenUpload("other", "u", "o", principal="crm")
    apply(connection, upload, CommitChunk("other", "u", "o", 1, batch_of([first]), principal="web"))
    apply(connection, record("", first, account_id="nobody"))
    counts = {name: reader.count_accounts_of(name, at_most=10) for name in ("crm", "web", "")}
    assert counts == {"crm": 1, "web": 1, "": 0}


def test_a_batch_without_new_events_makes_no_account(connection: apsw.Connection) -> None:
    apply(connection, record("crm"), record("web", customer_event("a")))
    apply(connection, record("crm", customer_event("a")))
    reader = Reader(connection)
    assert (reader.count_accounts_of("crm", at_most=10), reader.count_accounts_of("web", at_most=10)) == (
        0,
        1,
    )


def test_accounts_are_counted_no_further_than_asked(connection: apsw.Connection) -> None:
    for account_id in "abcd":
        apply(connection, record("crm", customer_event("a"), account_id=account_id))
    assert Reader(connection).count_accounts_of("crm", at_most=3) == 3
