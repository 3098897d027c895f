"""Commits decide alike on all nodes when expiry is held, and what may expire."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from engagement import v1
from engagement_server.errors import RequestError
from engagement_server.model import ExpiryHold, LogBounds, RetentionState
from engagement_server.operations import (
    Commit,
    ExpireEvents,
    ExpireUploads,
    HoldExpiry,
    OpenUpload,
    Operation,
    RecordBatch,
    ReleaseExpiry,
    Result,
    SetRetention,
)
from engagement_server.store.database import DatabaseFile
from engagement_server.store.reader import Reader
from engagement_server.store.writer import Writer
from tests.support.events import batch_of, customer_event

START_MS = 1_700_000_000_000
SECOND = 1_000
HOUR = 3_600 * SECOND
DAY = 24 * HOUR
YEAR = 365 * DAY
AHEAD = v1.ExpiryHold.REASON_CLOCK_AHEAD
BEHIND = v1.ExpiryHold.REASON_CLOCK_BEHIND
LARGE = v1.ExpiryHold.REASON_LARGE_REMOVAL


class Store:
    """A store that is its own log; times are relative to `START_MS`."""

    def __init__(self, folder: Path) -> None:
        self._database = DatabaseFile(folder)
        self.open()

    def open(self) -> None:
        self._connection = self._database.open_writer()
        self._writer = Writer(self._connection)

    def reopen(self) -> None:
        self._connection.close()
        self.open()

    def close(self) -> None:
        self._connection.close()
        self._database.close()

    def commit(self, *operations: Operation, at: int) -> Sequence[Result | RequestError]:
        return self._writer.apply(Commit(operations, START_MS + at)).results

    def record(self, *event_ids: str, at: int, account_id: str = "acme") -> None:
        events = [customer_event(event_id) for event_id in event_ids]
        self.commit(RecordBatch(account_id, batch_of(events), is_atomic=True), at=at)

    def expire(self, *, before: int, at: int, max_events: int = 500) -> int:
        step = ExpireEvents("acme", START_MS + before, max_events, START_MS + at)
        (expired,) = self.commit(step, at=at)
        assert isinstance(expired, int)
        return expired

    @property
    def reader(self) -> Reader:
        return Reader(self._connection)

    @property
    def state(self) -> RetentionState:
        return self.reader.retention()

    @property
    def hold(self) -> ExpiryHold | None:
        return self.state.hold

    @property
    def bounds(self) -> LogBounds:
        bounds = self.reader.bounds("acme")
        assert bounds is not None
        return bounds

    @property
    def ids(self) -> list[str]:
        rows = self._connection.execute("SELECT event_id FROM events ORDER BY position")
        return [str(event_id) for (event_id,) in rows]

    @property
    def receive_times(self) -> list[int]:
        return self._times("receive_time_ms")

    @property
    def event_times(self) -> list[int]:
        return self._times("server_time_ms")

    def _times(self, column: str) -> list[int]:
        rows: Any = self._connection.execute(f"SELECT {column} FROM events ORDER BY position")
        return [time_ms - START_MS for (time_ms,) in rows]  # Any above: SQL has no types

    def ids_from(self, time: int) -> list[str]:
        """The ids of the events that a subscription with this start time gets."""
        position = self.reader.position_before(self.bounds, accepted_ms=START_MS + time)
        return self.ids[position - self.bounds.expired_position :]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(tmp_path / "data")) as opened:
        yield opened


def test_a_clock_that_jumps_ahead_holds_before_its_own_commit_expires_anything(store: Store) -> None:
    store.record("a", at=0)
    assert store.expire(before=YEAR, at=2 * YEAR) == 0
    assert store.ids == ["a"]
    assert store.hold == ExpiryHold(AHEAD, START_MS + 2 * YEAR, START_MS, START_MS + 2 * YEAR, 1)


@pytest.mark.parametrize(
    ("at", "reason"), [(-HOUR, None), (-HOUR - 1, BEHIND), (7 * DAY, None), (7 * DAY + 1, AHEAD)]
)
def test_a_clock_may_be_a_little_behind_and_a_stopped_server_a_week_away(
    store: Store, at: int, reason: int | None
) -> None:
    store.record("a", at=0)
    store.record("b", at=at)
    assert (store.hold and store.hold.reason) == reason


def test_a_hold_outlives_commits_and_starts_and_covers_uploads(store: Store) -> None:
    store.record("a", at=0)
    store.commit(OpenUpload("acme", "idle", "owner"), at=0)
    for number in range(3):
        store.record(f"late-{number}", at=2 * YEAR + number * HOUR)
        store.reopen()
    assert store.expire(before=YEAR, at=2 * YEAR + 3 * HOUR) == 0
    assert store.commit(ExpireUploads(START_MS + YEAR), at=2 * YEAR + 3 * HOUR) == [0]
    assert store.reader.upload("acme", "idle").upload_id == "idle"
    assert store.hold is not None
    assert store.hold.since_ms == START_MS + 2 * YEAR


def test_acceptance_never_goes_a_little_back_but_is_not_stopped_for_years(store: Store) -> None:
    store.record("a", at=0)
    store.record("b", at=-30 * 60 * SECOND)
    store.record("ahead", at=2 * YEAR)
    store.record("right", at=HOUR)
    store.record("next", at=HOUR + SECOND)
    assert store.receive_times == [0, 0, 2 * YEAR, HOUR, HOUR + SECOND]


def test_the_time_of_the_last_commit_is_known_after_a_start(store: Store) -> None:
    store.record("a", at=0)
    store.record("b", at=59 * SECOND)
    store.reopen()
    assert store.reader.last_commit_ms() == START_MS
    store.record("c", at=-SECOND)
    assert store.receive_times == [0, 59 * SECOND, 0]


def test_an_event_of_a_wrong_clock_is_not_the_latest_of_its_consumer(store: Store) -> None:
    store.record("a", at=0)
    store.record("ahead", at=2 * YEAR)
    store.record("ahead-2", at=2 * YEAR + HOUR)
    store.record("right", at=2 * HOUR)
    assert store.event_times == [0, 0, HOUR, 2 * HOUR]
    store.record("behind", at=-YEAR)  # the hold of the first jump goes on
    assert store.event_times[-1] == -YEAR


def test_a_start_time_misses_nothing_whatever_the_clock_did(store: Store) -> None:
    for event_id, at in (("a", 0), ("b", HOUR), ("ahead", 2 * YEAR), ("right", 3 * HOUR), ("late", 4 * HOUR)):
        store.record(event_id, at=at)
    assert store.ids_from(0) == store.ids
    assert store.ids_from(2 * HOUR) == ["ahead", "right", "late"]
    assert store.ids_from(4 * HOUR) == ["ahead", "right", "late"]
    assert store.ids_from(2 * YEAR + 1) == []
    store.reopen()
    assert store.ids_from(HOUR + 1) == ["ahead", "right", "late"]


def test_events_from_the_future_expire_with_those_behind_them_and_not_before(store: Store) -> None:
    for event_id, at in (("a", 0), ("ahead", 2 * YEAR), ("b", HOUR), ("ahead-2", 2 * YEAR), ("c", 3 * HOUR)):
        store.record(event_id, at=at)
    store.commit(ReleaseExpiry(START_MS), at=3 * HOUR)
    assert store.expire(before=2 * HOUR, at=4 * HOUR) == 3
    assert store.ids == ["ahead-2", "c"]
    assert store.expire(before=2 * HOUR, at=4 * HOUR) == 0


def test_events_that_look_old_behind_younger_ones_wait_for_them(store: Store) -> None:
    for event_id, at in (("a", 0), ("behind", -YEAR), ("b", HOUR)):
        store.record(event_id, at=at)
    store.commit(ReleaseExpiry(START_MS), at=2 * HOUR)
    assert store.expire(before=-DAY, at=2 * HOUR) == 0
    assert store.ids == ["a", "behind", "b"]
    assert store.expire(before=1, at=2 * HOUR, max_events=1) == 1
    assert store.ids == ["behind", "b"]


def test_a_step_of_expiry_is_bounded_by_bytes(store: Store) -> None:
    store.record("a", "b", "c", at=0)
    assert store.commit(ExpireEvents("acme", START_MS + 1, max_bytes=1), at=SECOND) == [1]
    assert store.ids == ["b", "c"]


def test_expiry_finds_its_end_across_blocks_and_erased_ones(store: Store) -> None:
    for start in range(0, 9000, 1000):
        store.record(*(f"e-{start + number:05}" for number in range(1000)), at=start)
    due = store.reader.receive_times.accounts_due(
        accepted_before_ms=START_MS + 7001, clock_ms=START_MS + HOUR
    )
    assert due == {"acme": 8000}
    expired = 0
    while step := store.expire(before=7001, at=HOUR, max_events=3000):
        expired += step
    assert expired == 8000
    assert store.ids[0] == "e-08000"


def test_the_clock_that_has_returned_ends_a_hold_by_itself(store: Store) -> None:
    store.record("a", at=0)
    store.record("ahead", at=2 * YEAR)
    assert store.hold is not None
    assert store.commit(ReleaseExpiry(0, store.hold.since_ms + 1), at=HOUR) == [0]
    assert store.commit(ReleaseExpiry(0, store.hold.since_ms), at=HOUR) == [1]
    assert store.hold is None
    assert store.state.confirmed_before_ms == 0


def test_a_clock_that_was_behind_may_only_end_it_if_nothing_was_accepted(store: Store) -> None:
    store.record("a", at=0)
    store.commit(OpenUpload("acme", "u", "owner"), at=-YEAR)
    assert store.hold is not None
    assert store.hold.reason == BEHIND
    store.record("behind", at=-YEAR)
    assert store.commit(ReleaseExpiry(0), at=HOUR) == [0]
    assert store.commit(ReleaseExpiry(START_MS - DAY), at=HOUR) == [1]
    assert store.state == RetentionState(None, START_MS - DAY, None)
    store.commit(OpenUpload("acme", "u", "owner"), at=-YEAR)
    assert store.commit(ReleaseExpiry(0), at=2 * HOUR) == [1]


def test_a_large_removal_is_for_an_operator(store: Store) -> None:
    store.record("a", at=0)
    store.commit(HoldExpiry(LARGE, START_MS, START_MS + HOUR), at=HOUR)
    store.commit(HoldExpiry(AHEAD, START_MS, START_MS + HOUR), at=2 * HOUR)
    assert store.hold == ExpiryHold(LARGE, START_MS + HOUR, START_MS, START_MS + HOUR, 1)
    assert store.commit(ReleaseExpiry(0), at=2 * HOUR) == [0]
    assert store.commit(ReleaseExpiry(START_MS + HOUR), at=2 * HOUR) == [1]


def test_the_first_server_sets_the_retention_and_nothing_expires_before_it(store: Store) -> None:
    store.record("a", at=0)
    first, second = store.commit(
        SetRetention(DAY, is_first=True), SetRetention(HOUR, is_first=True), at=SECOND
    )
    assert first == second == RetentionState(DAY, 0, None)
    assert store.expire(before=2 * HOUR, at=DAY + HOUR) == 0
    assert store.expire(before=HOUR, at=DAY + HOUR) == 1
    store.reopen()
    assert store.state == RetentionState(DAY, 0, None)
    (shorter,) = store.commit(SetRetention(HOUR, is_first=False), at=2 * DAY)
    assert shorter == RetentionState(HOUR, START_MS + 2 * DAY - HOUR, None)


def test_a_retention_that_is_set_while_expiry_is_held_confirms_nothing(store: Store) -> None:
    store.record("a", at=0)
    store.record("ahead", at=2 * YEAR)
    store.commit(SetRetention(YEAR, is_first=False), at=2 * YEAR)
    assert store.state.retention_ms == YEAR
    assert store.state.confirmed_before_ms == 0


def test_what_is_due_is_counted_over_all_accounts(store: Store) -> None:
    store.record("a", "b", at=0)
    store.record("c", at=0, account_id="other")
    store.record("d", at=2 * HOUR, account_id="other")
    store.record("e", at=2 * HOUR, account_id="young")
    times = store.reader.receive_times
    due = times.count_due(
        accepted_before_ms=START_MS + HOUR, confirmed_before_ms=START_MS, clock_ms=START_MS + DAY
    )
    assert due == (3, 5, 0)
    assert times.count_due(
        accepted_before_ms=START_MS + HOUR, confirmed_before_ms=START_MS + 1, clock_ms=START_MS + DAY
    ) == (3, 5, 3)
