"""A step removes as much as its operation says, which another version of the server may have written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from engagement import v1
from engagement_server.model import ErasureState, Subject
from engagement_server.operations import (
    BeginErasure,
    Commit,
    CommitChunk,
    EraseEvents,
    ExpireEvents,
    ExpireUploads,
    FinishUpload,
    OpenUpload,
    Operation,
    RecordBatch,
    SetRetention,
)
from engagement_server.store.database import DatabaseFile
from engagement_server.store.writer import Writer
from tests.support.events import bad_event, batch_of, customer_events

_EVENTS = 10
_REJECTED = 4
_TIME_MS = 1_700_000_000_000
_LATER_MS = _TIME_MS + 86_400_000


class Store:
    """A store with one account."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._writer = Writer(connection)
        self.apply(RecordBatch("acme", batch_of(customer_events(_EVENTS)), is_atomic=True))

    def apply(self, operation: Operation, *, time_ms: int = _TIME_MS) -> object:
        """The result of an operation."""
        (result,) = self._writer.apply(Commit([operation], time_ms)).results
        assert not isinstance(result, Exception), result
        return result

    def count(self, table: str) -> int:
        """The rows of a table."""
        ((count,),) = self._connection.execute(f"SELECT count(*) FROM {table}").fetchall()
        assert isinstance(count, int)
        return count


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(DatabaseFile(tmp_path)) as database, closing(database.open_writer()) as connection:
        yield Store(connection)


@pytest.mark.parametrize(
    ("step", "erased"),
    [
        (EraseEvents("acme", "erasure", max_events=3), 3),
        (EraseEvents("acme", "erasure", max_bytes=1), 1),
        (EraseEvents("acme", "erasure", max_candidates=4), 4),
        (EraseEvents("acme", "erasure"), _EVENTS),
    ],
)
def test_a_step_of_an_erasure_ends_at_its_limits(store: Store, step: EraseEvents, erased: int) -> None:
    subject = Subject(v1.SubjectKind.SUBJECT_KIND_CONSUMER_ID, "ada")
    store.apply(BeginErasure("acme", "request", "erasure", [subject], suppress=False))
    state = store.apply(step)
    assert isinstance(state, ErasureState)
    assert (state.erased_events, store.count("events")) == (erased, _EVENTS - erased)
    assert state.has_more == (erased < _EVENTS)


def erase(store: Store, step: EraseEvents | None = None) -> ErasureState:
    """Begins an erasure, unless it has begun, and does one step."""
    subject = Subject(v1.SubjectKind.SUBJECT_KIND_CONSUMER_ID, "ada")
    store.apply(BeginErasure("acme", "request", "erasure", [subject], suppress=False))
    state = store.apply(step or EraseEvents("acme", "erasure"))
    assert isinstance(state, ErasureState)
    return state


def test_a_step_of_an_erasure_clears_as_many_rejections_as_it_says(store: Store) -> None:
    begin_uploads(store, 1)
    state = erase(store, EraseEvents("acme", "erasure", max_rejections=3))
    assert (state.cleared_rejections, state.erased_events, state.has_more) == (3, 0, True)
    state = erase(store)
    assert (state.cleared_rejections, state.erased_events, state.has_more) == (_REJECTED, _EVENTS, False)


def test_a_step_of_an_erasure_compares_as_many_rejections_as_it_says(store: Store) -> None:
    begin_uploads(store, 3)
    states = [erase(store, EraseEvents("acme", "erasure", max_compared=1)) for _ in range(7)]
    # A step looks at one chunk, and another sees that there is no other in the upload.
    assert [state.cleared_rejections for state in states] == [4, 4, 8, 8, 12, 12, 12]
    assert [state.erased_events for state in states] == [0] * 6 + [_EVENTS]


def send_again(store: Store, times: int) -> None:
    for number in range(times):
        upload = f"again-{number}"
        store.apply(OpenUpload("acme", upload, "owner"))
        store.apply(CommitChunk("acme", upload, "owner", 1, batch_of(customer_events(_EVENTS))))


def test_a_step_of_an_erasure_clears_as_many_results_as_it_says(store: Store) -> None:
    send_again(store, 3)
    ids = "upload_results WHERE event_id <> ''"
    found = []
    for limit in (7, 7, 2, 2, 100):
        state = erase(store, EraseEvents("acme", "erasure", max_results=limit))
        found.append((state.erased_events, store.count(ids), state.has_more))
    # Two events at once; then less than the results of one, which goes with the last of them.
    assert found == [(2, 24, True), (4, 18, True), (4, 16, True), (5, 15, True), (10, 0, False)]


