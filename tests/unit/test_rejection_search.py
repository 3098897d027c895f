"""Rejected events are searched by subject in steps of bounded work, which together find all of them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from engagement import v1
from engagement_server.model import Subject
from engagement_server.operations import Commit, CommitChunk, OpenUpload, Operation
from engagement_server.store.database import DatabaseFile
from engagement_server.store.rejection_subjects import (
    ORIGIN,
    ChunkPlace,
    RejectionPlace,
    RejectionSubjects,
    Work,
)
from engagement_server.store.upload_lists import (
    ListPlace,
    RejectionQuery,
    UploadQuery,
    list_rejections,
    list_uploads,
)
from engagement_server.store.writer import Writer
from tests.support.events import bad_event, batch_of, customer_event

_CONSUMER_ID = v1.SubjectKind.SUBJECT_KIND_CONSUMER_ID
_CUSTOMER_ID = v1.SubjectKind.SUBJECT_KIND_CUSTOMER_ID
_UPLOADS = 12
_PEOPLE = 7
# One hash, a few rows, and everything at once.
_LIMITS = (1, 350, 400_000)


def person(number: int) -> Subject:
    """Odd ones are customers."""
    return Subject(_CUSTOMER_ID if number % 2 else _CONSUMER_ID, f"person-{number:02}")


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[apsw.Connection]:
    with closing(DatabaseFile(tmp_path)) as database, closing(database.open_writer()) as connection:
        yield connection


@pytest.fixture
def placed(connection: apsw.Connection) -> dict[Subject, list[tuple[str, int]]]:
    """Uploads with rejected events of some people; of each person, the uploads and the numbers in these."""
    generator, writer = random.Random(1), Writer(connection)

    def apply(operation: Operation) -> None:
        (result,) = writer.apply(Commit([operation], 1_700_000_000_000)).results
        assert not isinstance(result, Exception)

    placed: dict[Subject, list[tuple[str, int]]] = {person(number): [] for number in range(_PEOPLE)}
    for upload in range(_UPLOADS):
        account = "other" if upload % 4 == 3 else "acme"
        apply(OpenUpload(account, f"u-{upload}", "owner"))
        event_number = 0
        for sequence in range(1, generator.randrange(2, 6)):
            events = []
            for _ in range(generator.randrange(1, 5)):
                event_number += 1
                number = generator.randrange(_PEOPLE * 2)
                is_bad = number < _PEOPLE
                event_id = f"e-{upload}-{event_number}"
                event = bad_event(event_id) if is_bad else customer_event(event_id, role="r")
                event.ClearField("consumer_id")
                if number % 2:
                    event.customer_info.customer_id = f"person-{number:02}"
                else:
                    event.consumer_id = f"person-{number:02}"
                events.append(event)
                if is_bad and account == "acme":
                    placed[person(number)].append((f"u-{upload}", event_number))
            apply(CommitChunk(account, f"u-{upload}", "owner", sequence, batch_of(events)))
    assert all(placed.values())
    return placed


def search(
    connection: apsw.Connection, subjects: Sequence[Subject], *, max_compared: int
) -> dict[RejectionPlace, set[Subject]]:
    rows = RejectionSubjects(connection)
    found: dict[RejectionPlace, set[Subject]] = {}
    sought = rows.sought("acme", subjects)
    after: ChunkPlace | None = ORIGIN
    while after is not None:
        step = rows.search(sought, Work(max_compared), after=after)
        assert step.through is None or step.through > after
        found.update(step.found)
        after = step.through
    return found


@pytest.mark.parametrize("max_compared", _LIMITS)
@pytest.mark.parametrize("sought", [1, 3, _PEOPLE], ids=["one", "a few", "many"])
def test_steps_find_all_rejected_events_about_the_subjects(
    connection: apsw.Connection,
    placed: dict[Subject, list[tuple[str, int]]],
    *,
    max_compared: int,
    sought: int,
) -> None:
    subjects = [person(number) for number in range(sought)]
    found = search(connection, subjects, max_compared=max_compared)
    for subject in subjects:
        assert sum(subject in names for names in found.values()) == len(placed[subject])
    assert search(connection, [Subject(_CONSUMER_ID, "person-01")], max_compared=max_compared) == {}


@pytest.mark.parametrize("max_compared", _LIMITS)
def test_uploads_with_rejected_events_of_a_person_are_listed(
    connection: apsw.Connection, placed: dict[Subject, list[tuple[str, int]]], max_compared: int
) -> None:
    for subject, places in placed.items():
        for max_uploads in (1, 3, 100):
            query = UploadQuery("acme", max_uploads, subjects=[subject], max_compared=max_compared)
            listed: list[str] = []
            place: ListPlace | None = ListPlace(1 << 60)
            while place is not None:
                page = list_uploads(connection, replace(query, after=place))
                assert len(page.uploads) <= max_uploads
                assert page.next_place is None or page.next_place != place
                listed += [each.upload_id for each in page.uploads]
                place = page.next_place
            assert listed == sorted(set(dict(places)), key=lambda name: -int(name[2:]))


@pytest.mark.parametrize("max_compared", _LIMITS)
def test_the_rejected_events_of_a_person_are_listed_page_by_page(
    connection: apsw.Connection, placed: dict[Subject, list[tuple[str, int]]], max_compared: int
) -> None:
    for subject, places in placed.items():
        for max_results in (1, 2, 100):
            found: list[tuple[str, int]] = []
            for upload_id in (f"u-{number}" for number in range(_UPLOADS) if number % 4 != 3):
                query = RejectionQuery(
                    "acme", upload_id, max_results, subjects=[subject], max_compared=max_compared
                )
                behind: tuple[int, int] | None = (0, 0)
                while behind is not None:
                    sequence, index = before = behind
                    page = list_rejections(
                        connection, replace(query, after_sequence=sequence, after_index=index)
                    )
                    assert len(page.rejections) <= max_results
                    assert page.behind is None or page.behind > before
                    found += [(upload_id, each.event_number) for each in page.rejections]
                    behind = page.behind
            assert found == places


def test_a_step_compares_a_bounded_number_of_hashes(
    connection: apsw.Connection, placed: dict[Subject, list[tuple[str, int]]]
) -> None:
    rows = RejectionSubjects(connection)
    step = rows.search(rows.sought("acme", list(placed)), Work(1))
    assert {place[:2] for place in step.found} <= {step.through}
    assert step.through is not None


def test_a_step_finds_a_bounded_number_of_events_although_all_are_of_one_person(
    connection: apsw.Connection, placed: dict[Subject, list[tuple[str, int]]]
) -> None:
    rows, everywhere = RejectionSubjects(connection), Subject(_CUSTOMER_ID, "unknown")
    upload = rows.first_upload("acme", 0)
    assert upload is not None
    for sequence in range(1_000, 1_050):
        rows.add("acme", ChunkPlace(upload, sequence), {index: [everywhere] for index in range(500)})
    sought, found = rows.sought("acme", [everywhere]), 0
    after: ChunkPlace | None = ORIGIN
    while after is not None:
        step = rows.search(sought, Work(), after=after)
        assert len(step.found) <= 5_000
        found += len(step.found)
        after = step.through
    assert found == 50 * 500


def test_the_id_of_a_rejected_event_is_nowhere_in_the_store(
    connection: apsw.Connection, placed: dict[Subject, list[tuple[str, int]]], tmp_path: Path
) -> None:
    connection.pragma("wal_checkpoint", "TRUNCATE")
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
    assert f"person-{_PEOPLE + 1:02}".encode() in stored
    assert [subject for subject in placed if subject.value.encode() in stored] == []
