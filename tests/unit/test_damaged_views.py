"""Views of a replicated log whose files are damaged or removed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from engagement import v1
from engagement_server.errors import DamagedSnapshotError, InapplicableCommitError, StoreUnavailableError
from engagement_server.log_entries import LogEntry
from engagement_server.model import Subject
from engagement_server.operations import BeginErasure, Commit, EraseEvents, RecordBatch
from engagement_server.store.checkup import check_store
from engagement_server.store.database import DatabaseFile, read_state
from engagement_server.store.view_copy import import_copy, read_copy
from engagement_server.store.writer import Writer
from tests.support.events import batch_of, customer_event
from tests.support.store_file import open_store

TIME_MS = 1_700_000_000_000


def entry(sequence: int, role: str) -> LogEntry:
    batch = batch_of([customer_event(f"event-{sequence}", role=role)])
    commit = Commit([RecordBatch("acme", batch, is_atomic=False)], TIME_MS)
    return LogEntry(sequence, f"p.{sequence}", "p", sequence, commit, checksum=sequence)


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[Writer]:
    with (
        contextlib.closing(DatabaseFile(folder, is_view=True)) as database,
        contextlib.closing(database.open_writer()) as connection,
    ):
        yield Writer(connection, require_present=database.require_present)


def digest(folder: Path) -> str:
    with (
        contextlib.closing(DatabaseFile(folder, is_view=True)) as database,
        contextlib.closing(database.open_reader()) as connection,
    ):
        return read_state(connection).digest


def test_an_entry_that_is_tried_again_once_the_file_is_back_counts_once(tmp_path: Path) -> None:
    for name in ("removed", "kept"):
        with opened(tmp_path / name) as writer:
            writer.apply_entries([entry(1, "first")])
            if name == "removed":
                file, aside = tmp_path / name / "engagement.db", tmp_path / "aside.db"
                file.rename(aside)
                with pytest.raises(StoreUnavailableError):
                    writer.apply_entries([entry(2, "second")])
                aside.rename(file)
            writer.apply_entries([entry(2, "second")])
    assert digest(tmp_path / "removed") == digest(tmp_path / "kept")


def flip(path: Path, spot: bytes) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(spot)] ^= 1
    path.write_bytes(content)


def test_damage_that_a_commit_meets_stops_the_view_instead_of_being_tried_again(tmp_path: Path) -> None:
    with opened(tmp_path) as writer:
        writer.apply_entries([entry(1, "Role of zqzq")])
    flip(tmp_path / "engagement.db", b"Role of zqzq")
    with opened(tmp_path) as writer:
        again = entry(1, "Role of zqzq")._replace(sequence=2, message_id="p.2", number=2)
        with pytest.raises(InapplicableCommitError, match="the view is damaged: replace it"):
            writer.apply_entries([again])


def test_a_copy_of_a_view_has_checksums_and_a_damaged_view_is_not_copied(tmp_path: Path) -> None:
    view, copy = tmp_path / "view", tmp_path / "copy.db"
    with opened(view) as writer:
        writer.apply_entries([entry(1, "Role of zqzq")])
    import_copy(view, copy)
    assert read_copy(copy).digest == digest(view)
    assert check_store(copy, on_progress=lambda *_: None).findings == []
    flip(view / "engagement.db", b"Role of zqzq")
    with pytest.raises(DamagedSnapshotError):
        import_copy(view, copy)


def test_an_erasure_that_meets_damage_behind_its_first_events_changes_nothing(tmp_path: Path) -> None:
    events = [customer_event(f"event-{number}", role=f"Role of zq{number}zq") for number in range(600)]
    for number in (*range(5), 590):  # on pages far from each other
        events[number].consumer_id = "grace"
    subject = Subject(v1.SubjectKind.SUBJECT_KIND_CONSUMER_ID, "grace")
    record = RecordBatch("acme", batch_of(events), is_atomic=True)
    begin = BeginErasure("acme", "request", "erasure", [subject], suppress=False)
    first = entry(1, "")._replace(commit=Commit([record, begin], TIME_MS))
    with opened(tmp_path) as writer:
        writer.apply_entries([first])
    flip(tmp_path / "engagement.db", b"Role of zq590zq")
    before = rows(tmp_path)
    with opened(tmp_path) as writer:
        step = entry(2, "")._replace(commit=Commit([EraseEvents("acme", "erasure")], TIME_MS))
        with pytest.raises(InapplicableCommitError, match="the view is damaged: replace it"):
            writer.apply_entries([step])
    assert rows(tmp_path) == before


def rows(folder: Path) -> tuple[object, ...]:
    """How many events and notices a view has, and how far it is."""
    with contextlib.closing(open_store(folder)) as connection:
        ids = "SELECT count(*) FROM events INDEXED BY events_by_id WHERE account = 1"
        counted = connection.execute(f"SELECT ({ids}), (SELECT count(*) FROM notices)").fetchone()
        return counted, connection.execute("SELECT sequence FROM log_position").fetchone()
