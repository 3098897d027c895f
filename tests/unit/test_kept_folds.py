"""Kept folds change nothing in a profile, whenever they are taken and saved, and whatever is removed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engagement import v1
from engagement.limits import START_OF_TIME_MS
from engagement_server.store.database import DatabaseFile
from engagement_server.store.profile_moment import ProfileMoment
from engagement_server.store.profile_rows import Folding
from engagement_server.store.reader import Reader
from engagement_server.store.writer import Writer
from tests.support.events import customer_event
from tests.support.profile_store import AHEAD_MS, NOW_MS, ProfileStore, assert_is_plain, events, times


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProfileStore]:
    database = DatabaseFile(tmp_path_factory.mktemp("store"))
    with closing(database.open_writer()) as writer, closing(database.open_reader()) as reader:
        yield ProfileStore(Writer(writer), Reader(reader))
    database.close()


steps = st.one_of(
    st.tuples(st.just(ProfileStore.record), st.lists(events(), min_size=1, max_size=4)),
    st.tuples(st.just(ProfileStore.upload), st.lists(events(), min_size=1, max_size=4)),
    st.tuples(st.just(ProfileStore.erase), st.sampled_from(["ada", "bob", "nobody"])),
    st.tuples(st.just(ProfileStore.expire), st.integers(NOW_MS, NOW_MS + 30)),
    st.tuples(st.just(ProfileStore.expire_uploads), st.none()),
    st.tuples(st.just(ProfileStore.wait), st.integers(AHEAD_MS - 1, AHEAD_MS + 2)),
    st.tuples(st.just("fold"), st.sampled_from(["ada", "bob"])),
    st.tuples(st.just("keep"), st.integers(0, 3)),
)


@settings(max_examples=150)
@given(st.lists(steps, max_size=12))
def test_kept_folds_change_nothing_whenever_they_are_taken_and_saved(
    store: ProfileStore,
    drawn: list[tuple[Any, Any]],  # Any: each step has its own
) -> None:
    store.begin()
    folds: list[Folding] = []
    for step, argument in drawn:
        if step == "fold":
            folding = store.fold(argument)
            if folding.is_worth_keeping:
                folds.append(folding)
        elif step == "keep" and folds:
            store.keep(folds[argument % len(folds)])
        elif callable(step):
            step(store, argument)
        for consumer_id in ("ada", "bob"):
            assert_is_plain(store, consumer_id)


bounds_ms = st.one_of(st.none(), st.integers(NOW_MS - 3, NOW_MS + 3), st.integers(AHEAD_MS, AHEAD_MS + 3))


@settings(max_examples=50)
@given(
    st.lists(st.lists(events(), min_size=1, max_size=4), min_size=1, max_size=5), bounds_ms, bounds_ms, times
)
def test_a_profile_of_the_past_has_only_events_from_before_whatever_is_kept(
    store: ProfileStore,
    drawn: list[list[v1.Event]],
    before_ms: int | None,
    accepted_before_ms: int | None,
    now_ms: int,
) -> None:
    store.begin()
    for batch in drawn:
        store.record(batch)
    store.now_ms = now_ms
    kept = store.fold("ada")
    if kept.is_worth_keeping:
        store.keep(kept)
    request = v1.GetProfileRequest()
    if before_ms is not None:
        request.before_time.FromMilliseconds(before_ms)
    if accepted_before_ms is not None:
        request.before_receive_time.FromMilliseconds(accepted_before_ms)
    assert_is_plain(store, "ada", moment=ProfileMoment.of(request, now_ms=now_ms))


def test_a_moment_within_a_millisecond_is_after_its_begin() -> None:
    request = v1.GetProfileRequest()
    request.before_time.FromNanoseconds(NOW_MS * 1_000_000 + 1)
    request.before_receive_time.FromNanoseconds(NOW_MS * 1_000_000)
    moment = ProfileMoment.of(request, now_ms=NOW_MS)
    assert moment.counts(server_time_ms=NOW_MS, receive_time_ms=NOW_MS - 1)
    assert not moment.counts(server_time_ms=NOW_MS + 1, receive_time_ms=NOW_MS - 1)
    assert not moment.counts(server_time_ms=NOW_MS, receive_time_ms=NOW_MS)


def test_only_events_behind_a_kept_fold_are_read(store: ProfileStore) -> None:
    store.begin()
    store.record([customer_event(str(number), balance=str(number)) for number in range(10)])
    assert store.keep(store.fold("ada")) == 1
    assert store.fold("ada").events == 0
    store.record([customer_event("late", server_time_stamp=START_OF_TIME_MS, role="first")])
    folding = store.fold("ada")
    assert folding.events == 1
    profile = store.profile(folding)
    assert (profile.customer_info.balance, profile.customer_info.role) == ("9", "first")


def test_a_fold_is_kept_up_to_the_first_event_whose_time_has_not_come(store: ProfileStore) -> None:
    store.begin()
    store.record([customer_event("past", role="one")])
    store.record([customer_event("ahead", server_time_stamp=AHEAD_MS, role="two")])
    store.record([customer_event("newer", balance="1")])
    assert store.keep(store.fold("ada")) == 1
    folding = store.fold("ada")
    assert store.profile(folding).customer_info.role == "one"
    # Nothing more can be kept so far.
    assert (folding.events, store.keep(folding)) == (0, 0)
    store.wait(AHEAD_MS)
    folding = store.fold("ada")
    assert store.profile(folding).customer_info.role == "two"
    assert (folding.events, store.keep(folding)) == (2, 1)
    assert store.fold("ada").events == 0


def test_a_fold_of_events_before_one_ahead_is_kept_although_an_erasure_came_between(
    store: ProfileStore,
) -> None:
    store.begin()
    store.record([customer_event("past", role="one")])
    store.record([customer_event("ahead", server_time_stamp=AHEAD_MS, role="two")])
    store.erase("bob")
    assert store.keep(store.fold("ada")) == 1
    older = store.fold("ada")
    store.erase("ada")
    assert store.keep(older) == 0


def test_an_event_accepted_at_its_time_counts_at_once_for_a_reader_whose_clock_is_behind(
    store: ProfileStore,
) -> None:
    store.begin()
    store.record([customer_event("on time", server_time_stamp=NOW_MS, role="one")])
    store.now_ms = NOW_MS - 60_000
    assert_is_plain(store, "ada")
    profile = store.profile(store.fold("ada"))
    assert (profile.customer_info.role, len(profile.beaten)) == ("one", 0)


def test_an_older_fold_never_takes_the_place_of_a_newer_one(store: ProfileStore) -> None:
    store.begin()
    store.record([customer_event("one")])
    older = store.fold("ada")
    store.record([customer_event("two")])
    assert store.keep(store.fold("ada")) == 1
    assert store.keep(older) == 0
    assert store.fold("ada").events == 0


def test_a_fold_from_before_an_erasure_is_not_kept(store: ProfileStore) -> None:
    store.begin()
    store.record([customer_event("one")])
    folding = store.fold("ada")
    store.erase("ada")
    assert store.keep(folding) == 0
    assert store.fold("ada").fold.is_empty


def test_a_fold_of_expired_events_is_neither_kept_nor_read(store: ProfileStore) -> None:
    store.begin()
    store.record([customer_event("old", role="gone")])
    folding = store.fold("ada")
    store.expire(1 << 45)
    assert store.keep(folding) == 0
    assert store.fold("ada").fold.is_empty


def test_a_kept_fold_names_an_upload_as_long_as_it_is_on_record(store: ProfileStore) -> None:
    store.begin()
    store.upload([customer_event("other"), customer_event("late", role="one")])
    assert store.keep(store.fold("ada")) == 1
    source = store.profile(store.fold("ada")).sources["customer_info.role"]
    assert source.upload.event_number == 2
    store.expire_uploads()
    folding = store.fold("ada")
    assert folding.events == 0
    source = store.profile(folding).sources["customer_info.role"]
    assert (source.event_id, source.HasField("upload")) == ("late", False)
