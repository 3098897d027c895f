"""Folds equal the plain profile: in any order, from partial folds, and after erasures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engagement import v1
from engagement.limits import START_OF_TIME_MS
from engagement_server.cursor import first_position
from engagement_server.errors import RequestError
from engagement_server.model import LogBounds, Subject
from engagement_server.operations import (
    BeginErasure,
    Commit,
    EraseEvents,
    ExpireEvents,
    Operation,
    PutEntities,
    RecordBatch,
    Result,
    SaveProfile,
)
from engagement_server.store.database import DatabaseFile
from engagement_server.store.profile_fold import ProfileFold
from engagement_server.store.profile_moment import ProfileMoment
from engagement_server.store.profile_rows import Folding
from engagement_server.store.reader import Reader
from engagement_server.store.writer import Writer
from tests.support.events import batch_of, customer_event
from tests.support.plain_profile import plain_profile

MERGE, REPLACE = v1.Folding.FOLDING_MERGE, v1.Folding.FOLDING_REPLACE
NOW_MS = 1_700_000_000_000
tolerant = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
UNKNOWN_FIELD = b"\xda\x3e\x03new"

AHEAD_MS = NOW_MS + 1000

texts = st.sampled_from(["", "a", "b"])
times = st.one_of(st.integers(NOW_MS - 2, NOW_MS + 2), st.integers(AHEAD_MS, AHEAD_MS + 2))
dates = st.builds(v1.Date, year=st.integers(2000, 2001), month=st.integers(1, 2), day=st.integers(1, 2))
contacts = st.builds(v1.PersonalContact, email=texts)


def optional(**strategies: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=strategies)


customers = optional(
    server_time_stamp=times,
    balance=texts,
    role=texts,
    last_payment_date=dates,
    customer_id=texts,
    customer_status=st.sampled_from(["GOLD", "lead"]),
    customer_type=st.sampled_from(["VIP", "guest"]),
)
persons = optional(
    server_time_stamp=times, name=texts, email=texts, other_contacts=st.lists(contacts, max_size=2)
)


@st.composite
def events(draw: st.DrawFn) -> v1.Event:
    event = v1.Event(
        consumer_id=draw(st.sampled_from(["ada", "bob", ""])),
        authenticated=draw(st.booleans()),
        source=draw(texts),
    )
    if draw(st.booleans()):
        event.customer_info.SetInParent()
        event.customer_info.MergeFrom(v1.CustomerInfo(**draw(customers)))
        if draw(st.booleans()):
            event.customer_info.MergeFromString(UNKNOWN_FIELD)
            event.customer_info.last_payment_date.MergeFromString(b"\x08\x05\x10\x05\x18\x05" + UNKNOWN_FIELD)
    else:
        event.personal_info.SetInParent()
        event.personal_info.MergeFrom(v1.PersonalInfo(**draw(persons)))
    return event


def stored_event(event: v1.Event, position: int) -> v1.StoredEvent:
    """The event as it is read, with its position for a cursor."""
    stored = v1.StoredEvent(event=event, cursor=str(position))
    stored.receive_time.FromMilliseconds(NOW_MS)
    attributes = getattr(stored.event, event.WhichOneof("attributes"))
    attributes.server_time_stamp = attributes.server_time_stamp or NOW_MS
    if event.source == "a":
        stored.upload.upload_id, stored.upload.event_number = "7", position
    if event.customer_info.customer_status == "GOLD":
        stored.matched_customer_status = "gold"
    if event.customer_info.customer_type == "VIP":
        stored.matched_customer_type = "vip"
    return stored


def fold_of(stored: list[v1.StoredEvent], *, due_ms: int) -> ProfileFold:
    fold = ProfileFold()
    for each in stored:
        event = v1.Event.FromString(each.event.SerializeToString())
        time_ms = getattr(event, event.WhichOneof("attributes")).server_time_stamp
        add = fold.add if time_ms <= max(due_ms, NOW_MS) else fold.add_ahead
        names = each.matched_customer_status or None, each.matched_customer_type or None
        upload = (7, each.upload.event_number) if each.HasField("upload") else (None, None)
        add((event.authenticated, time_ms, int(each.cursor), event.event_id, *names, *upload), event)
    return fold


def stored_and_restored(fold: ProfileFold) -> ProfileFold:
    return ProfileFold.of_snapshot(merged=fold.snapshot(MERGE), replaced=fold.snapshot(REPLACE))


@settings(tolerant)
@given(
    st.lists(events(), max_size=12).flatmap(
        lambda some: st.tuples(st.just(some), st.permutations(range(len(some))))
    ),
    st.integers(0, 12),
    times,
)
def test_a_fold_is_the_plain_profile_in_any_order_and_from_partial_folds(
    drawn: tuple[list[v1.Event], list[int]], cut: int, due_ms: int
) -> None:
    stored = [stored_event(event, position) for position, event in enumerate(drawn[0], 1)]
    shuffled = [stored[index] for index in drawn[1]]
    fold = stored_and_restored(fold_of(shuffled[:cut], due_ms=due_ms))
    fold.merge(fold_of(shuffled[cut:], due_ms=due_ms))
    for folding in (MERGE, REPLACE):
        expected = plain_profile(stored, "ada", folding, due_ms=due_ms)
        assert fold.profile("ada", folding=folding, encode=str, name_upload=str) == expected
        assert (
            stored_and_restored(fold).profile("ada", folding=folding, encode=str, name_upload=str) == expected
        )


class Store:
    """A store, with an account of its own for each example."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader
        self._numbers = count(1)
        self._account_id = ""
        self._clock = count(NOW_MS)
        self.now_ms = NOW_MS
        """The time at which profiles are read."""

    def begin(self) -> None:
        self._account_id = f"account-{next(self._numbers)}"
        self._clock = count(NOW_MS)
        self.now_ms = NOW_MS
        self._apply(PutEntities(self._account_id, 1, ["gold"], None))  # makes the account
        self._apply(PutEntities(self._account_id, 2, ["vip"], None))

    def record(self, sent: list[v1.Event]) -> None:
        self._apply(RecordBatch(self._account_id, batch_of(sent), is_atomic=False))

    def erase(self, consumer_id: str) -> None:
        erasure_id = str(next(self._numbers))
        subject = Subject(v1.SubjectKind.SUBJECT_KIND_CONSUMER_ID, consumer_id)
        self._apply(BeginErasure(self._account_id, erasure_id, erasure_id, [subject], suppress=False))
        self._apply(EraseEvents(self._account_id, erasure_id))

    def expire(self, *, before_ms: int) -> None:
        self._apply(ExpireEvents(self._account_id, before_ms))

    def fold(self, consumer_id: str, *, step: int = -1, moment: ProfileMoment | None = None) -> Folding:
        moment = moment or ProfileMoment(due_ms=self.now_ms)
        with self._reader.transaction():
            folding = self._reader.profiles.fold_consumer(self._bounds(), consumer_id, moment=moment)
            while not self._reader.profiles.advance(folding, max_events=step):
                pass
            return folding

    def keep(self, folding: Folding) -> int:
        """Saves a fold that is not empty; returns 0 if its events may be gone."""
        saved = self._apply(SaveProfile(self._account_id, folding.folded_profile()))
        assert isinstance(saved, int)
        return saved

    def stored(self) -> list[v1.StoredEvent]:
        bounds = self._bounds()
        scan = self._reader.scan(
            after=first_position(bounds.account), through=bounds.last_position, max_bytes=1 << 30
        )
        events = []
        for row in scan.rows:
            event = v1.Event.FromString(row.payload)
            getattr(event, event.WhichOneof("attributes") or "").server_time_stamp = row.server_time_ms
            stored = v1.StoredEvent(
                event=event,
                cursor=str(row.position),
                matched_customer_status=row.matched_status,
                matched_customer_type=row.matched_type,
            )
            stored.receive_time.FromMilliseconds(row.receive_time_ms)
            events.append(stored)
        return events

    def _bounds(self) -> LogBounds:
        bounds = self._reader.bounds(self._account_id)
        assert bounds is not None
        return bounds

    def _apply(self, operation: Operation) -> Result:
        (result,) = self._writer.apply(Commit([operation], next(self._clock))).results
        assert not isinstance(result, RequestError)
        return result


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    database = DatabaseFile(tmp_path_factory.mktemp("store"))
    with closing(database.open_writer()) as writer, closing(database.open_reader()) as reader:
        yield Store(Writer(writer), Reader(reader))
    database.close()