@pytest.mark.parametrize(("max_results", "expired"), [(7, 2), (1, 1), (30, _EVENTS)])
def test_a_step_of_expiry_clears_as_many_results_as_it_says(
    store: Store, max_results: int, expired: int
) -> None:
    send_again(store, 3)
    store.apply(SetRetention(retention_ms=1, is_first=False))
    step = ExpireEvents("acme", _TIME_MS + 1, max_results=max_results)
    assert store.apply(step, time_ms=_LATER_MS) == expired
    assert store.count("upload_results WHERE event_id <> ''") == 3 * (_EVENTS - expired)


def test_a_step_of_the_erasure_of_one_event_clears_as_many_results_as_it_says(store: Store) -> None:
    send_again(store, 3)
    begin_uploads(store, 4)
    ids = "upload_results WHERE event_id IN ('event-000000', 'bad-0')"
    subjects = [Subject(v1.SubjectKind.SUBJECT_KIND_EVENT_ID, each) for each in ("event-000000", "bad-0")]
    assert store.count(ids) == 7
    store.apply(BeginErasure("acme", "request", "erasure", subjects, suppress=False))
    found = []
    for _ in range(4):
        state = store.apply(EraseEvents("acme", "erasure", max_results=2))
        assert isinstance(state, ErasureState)
        found.append((state.erased_events, state.cleared_rejections, store.count(ids), state.has_more))
    assert found == [(0, 0, 5, True), (1, 0, 4, True), (1, 2, 2, True), (1, 4, 0, False)]


@pytest.mark.parametrize(
    ("step", "expired"),
    [
        (ExpireEvents("acme", _TIME_MS + 1, max_events=3), 3),
        (ExpireEvents("acme", _TIME_MS + 1, max_bytes=1), 1),
        (ExpireEvents("acme", _TIME_MS), 0),
        (ExpireEvents("acme", _TIME_MS + 1), _EVENTS),
    ],
)
def test_a_step_of_expiry_ends_at_its_limits(store: Store, step: ExpireEvents, expired: int) -> None:
    store.apply(SetRetention(retention_ms=1, is_first=False))
    assert store.apply(step, time_ms=_LATER_MS) == expired
    assert store.count("events") == _EVENTS - expired


def begin_uploads(store: Store, count: int) -> None:
    for number in range(count):
        upload, chunk = f"upload-{number}", [bad_event(f"bad-{each}") for each in range(_REJECTED)]
        store.apply(OpenUpload("acme", upload, "owner"))
        store.apply(CommitChunk("acme", upload, "owner", 1, batch_of(chunk)))


@pytest.mark.parametrize(
    ("step", "uploads", "results"),
    [
        (ExpireUploads(_LATER_MS, max_uploads=2), 1, _REJECTED),
        # Room for a result and the subjects of a chunk.
        (ExpireUploads(_LATER_MS, max_rows=3), 3, 3 * _REJECTED - 1),
        (ExpireUploads(_LATER_MS, max_rows=6), 3, 3 * _REJECTED - 3),
        (ExpireUploads(_LATER_MS, max_rows=11), 2, 2 * _REJECTED - 2),  # with its chunk, and on
        (ExpireUploads(_TIME_MS), 3, 3 * _REJECTED),
        (ExpireUploads(_LATER_MS), 0, 0),
    ],
)
def test_a_step_of_the_expiry_of_uploads_ends_at_its_limits(
    store: Store, step: ExpireUploads, uploads: int, results: int
) -> None:
    begin_uploads(store, 3)
    tables = ("uploads", "upload_chunks", "upload_results", "rejection_subjects")
    before = sum(map(store.count, tables))
    removed = store.apply(step, time_ms=_LATER_MS)
    assert removed == before - sum(map(store.count, tables))
    assert (store.count("uploads"), store.count("upload_results")) == (uploads, results)
    # An erasure finds every result that is left, and each subject has one.
    assert erase(store).cleared_rejections == results
    assert store.count("rejection_subjects") == 0


@pytest.mark.parametrize(("finished_before_ms", "left"), [(0, 1), (_TIME_MS, 1), (_TIME_MS + 1, 0)])
def test_finished_uploads_have_a_time_of_their_own(store: Store, finished_before_ms: int, left: int) -> None:
    begin_uploads(store, 1)
    store.apply(FinishUpload("acme", "upload-0", "owner", 1))
    store.apply(ExpireUploads(_LATER_MS, finished_before_ms), time_ms=_LATER_MS)
    assert store.count("uploads") == left
