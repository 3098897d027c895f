"""Paced merges keep up with the segments of the search index, for commits of any size."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from engagement_server.operations import Commit, RecordBatch
from engagement_server.store.database import DatabaseFile
from engagement_server.store.writer import Writer
from tests.support.events import batch_of, customer_event

COMMITS = 400
# Three levels of 16 segments, and some that wait for a merge.
MOST_SEGMENTS = 60


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[apsw.Connection]:
    """The writing connection of a new store."""
    database = DatabaseFile(tmp_path)
    opened = database.open_writer()
    yield opened
    opened.close()
    database.close()


def count_segments(connection: apsw.Connection) -> int:
    """The number of segments that a search reads."""
    ((count,),) = connection.execute("SELECT count(DISTINCT segid) FROM search_idx")
    return int(count)


@pytest.mark.parametrize("events_a_commit", [1, 7, 40])
def test_segments_stay_few_however_many_commits_there_are(
    connection: apsw.Connection, events_a_commit: int
) -> None:
    writer = Writer(connection)
    most = 0
    for number in range(COMMITS):
        events = [
            customer_event(
                f"{number}/{item}",
                role=f"word{number}x{item} in common",
                customer_status=f"status {item % 9}",
            )
            for item in range(events_a_commit)
        ]
        writer.apply(Commit([RecordBatch("acme", batch_of(events), is_atomic=False)], number + 1))
        most = max(most, count_segments(connection))
    assert 1 < most <= MOST_SEGMENTS


def test_merged_segments_still_find_every_event(connection: apsw.Connection) -> None:
    writer = Writer(connection)
    for number in range(COMMITS):
        event = customer_event(str(number), role=f"word{number} common")
        writer.apply(Commit([RecordBatch("acme", batch_of([event]), is_atomic=False)], number + 1))
    for word, hits in (("common", COMMITS), ("word0", 1), (f"word{COMMITS - 1}", 1)):
        found = connection.execute("SELECT count(*) FROM search WHERE search MATCH ?", (word,))
        assert found.fetchall() == [(hits,)]
