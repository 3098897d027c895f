"""A store of events from which profiles are folded, and random events for it."""

from __future__ import annotations

from itertools import count
from typing import Any

from hypothesis import strategies as st

from engagement import v1
from engagement_server.cursor import first_position
from engagement_server.errors import RequestError
from engagement_server.model import LogBounds, Subject
from engagement_server.operations import (
    BeginErasure,
    Commit,
    CommitChunk,
    EraseEvents,
    ExpireEvents,
    ExpireUploads,
    OpenUpload,
    Operation,
    PutEntities,
    RecordBatch,
    Result,
    SaveProfile,
)
from engagement_server.store.profile_moment import ProfileMoment
from engagement_server.store.profile_rows import Folding
from engagement_server.store.reader import Reader
from engagement_server.store.writer import Writer
from tests.support.events import batch_of
from tests.support.plain_profile import plain_profile

MERGE, REPLACE = v1.Folding.FOLDING_MERGE, v1.Folding.FOLDING_REPLACE
NOW_MS = 1_700_000_000_000
UNKNOWN_FIELD = b"\xda\x3e\x03new"

AHEAD_MS = NOW_MS + 1000

texts = st.sampled_from(["", "a", "b"])
times = st.one_of(st.integers(NOW_MS - 2, NOW_MS + 2), st.integers(AHEAD_MS, AHEAD_MS + 2))
dates = st.builds(v1.Date, year=st.integers(2000, 2001), month=st.integers(1, 2), day=st.integers(1, 2))
contacts = st.builds(v1.PersonalContact, email=texts)


def _optional(**strategies: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=strategies)


customers = _optional(
    server_time_stamp=times,
    balance=texts,
    role=texts,
    last_payment_date=dates,
    customer_id=texts,
    customer_status=st.sampled_from(["GOLD", "lead"]),
    customer_type=st.sampled_from(["VIP", "guest"]),
)
persons = _optional(
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


class ProfileStore:
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

    def upload(self, sent: list[v1.Event]) -> None:
        upload_id = str(next(self._numbers))
        self._apply(OpenUpload(self._account_id, upload_id, "owner"))
        self._apply(CommitChunk(self._account_id, upload_id, "owner", 1, batch_of(sent)))

    def expire_uploads(self, _: None = None) -> None:
        """Removes the records of all uploads, but not their events."""
        while self._apply(ExpireUploads(1 << 45, 1 << 45)):
            pass

    def erase(self, consumer_id: str) -> None:
        erasure_id = str(next(self._numbers))
        subject = Subject(v1.SubjectKind.SUBJECT_KIND_CONSUMER_ID, consumer_id)
        self._apply(BeginErasure(self._account_id, erasure_id, erasure_id, [subject], suppress=False))
        self._apply(EraseEvents(self._account_id, erasure_id))

    def expire(self, before_ms: int) -> None:
        self._apply(ExpireEvents(self._account_id, before_ms))

    def wait(self, now_ms: int) -> None:
        """Lets the time of reading come, unless it has passed."""
        self.now_ms = max(self.now_ms, now_ms)

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
            if row.upload_id is not None and row.event_number is not None:
                stored.upload.upload_id, stored.upload.event_number = row.upload_id, row.event_number
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

    def profile(self, folding: Folding, kind: v1.Folding = MERGE) -> v1.Profile:
        """The profile of a complete fold, with positions for cursors."""
        with self._reader.transaction():
            return folding.fold.profile(
                folding.consumer_id, folding=kind, encode=str, name_upload=self._reader.profiles.upload_id
            )


def assert_is_plain(store: ProfileStore, consumer_id: str, *, moment: ProfileMoment | None = None) -> None:
    moment = moment or ProfileMoment(due_ms=store.now_ms)
    mine = [
        each
        for each in store.stored()
        if each.event.consumer_id == consumer_id and _time_of(each) < moment.before_ms
        if each.receive_time.ToMilliseconds() < moment.accepted_before_ms
    ]
    fold = store.fold(consumer_id, step=2, moment=moment)
    for folding in (MERGE, REPLACE):
        expected = plain_profile(mine, consumer_id, folding, due_ms=moment.due_ms)
        assert store.profile(fold, folding) == expected


def _time_of(stored: v1.StoredEvent) -> int:
    event = stored.event
    return max(event.customer_info.server_time_stamp, event.personal_info.server_time_stamp)