def assert_is_plain(store: Store, consumer_id: str, *, moment: ProfileMoment | None = None) -> None:
    moment = moment or ProfileMoment(due_ms=store.now_ms)
    mine = [
        each
        for each in store.stored()
        if each.event.consumer_id == consumer_id and _time_of(each) < moment.before_ms
        if each.receive_time.ToMilliseconds() < moment.accepted_before_ms
    ]
    fold = store.fold(consumer_id, step=2, moment=moment).fold
    for folding in (MERGE, REPLACE):
        expected = plain_profile(mine, consumer_id, folding, due_ms=moment.due_ms)
        assert fold.profile(consumer_id, folding=folding, encode=str, name_upload=str) == expected


def _time_of(stored: v1.StoredEvent) -> int:
    event = stored.event
    return max(event.customer_info.server_time_stamp, event.personal_info.server_time_stamp)


steps = st.one_of(
    st.tuples(st.just("record"), st.lists(events(), min_size=1, max_size=4)),
    st.tuples(st.just("fold"), st.sampled_from(["ada", "bob"])),
    st.tuples(st.just("keep"), st.integers(0, 3)),
    st.tuples(st.just("erase"), st.sampled_from(["ada", "bob", "nobody"])),
    st.tuples(st.just("expire"), st.integers(0, 30)),
    st.tuples(st.just("wait"), st.integers(0, 3)),
)


