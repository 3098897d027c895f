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
from engagement_server.store.profile_fold import ProfileFold, Source
from engagement_server.store.profile_rows import Folding
from engagement_server.store.reader import Reader
from engagement_server.store.writer import Writer
from tests.support.events import batch_of, customer_event
from tests.support.plain_profile import plain_profile

MERGE, REPLACE = v1.Folding.FOLDING_MERGE, v1.Folding.FOLDING_REPLACE
NOW_MS = 1_700_000_000_000
tolerant = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
UNKNOWN_FIELD = b"\xda\x3e\x03new"

texts = st.sampled_from(["", "a", "b"])
times = st.integers(NOW_MS - 2, NOW_MS + 2)
dates = st.builds(v1.Date, year=st.integers(2000, 2001), month=st.integers(1, 2), day=st.integers(1, 2))
contacts = st.builds(v1.PersonalContact, email=texts)


def optional(**strategies: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=strategies)


customers = optional(
    server_time_stamp=times, balance=texts, role=texts, last_payment_date=dates, customer_id=texts
)
persons = optional(
    server_time_stamp=times, name=texts, email=texts, other_contacts=st.lists(contacts, max_size=2)
)


@st.composite
def events(draw: st.DrawFn) -> v1.Event:
    event = v1.Event(consumer_id=draw(st.sampled_from(["ada", "bob", ""])), authenticated=draw(st.booleans()))
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
    attributes = getattr(stored.event, event.WhichOneof("attributes"))
    attributes.server_time_stamp = attributes.server_time_stamp or NOW_MS
    return stored


def fold_of(stored: list[v1.StoredEvent]) -> ProfileFold:
    fold = ProfileFold()
    for each in stored:
        event = v1.Event.FromString(each.event.SerializeToString())
        time_ms = getattr(event, event.WhichOneof("attributes")).server_time_stamp
        fold.add(Source(event.authenticated, time_ms, int(each.cursor), event.event_id), event)
    return fold


def stored_and_restored(fold: ProfileFold) -> ProfileFold:
    return ProfileFold.of_snapshot(merged=fold.snapshot(MERGE), replaced=fold.snapshot(REPLACE))


@settings(tolerant)
@given(
    st.lists(events(), max_size=12).flatmap(
        lambda some: st.tuples(st.just(some), st.permutations(range(len(some))))
    ),
    st.integers(0, 12),
)
def test_a_fold_is_the_plain_profile_in_any_order_and_from_partial_folds(
    drawn: tuple[list[v1.Event], list[int]], cut: int
) -> None:
    stored = [stored_event(event, position) for position, event in enumerate(drawn[0], 1)]
    shuffled = [stored[index] for index in drawn[1]]
    fold = stored_and_restored(fold_of(shuffled[:cut]))
    fold.merge(fold_of(shuffled[cut:]))
    for folding in (MERGE, REPLACE):
        expected = plain_profile(stored, "ada", folding)
        assert fold.profile("ada", folding=folding, encode=str) == expected
        assert stored_and_restored(fold).profile("ada", folding=folding, encode=str) == expected


class Store:
    """A store, with an account of its own for each example."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader
        self._numbers = count(1)
        self._account_id = ""
        self._clock = count(NOW_MS)

    def begin(self) -> None:
        self._account_id = f"account-{next(self._numbers)}"
        self._clock = count(NOW_MS)
        self._apply(PutEntities(self._account_id, 1, ["gold"], None))  # makes the account

    def record(self, sent: list[v1.Event]) -> None:
        self._apply(RecordBatch(self._account_id, batch_of(sent), is_atomic=False))

    def erase(self, consumer_id: str) -> None:
        erasure_id = str(next(self._numbers))
        subject = Subject(v1.SubjectKind.SUBJECT_KIND_CONSUMER_ID, consumer_id)
        self._apply(BeginErasure(self._account_id, erasure_id, erasure_id, [subject], suppress=False))
        self._apply(EraseEvents(self._account_id, erasure_id))

    def expire(self, *, before_ms: int) -> None:
        self._apply(ExpireEvents(self._account_id, before_ms))

    def fold(self, consumer_id: str, *, step: int = -1) -> Folding:
        with self._reader.transaction():
            folding = self._reader.profiles.fold_consumer(self._bounds(), consumer_id)
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
            events.append(v1.StoredEvent(event=event, cursor=str(row.position)))
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


def assert_is_plain(store: Store, consumer_id: str) -> None:
    mine = [each for each in store.stored() if each.event.consumer_id == consumer_id]
    fold = store.fold(consumer_id, step=2).fold
    for folding in (MERGE, REPLACE):
        assert fold.profile(consumer_id, folding=folding, encode=str) == plain_profile(
            mine, consumer_id, folding
        )


steps = st.one_of(
    st.tuples(st.just("record"), st.lists(events(), min_size=1, max_size=4)),
    st.tuples(st.just("fold"), st.sampled_from(["ada", "bob"])),
    st.tuples(st.just("keep"), st.integers(0, 3)),
    st.tuples(st.just("erase"), st.sampled_from(["ada", "bob", "nobody"])),
    st.tuples(st.just("expire"), st.integers(0, 30)),
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
            if not folding.fold.is_empty:
                folds.append(folding)
        elif name == "keep" and folds:
            store.keep(folds[argument % len(folds)])
        elif name == "erase":
            store.erase(argument)
        elif name == "expire":
            store.expire(before_ms=NOW_MS + argument)
        for consumer_id in ("ada", "bob"):
            assert_is_plain(store, consumer_id)


def test_only_events_behind_a_kept_fold_are_read(store: Store) -> None:
    store.begin()
    store.record([customer_event(str(number), balance=str(number)) for number in range(10)])
    assert store.keep(store.fold("ada")) == 1
    assert store.fold("ada").events == 0
    store.record([customer_event("late", server_time_stamp=START_OF_TIME_MS, role="first")])
    folding = store.fold("ada")
    assert folding.events == 1
    profile = folding.fold.profile("ada", folding=MERGE, encode=str)
    assert (profile.customer_info.balance, profile.customer_info.role) == ("9", "first")


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
