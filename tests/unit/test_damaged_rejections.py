"""An erasure goes on past damage among the hashes that tell whom rejected events are about."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import apsw
import pytest

from engagement import v1
from engagement_server.errors import DataDamagedError
from engagement_server.model import ErasureState, Subject
from engagement_server.operations import (
    BeginErasure,
    Commit,
    CommitChunk,
    EraseEvents,
    OpenUpload,
    Operation,
    RecordBatch,
)
from engagement_server.store.database import DatabaseFile
from engagement_server.store.reader import Reader
from engagement_server.store.rejection_subjects import ChunkPlace
from engagement_server.store.upload_lists import RejectionQuery
from engagement_server.store.writer import Writer
from tests.support.events import bad_event, batch_of, customer_event

_UPLOADS = ("first", "damaged", "last")
_CHUNKS = 6
_DAMAGED_CHUNK = 4
# The hashes of a chunk take several pages.
_CHUNK_EVENTS = 400


@contextmanager
def opened(folder: Path) -> Iterator[tuple[Reader, Writer, apsw.Connection]]:
    with (
        closing(DatabaseFile(folder)) as database,
        closing(database.open_writer()) as connection,
        closing(database.open_reader()) as reading,
    ):
        yield Reader(reading), Writer(connection), connection


def apply(writer: Writer, operation: Operation) -> object:
    (result,) = writer.apply(Commit([operation], 1_700_000_000_000)).results
    assert not isinstance(result, Exception), result
    return result


def event_of(upload: str, chunk: int, number: int) -> v1.Event:
    """Every hundredth is of Ada."""
    event = bad_event(f"{upload}-{chunk}-{number}")
    event.consumer_id = "bela" if number % 100 else "ada"
    return event


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with opened(tmp_path) as (_, writer, connection):
        apply(writer, RecordBatch("acme", batch_of([customer_event("stored")]), is_atomic=True))
        for upload in _UPLOADS:
            apply(writer, OpenUpload("acme", upload, "owner"))
            for chunk in range(1, _CHUNKS + 1):
                events = [event_of(upload, chunk, number) for number in range(_CHUNK_EVENTS)]
                apply(writer, CommitChunk("acme", upload, "owner", chunk, batch_of(events)))
        key = ChunkPlace(2, _DAMAGED_CHUNK).key
        connection.execute("UPDATE rejection_subjects SET hashes = hashes || x'7a71' WHERE chunk = ?", (key,))
    path = tmp_path / "engagement.db"
    content = bytearray(path.read_bytes())
    end = (_CHUNK_EVENTS - 1).to_bytes(2, "little")
    (found,) = re.finditer(re.escape(end + b"zq"), content)
    content[found.start()] ^= 1
    path.write_bytes(content)
    return tmp_path


def left(reader: Reader, upload: str) -> set[str]:
    """The ids of the rejected events of an upload that are not cleared."""
    query = RejectionQuery("acme", upload, max_results=_CHUNKS * _CHUNK_EVENTS)
    return {each.verdict.event_id for each in reader.rejections(query).rejections} - {""}


@pytest.mark.parametrize("max_rejections", [70, 1_000])
def test_an_erasure_clears_all_that_may_be_the_persons(folder: Path, max_rejections: int) -> None:
    subject = Subject(v1.SubjectKind.SUBJECT_KIND_CONSUMER_ID, "ada")
    step = EraseEvents("acme", "erasure", max_rejections=max_rejections)
    with opened(folder) as (reader, writer, _):
        with pytest.raises(DataDamagedError), writer_search_failure():
            reader.rejections(RejectionQuery("acme", "damaged", 100, subjects=[subject]))
        apply(writer, BeginErasure("acme", "request", "erasure", [subject], suppress=False))
        state = apply(writer, step)
        while isinstance(state, ErasureState) and state.has_more:
            state = apply(writer, step)
        assert isinstance(state, ErasureState)
        for upload in _UPLOADS:
            known = range(1, _DAMAGED_CHUNK if upload == "damaged" else _CHUNKS + 1)
            others = {
                f"{upload}-{chunk}-{number}"
                for chunk in known
                for number in range(_CHUNK_EVENTS)
                if number % 100
            }
            assert left(reader, upload) == others
        hidden = (_CHUNKS - _DAMAGED_CHUNK + 1) * _CHUNK_EVENTS
        known_chunks = 3 * _CHUNKS - (_CHUNKS - _DAMAGED_CHUNK + 1)
        assert state.cleared_rejections == hidden + known_chunks * _CHUNK_EVENTS // 100
        # Another one meets the damage again, and counts nothing twice.
        apply(writer, BeginErasure("acme", "again", "again", [subject], suppress=False))
        state = apply(writer, EraseEvents("acme", "again"))
        while isinstance(state, ErasureState) and state.has_more:
            state = apply(writer, EraseEvents("acme", "again"))
        assert isinstance(state, ErasureState)
        assert state.cleared_rejections == 0


@pytest.mark.parametrize("chunk", [_DAMAGED_CHUNK, _DAMAGED_CHUNK + 1])
def test_a_rejected_event_is_erased_by_its_id_beside_damaged_hashes(folder: Path, chunk: int) -> None:
    event_id = f"damaged-{chunk}-7"
    subject = Subject(v1.SubjectKind.SUBJECT_KIND_EVENT_ID, event_id)
    with opened(folder) as (reader, writer, _):
        apply(writer, BeginErasure("acme", "request", "erasure", [subject], suppress=False))
        state = apply(writer, EraseEvents("acme", "erasure"))
        assert isinstance(state, ErasureState)
        assert (state.has_more, state.cleared_rejections) == (False, 1)
        assert event_id not in left(reader, "damaged")
        # The plan for the damage is not kept: other erasures remove their hashes.
        apply(
            writer,
            BeginErasure("acme", "other", "other", [subject._replace(value="first-4-7")], suppress=False),
        )
        apply(writer, EraseEvents("acme", "other"))
        (row,) = reader.rejections(
            RejectionQuery(
                "acme",
                "first",
                10,
                subjects=[Subject(v1.SubjectKind.SUBJECT_KIND_CONSUMER_ID, "bela")],
                after_sequence=4,
                after_index=6,
            )
        ).rejections[:1]
        assert row.verdict.event_id == "first-4-8"


@contextmanager
def writer_search_failure() -> Iterator[None]:
    """Raises what the readers make of an error of SQLite."""
    try:
        yield
    except apsw.Error as error:
        raise DataDamagedError from error