@settings(tolerant, max_examples=150)
@given(st.lists(steps, max_size=12))
def test_kept_folds_change_nothing_whenever_they_are_taken_and_saved(
    store: Store, drawn: list[tuple[str, Any]]
) -> None:
    store.begin()
    folds: list[Folding] = []
    for name, argument in drawn:
        if name == "record":
            store.record(argument)
        elif name == "fold":
            folding = store.fold(argument)
            if folding.is_worth_keeping:
                folds.append(folding)
        elif name == "keep" and folds:
            store.keep(folds[argument % len(folds)])
        elif name == "erase":
            store.erase(argument)
        elif name == "expire":
            store.expire(before_ms=NOW_MS + argument)
        elif name == "wait":
            store.now_ms = max(store.now_ms, AHEAD_MS - 1 + argument)
        for consumer_id in ("ada", "bob"):
            assert_is_plain(store, consumer_id)


bounds_ms = st.one_of(st.none(), st.integers(NOW_MS - 3, NOW_MS + 3), st.integers(AHEAD_MS, AHEAD_MS + 3))


@settings(tolerant, max_examples=50)
@given(
    st.lists(st.lists(events(), min_size=1, max_size=4), min_size=1, max_size=5), bounds_ms, bounds_ms, times
)
def test_a_profile_of_the_past_has_only_events_from_before_whatever_is_kept(
    store: Store,
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


def test_only_events_behind_a_kept_fold_are_read(store: Store) -> None:
    store.begin()
    store.record([customer_event(str(number), balance=str(number)) for number in range(10)])
    assert store.keep(store.fold("ada")) == 1
    assert store.fold("ada").events == 0
    store.record([customer_event("late", server_time_stamp=START_OF_TIME_MS, role="first")])
    folding = store.fold("ada")
    assert folding.events == 1
    profile = folding.fold.profile("ada", folding=MERGE, encode=str, name_upload=str)
    assert (profile.customer_info.balance, profile.customer_info.role) == ("9", "first")


def test_a_fold_is_kept_up_to_the_first_event_whose_time_has_not_come(store: Store) -> None:
    store.begin()
    store.record([customer_event("past", role="one")])
    store.record([customer_event("ahead", server_time_stamp=AHEAD_MS, role="two")])
    store.record([customer_event("newer", balance="1")])
    assert store.keep(store.fold("ada")) == 1
    folding = store.fold("ada")
    assert folding.fold.profile("ada", folding=MERGE, encode=str, name_upload=str).customer_info.role == "one"
    # Nothing more can be kept so far.
    assert (folding.events, store.keep(folding)) == (0, 0)
    store.now_ms = AHEAD_MS
    folding = store.fold("ada")
    assert folding.fold.profile("ada", folding=MERGE, encode=str, name_upload=str).customer_info.role == "two"
    assert (folding.events, store.keep(folding)) == (2, 1)
    assert store.fold("ada").events == 0


def test_a_fold_of_events_before_one_ahead_is_kept_although_an_erasure_came_between(store: Store) -> None:
    store.begin()
    store.record([customer_event("past", role="one")])
    store.record([customer_event("ahead", server_time_stamp=AHEAD_MS, role="two")])
    store.erase("bob")
    assert store.keep(store.fold("ada")) == 1
    older = store.fold("ada")
    store.erase("ada")
    assert store.keep(older) == 0


def test_an_event_accepted_at_its_time_counts_at_once_for_a_reader_whose_clock_is_behind(
    store: Store,
) -> None:
    store.begin()
    store.record([customer_event("on time", server_time_stamp=NOW_MS, role="one")])
    store.now_ms = NOW_MS - 60_000
    assert_is_plain(store, "ada")
    profile = store.fold("ada").fold.profile("ada", folding=MERGE, encode=str, name_upload=str)
    assert (profile.customer_info.role, len(profile.beaten)) == ("one", 0)


def test_an_older_fold_never_takes_the_place_of_a_newer_one(store: Store) -> None:
    store.begin()
    store.record([customer_event("one")])
    older = store.fold("ada")
    store.record([customer_event("two")])
    assert store.keep(store.fold("ada")) == 1
    assert store.keep(older) == 0
    assert store.fold("ada").events == 0


def test_a_fold_from_before_an_erasure_is_not_kept(store: Store) -> None:
    store.begin()
    store.record([customer_event("one")])
    folding = store.fold("ada")
    store.erase("ada")
    assert store.keep(folding) == 0
    assert store.fold("ada").fold.is_empty


def test_a_fold_of_expired_events_is_neither_kept_nor_read(store: Store) -> None:
    store.begin()
    store.record([customer_event("old", role="gone")])
    folding = store.fold("ada")
    store.expire(before_ms=1 << 45)
    assert store.keep(folding) == 0
    assert store.fold("ada").fold.is_empty
