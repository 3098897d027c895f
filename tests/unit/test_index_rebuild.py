"""A store that was indexed under another contract is indexed again before anything else happens to it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw
import pytest

from engagement import v1
from engagement_server.errors import StoreUnavailableError
from engagement_server.log.writer_thread import prepare_store
from engagement_server.log_entries import LogEntry
from engagement_server.model import FoldedProfile, Subject
from engagement_server.operations import (
    BeginErasure,
    Commit,
    EraseEvents,
    ExpireEvents,
    Operation,
    RecordBatch,
    SaveProfile,
)
from engagement_server.store.database import DatabaseFile
from engagement_server.store.fingerprint import FINGERPRINT
from engagement_server.store.profile_moment import END_MS, ProfileMoment
from engagement_server.store.readable import read_event
from engagement_server.store.reader import Reader
from engagement_server.store.writer import Writer
from tests.support.events import batch_of, customer_event, customer_events
from tests.support.other_contract import WORD, index_otherwise
from tests.support.store_file import open_store
from tests.support.view_rows import view_rows

EVENTS = 9_000
"""So many that a rebuild takes several commits."""
TIME_MS = 1_700_000_000_000
UNREADABLE = b"\x52\x02\xff\xfe"
"""A field of `CustomerInfo` that is text, with bytes that are no text."""
ADA = Subject(v1.SubjectKind.SUBJECT_KIND_CONSUMER_ID, "ada")


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[apsw.Connection]:
    """The connection of the writer."""
    database = DatabaseFile(folder)
    try:
        with contextlib.closing(database.open_writer()) as connection:
            yield connection
    finally:
        database.close()


def apply(connection: apsw.Connection, *operations: Operation) -> None:
    applied = Writer(connection).apply(Commit(operations, TIME_MS))
    assert not [result for result in applied.results if isinstance(result, Exception)]


def record(connection: apsw.Connection, *events: v1.Event) -> None:
    apply(connection, RecordBatch("acme", batch_of(events), is_atomic=True))


def settings(folder: Path) -> dict[str, Any]:  # Any: each setting has its own type
    with contextlib.closing(open_store(folder)) as connection:
        rows: Any = connection.execute("SELECT name, value FROM settings WHERE name LIKE 'search%'")
        return dict(rows)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a store with events, which is only copied."""
    folder = tmp_path_factory.mktemp("filled")
    with opened(folder) as connection:
        record(connection, *customer_events(EVENTS))
    return folder


@pytest.fixture
def store(filled: Path, tmp_path: Path) -> Path:
    """The folder of a store with events."""
    return shutil.copytree(filled, tmp_path / "store")


def test_a_new_store_needs_no_rebuild(store: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), opened(store):
        assert not caplog.messages
    assert settings(store) == {"search_fingerprint": FINGERPRINT}


