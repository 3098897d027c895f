"""Separators of the search index keep nothing of erased events, and the index stays right without it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import apsw
from hypothesis import given, settings
from hypothesis import strategies as st

from engagement import v1
from engagement_server.model import Subject
from engagement_server.operations import BeginErasure, Commit, EraseEvents, RecordBatch
from engagement_server.store.database import DatabaseFile
from engagement_server.store.search import identifier_token
from engagement_server.store.writer import Writer
from tests.support.events import batch_of, personal_event

# Values that resemble each other make long separators.
PEOPLE = 4_000
_KIND = v1.SubjectKind.SUBJECT_KIND_CONSUMER_ID


def phone(number: int) -> str:
    return f"4791{number:07}"


def person(number: int, *words: str) -> v1.Event:
    event = personal_event(f"e{number}", phone=phone(number), name=" ".join(words) or "Ada")
    event.consumer_id = f"p{number}"
    return event


@contextmanager
def store(folder: Path) -> Iterator[tuple[apsw.Connection, Writer]]:
    database = DatabaseFile(folder)
    connection = database.open_writer()
    yield connection, Writer(connection)
    connection.close()
    database.close()


def erase(writer: Writer, number: int) -> None:
    subject = Subject(_KIND, f"p{number}")
    begin = BeginErasure("acme", f"r{number}", f"erasure-{number}", [subject], suppress=False)
    writer.apply(Commit([begin, EraseEvents("acme", f"erasure-{number}")], 2))


def separators(connection: apsw.Connection) -> set[str]:
    found = connection.execute("SELECT term FROM search_idx")
    return {bytes(term).decode(errors="replace")[1:] for (term,) in found}


def found(connection: apsw.Connection, word: str) -> list[int]:
    rows = connection.execute("SELECT rowid FROM search WHERE search MATCH ?", (f'"{word}"',))
    return sorted(int(position) for (position,) in rows)


def test_a_separator_that_is_an_erased_word_is_replaced(tmp_path: Path) -> None:
    with store(tmp_path) as (connection, writer):
        for start in range(0, PEOPLE, 500):
            people = map(person, range(start, start + 500))
            writer.apply(Commit([RecordBatch("acme", batch_of(list(people)), is_atomic=False)], 1))
        telling = [number for number in range(PEOPLE) if phone(number) in separators(connection)]
        assert len(telling) > 3
        for number in telling:
            erase(writer, number)
        assert separators(connection).isdisjoint(map(phone, telling))
        connection.execute("INSERT INTO search (search) VALUES ('integrity-check')")
        for number in telling:
            assert found(connection, phone(number)) == []
            for neighbour in {number - 1, number + 1} - set(telling):
                assert len(found(connection, phone(neighbour))) == (0 <= neighbour < PEOPLE)


words = st.text(st.sampled_from("ab0é語"), min_size=1, max_size=12)


@settings(deadline=None, max_examples=40)
@given(
    names=st.lists(words, min_size=60, max_size=200),
    erased=st.sets(st.integers(0, 199), max_size=120),
    together=st.integers(1, 80),
)
def test_what_is_left_is_found_and_what_is_erased_is_nowhere(
    names: list[str], erased: set[int], together: int
) -> None:
    with TemporaryDirectory() as folder, store(Path(folder)) as (connection, writer):
        connection.execute("INSERT INTO search (search, rank) VALUES ('pgsz', 64)")
        people = [person(number, name) for number, name in enumerate(names)]
        for start in range(0, len(people), together):
            batch = batch_of(people[start : start + together])
            writer.apply(Commit([RecordBatch("acme", batch, is_atomic=False)], 1))
        for number in sorted(erased & set(range(len(names)))):
            erase(writer, number)
        connection.execute("INSERT INTO search (search) VALUES ('integrity-check')")
        connection.execute("CREATE VIRTUAL TABLE temp.left_words USING fts5vocab(main, search, row)")
        left = {str(word).encode() for (word,) in connection.execute("SELECT term FROM temp.left_words")}
        for (term,) in connection.execute("SELECT term FROM search_idx"):
            separator = bytes(term)[1:]
            assert not separator or any(word.startswith(separator) for word in left), separator
        for number in set(range(len(names))) - erased:
            assert len(found(connection, phone(number))) == 1


def test_an_erased_id_leaves_no_token_beside_those_of_its_other_spellings(tmp_path: Path) -> None:
    spellings = ["p7", "P7", " p7", "\uff50\uff17"]
    events = [personal_event(f"e{number}") for number in range(len(spellings))]
    for event, spelling in zip(events, spellings, strict=True):
        event.consumer_id = spelling
    with store(tmp_path) as (connection, writer):
        writer.apply(Commit([RecordBatch("acme", batch_of(events), is_atomic=False)], 1))
        (token,) = {identifier_token(spelling) for spelling in spellings}
        first, *others = found(connection, token)
        erase(writer, 7)
        assert found(connection, token) == others == [first + 1, first + 2, first + 3]
