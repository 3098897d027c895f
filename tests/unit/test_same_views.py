"""Applying commits depends only on the log: views of one log are equal, row by row."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import apsw
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engagement import v1
from engagement_server.log.encoding import decode_commit, encode_commit
from engagement_server.log_entries import LogEntry
from engagement_server.model import FoldedProfile, Subject
from engagement_server.operations import (
    BeginErasure,
    Commit,
    CompleteErasure,
    EraseEvents,
    ExpireEvents,
    HoldExpiry,
    LiftSuppression,
    Operation,
    RecordBatch,
    ReleaseExpiry,
    SaveProfile,
    SetRetention,
)
from engagement_server.store.database import DatabaseFile, Identity
from engagement_server.store.reader import Reader
from engagement_server.store.writer import Writer
from tests.conformance.history_conformance import commits
from tests.conformance.log_bench import START_MS
from tests.support.events import batch_of, customer_event
from tests.support.store_file import open_store
from tests.support.view_rows import view_rows

IDENTITY = Identity.new()
HOUR_MS = 3_600_000

_accounts = st.sampled_from(["acme", "other"])
_names = st.sampled_from("ab")
_subjects = st.builds(Subject, st.just(v1.SubjectKind.SUBJECT_KIND_CONSUMER_ID), _names)
# The server makes the ids of erasures, so no two are equal.
_erasures = st.builds(
    lambda account_id, name, subjects, suppress: BeginErasure(account_id, name, name, subjects, suppress),
    _accounts,
    _names,
    st.lists(_subjects, min_size=1, max_size=3),
    st.booleans(),
)
_privacy: st.SearchStrategy[Operation] = st.one_of(
    _erasures,
    st.builds(EraseEvents, _accounts, _names),
    st.builds(CompleteErasure, _accounts, _names),
    st.builds(LiftSuppression, _accounts, _subjects | _names),
    st.builds(ExpireEvents, _accounts, st.integers(START_MS - 5, START_MS + 20)),
    st.builds(SetRetention, st.integers(1, 10), st.booleans()),
    st.builds(HoldExpiry, st.integers(1, 4), st.just(START_MS), st.just(START_MS + 9)),
    st.builds(ReleaseExpiry, st.integers(0, 1)),
    st.builds(
        SaveProfile,
        _accounts,
        st.builds(FoldedProfile, _names, st.just(1 << 40), st.just(1 << 40), st.just(b"m"), st.just(b"r")),
    ),
)


@st.composite
def _consumer_events(draw: st.DrawFn) -> Operation:
    events = [customer_event(draw(st.sampled_from("abcdef"))) for _ in range(draw(st.integers(1, 3)))]
    for event in events:
        event.consumer_id = draw(_names)
    return RecordBatch(draw(_accounts), batch_of(events), draw(st.booleans()))


# Of a few milliseconds, and of clocks that are wrong.
_skews = st.integers(-3, 3) | st.sampled_from([0, 1, 2, -2 * HOUR_MS, 8 * 24 * HOUR_MS])
_histories = st.lists(
    st.tuples(commits | st.lists(_privacy | _consumer_events(), min_size=1, max_size=4), _skews),
    max_size=14,
)
_pace = st.lists(st.integers(1, 4), min_size=1, max_size=4)


@contextmanager
def view(folder: Path) -> Iterator[Writer]:
    """A view of the log in a folder."""
    database = DatabaseFile(folder, is_view=True)
    connection = database.open_writer(IDENTITY)
    yield Writer(connection)
    connection.close()
    database.close()


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(history=_histories, pace=_pace, repeats=st.sets(st.integers(0, 13)))
def test_views_of_one_log_are_equal(
    history: Sequence[tuple[list[Operation], int]], pace: Sequence[int], repeats: set[int]
) -> None:
    """One view applies commits one by one; the other decodes them, applies several, and reopens in between.

    Clocks differ, and some commits are in the log twice.
    """
    messages = [
        Commit(operations, START_MS + number + skew) for number, (operations, skew) in enumerate(history)
    ]
    numbers = sorted([*range(len(messages)), *(number for number in repeats if number < len(messages))])
    with tempfile.TemporaryDirectory() as folder:
        one, other = Path(folder) / "one", Path(folder) / "other"
        with view(one) as writer:
            for sequence, number in enumerate(numbers, 1):
                writer.apply_entries(
                    [LogEntry(sequence, f"p.{number + 1}", "p", number + 1, messages[number])]
                )
        with view(other):
            pass
        entries = [
            LogEntry(
                sequence, f"p.{number + 1}", "p", number + 1, decode_commit(encode_commit(messages[number]))
            )
            for sequence, number in enumerate(numbers, 1)
        ]
        sizes = itertools.cycle(pace)
        while entries:
            size = next(sizes)
            with view(other) as writer:
                writer.apply_entries(entries[:size])
            del entries[:size]
        assert view_rows(one) == view_rows(other)
        assert_counts_are_those_of_the_rows(one)


def assert_counts_are_those_of_the_rows(folder: Path) -> None:
    """Each account has as many events as it says, the last one's time, and their bytes."""
    with closing(open_store(folder, flags=apsw.SQLITE_OPEN_READONLY)) as connection:
        rows = connection.execute(
            "SELECT account_id, count(position), (SELECT receive_time_ms FROM events WHERE account = number"
            " ORDER BY position DESC), coalesce(sum(length(payload)), 0)"
            " FROM accounts LEFT JOIN events ON account = number"
            " GROUP BY number ORDER BY account_id"
        ).fetchall()
        assert Reader(connection).accounts(after="", max_accounts=3) == rows