def test_the_index_is_then_as_if_this_server_had_made_it(
    store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = view_rows(store)
    index_otherwise(store, events=EVENTS - 1)
    assert view_rows(store)["search"] != before["search"]
    with caplog.at_level(logging.INFO), opened(store):
        pass
    assert view_rows(store) == before
    first, last = caplog.messages
    assert first.startswith(f"indexing the events again, at most {EVENTS}: ")
    assert last.startswith(f"indexed {EVENTS} events in ")


def test_events_of_before_are_erased_and_expire(store: Path) -> None:
    index_otherwise(store, events=EVENTS)
    with opened(store) as connection:
        apply(connection, BeginErasure("acme", "r", "e", [ADA], suppress=False), EraseEvents("acme", "e"))
        apply(connection, ExpireEvents("acme", TIME_MS + 1))
        connection.execute("INSERT INTO search (search) VALUES ('integrity-check')")
    with opened(store) as connection:
        found = connection.execute("SELECT rowid FROM search WHERE search MATCH ?", (WORD,)).fetchall()
        assert found == []


def test_a_rebuild_of_another_server_is_not_continued(store: Path) -> None:
    before = view_rows(store)
    index_otherwise(store, events=1)
    with contextlib.closing(open_store(store)) as connection:
        connection.execute(
            "UPDATE settings SET name = 'search_rebuild', value = ? WHERE name = 'search_fingerprint'",
            (f'["other", {1 << 41}]',),
        )
    with opened(store):
        pass
    assert view_rows(store) == before


async def test_a_stopped_server_stops_the_rebuild_and_frees_the_store(store: Path) -> None:
    before = view_rows(store)
    index_otherwise(store, events=EVENTS)
    database = DatabaseFile(store)
    with pytest.raises(StoreUnavailableError, match="the next start continues"):
        database.open_writer(is_stopped=lambda: True)
    preparing = asyncio.create_task(prepare_store(database))
    await asyncio.sleep(0)  # it has begun
    preparing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await preparing
    assert settings(store).keys() == {"search_rebuild"}, "it did not stop"
    await prepare_store(database)
    assert view_rows(store) == before
    database.close()


def test_values_that_the_contract_cannot_express_are_dropped_and_the_event_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(tmp_path) as connection:
        record(connection, customer_event("a", balance="12"), customer_event("b"))
        row = Reader(connection).find_by_id("acme", "a")
        assert row is not None
        connection.execute(
            "UPDATE events SET payload = ? WHERE position = ?", (with_unreadable(row.payload), row.position)
        )
    index_otherwise(tmp_path, events=2)
    with opened(tmp_path) as connection:
        row = Reader(connection).find_by_id("acme", "a")
    assert row is not None
    assert v1.Event.FromString(row.payload) == customer_event("a", balance="12")
    assert "dropped values from 1 events that the contract cannot express" in caplog.text


def with_unreadable(payload: bytes) -> bytes:
    """An event as a server stores it that knows one field less."""
    event = v1.Event.FromString(payload)
    attributes = event.customer_info.SerializeToString() + UNREADABLE
    event.ClearField("customer_info")
    return event.SerializeToString() + b"\x52" + bytes([len(attributes)]) + attributes


def test_whatever_an_unknown_field_was_the_rest_of_the_event_is_read() -> None:
    event = customer_event("a", balance="12")
    unknown = b"\xab\x06\xb3\x06\xb4\x06\xac\x06" + b"\xa8\x06\x01" + b"\xad\x061234" + b"\xa9\x0612345678"
    read, payload = read_event(with_unreadable(event.SerializeToString() + unknown))
    assert unknown in payload
    assert read == v1.Event.FromString(event.SerializeToString() + unknown)
    no_date = b"\x0a\x01a" + b"\x52\x05\x22\x00\x5a\x01\x99" + b"\xa2\x01\x03\x0a\x01\xff"
    assert read_event(no_date)[0] == v1.Event(
        event_id="a", customer_info=v1.CustomerInfo(balance=""), additional_attributes={"": ""}
    )


def test_events_from_a_node_with_another_contract_are_indexed_as_this_server_does(tmp_path: Path) -> None:
    batch = batch_of([customer_event("a", balance="12"), customer_event("b", balance="13")])
    foreign = replace(
        batch,
        fingerprint="other",
        records=[
            each._replace(
                indexed_texts=("known to the other", "", "", ""), payload=with_unreadable(each.payload)
            )
            for each in batch.records
        ],
    )
    for name, sent in (("one", batch), ("other", foreign)):
        with opened(tmp_path / name) as connection:
            writer = Writer(connection)
            entry = LogEntry(1, "p.1", "p", 1, Commit([RecordBatch("acme", sent, is_atomic=True)], TIME_MS))
            writer.apply_entries([entry])
    one, other = (view_rows(tmp_path / name) for name in ("one", "other"))
    assert {table: one[table] for table in ("events", "search")} == {
        table: other[table] for table in ("events", "search")
    }


def test_a_profile_that_a_node_with_another_contract_folded_is_folded_again(tmp_path: Path) -> None:
    foreign = FoldedProfile("ada", (1 << 40) + 1, (1 << 40) + 1, b"", b"", "other")
    with opened(tmp_path) as connection:
        record(connection, customer_event("a", balance="12"))
        reader = Reader(connection)

        def fold() -> tuple[int, FoldedProfile]:
            bounds = reader.bounds("acme")
            assert bounds is not None
            folding = reader.profiles.fold_consumer(bounds, "ada", moment=ProfileMoment(due_ms=END_MS))
            reader.profiles.advance(folding)
            return folding.events, folding.folded_profile()

        apply(connection, SaveProfile("acme", foreign))
        events, own = fold()
        assert events == 1
        for saved, read_again in ((own, 0), (foreign, 1)):
            apply(connection, SaveProfile("acme", saved))
            assert fold()[0] == read_again
