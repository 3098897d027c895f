"""Consumers with many events: they are detected, and their events are folded before a read."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from engagement import v1
from engagement_server import profiles
from engagement_server.clock import now_ms
from engagement_server.errors import ProfileNotFoundError, ProfilePendingError
from engagement_server.governor.turns import Caller
from engagement_server.jobs.hot_consumers import (
    MAX_NEW_EVENTS,
    MAX_SAMPLES,
    MIN_KEPT_EVENTS,
    ConsumerCounts,
    HotConsumers,
)
from engagement_server.jobs.hot_consumers import Subject as FoldSubject
from engagement_server.log.committer import Committer
from engagement_server.log.local import LocalLog
from engagement_server.model import ErasureState, Subject
from engagement_server.operations import (
    BeginErasure,
    EraseEvents,
    ExpireEvents,
    Operation,
    RecordBatch,
    Recorded,
    SaveProfile,
)
from engagement_server.profiles import Profiles
from engagement_server.store.database import DatabaseFile, read_cursors
from engagement_server.store.profile_moment import ProfileMoment
from engagement_server.store.reader import Reader
from tests.support.events import batch_of, customer_event, customer_events
from tests.support.subscription_bench import CountingReaders
from tests.support.waiting import eventually

CALLER = Caller("peer", "acme")


@dataclass(frozen=True, slots=True)
class Parts:
    """A store and the parts that keep folds of it."""

    committer: Committer
    readers: CountingReaders
    profiles: Profiles
    hot_consumers: HotConsumers

    kind: str
    """The id that the events have: of a consumer or of a customer."""

    async def record(
        self,
        count: int,
        *,
        start: int = 0,
        name: str = "ada",
        account_id: str = "acme",
        ahead_ms: int | None = None,
    ) -> None:
        """Records events; `ahead_ms` is how long before their time."""
        events = customer_events(count, start=start)
        for event in events:
            if ahead_ms is not None:
                event.customer_info.server_time_stamp = now_ms() + ahead_ms
            event.consumer_id = name if self.kind == "consumer_id" else ""
            if self.kind == "customer_id":
                event.customer_info.customer_id = name
        batch = batch_of(events)
        await self.committer.submit(RecordBatch(account_id, batch, is_atomic=True), returns=Recorded)

    def request(self, name: str = "ada", *, account_id: str = "acme") -> v1.GetProfileRequest:
        request = v1.GetProfileRequest(account_id=account_id)
        setattr(request, self.kind, name)
        return request

    def subject(self, name: str, *, account_id: str = "acme") -> FoldSubject:
        if self.kind == "consumer_id":
            return FoldSubject(account_id, consumer_id=name)
        return FoldSubject(account_id, customer_id=name)

    async def read(self, name: str = "ada", *, account_id: str = "acme") -> v1.Profile:
        return await self.profiles.read(self.request(name, account_id=account_id), mask=None, caller=CALLER)

    async def count_read(self) -> int:
        """The number of events that a read has to fold now."""

        def fold(reader: Reader) -> int:
            bounds = reader.bounds("acme")
            assert bounds is not None
            begin = {
                "consumer_id": reader.profiles.fold_consumer,
                "customer_id": reader.profiles.fold_customer,
            }
            folding = begin[self.kind](bounds, "ada", moment=ProfileMoment(due_ms=now_ms()))
            reader.profiles.advance(folding)
            return folding.events

        return await self.readers.run(fold)

    async def wait_until_kept(self) -> None:
        async def is_kept() -> bool:
            return await self.count_read() == 0

        await eventually(is_kept, "the fold is kept")


@pytest.fixture(params=["consumer_id", "customer_id"])
async def parts(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Parts]:
    database = DatabaseFile(tmp_path)
    log = LocalLog(database)
    connection = database.open_reader()
    cursors = read_cursors(connection)
    connection.close()
    readers = CountingReaders(database, threads=1)
    committer = Committer(log)
    hot_consumers = HotConsumers(readers=readers, committer=committer)
    found = Profiles(readers=readers, hot_consumers=hot_consumers, cursors=cursors)
    yield Parts(committer, readers, found, hot_consumers, request.param)
    hot_consumers.close()
    await committer.close()
    readers.close()
    await log.close()
    database.close()


async def test_many_events_of_one_consumer_are_folded_without_a_read(parts: Parts) -> None:
    await parts.record(MAX_NEW_EVENTS // 2)
    assert await parts.count_read() == MAX_NEW_EVENTS // 2
    await parts.record(MAX_NEW_EVENTS, start=MAX_NEW_EVENTS // 2)
    await parts.wait_until_kept()


async def test_more_events_than_a_step_are_folded_step_by_step(parts: Parts) -> None:
    await parts.record(5 * MAX_NEW_EVENTS)
    await parts.wait_until_kept()
    assert (await parts.read()).customer_info.balance == str(5 * MAX_NEW_EVENTS - 1)


async def test_what_comes_while_events_are_folded_is_folded_too(parts: Parts) -> None:
    for start in range(0, 5 * MAX_NEW_EVENTS, MAX_NEW_EVENTS):
        await parts.record(MAX_NEW_EVENTS, start=start)
    await parts.wait_until_kept()


async def test_a_read_of_many_events_keeps_what_it_folded(parts: Parts) -> None:
    await parts.record(MIN_KEPT_EVENTS)
    first = await parts.read()
    await parts.wait_until_kept()
    assert await parts.read() == first


async def test_a_read_of_few_events_keeps_nothing(parts: Parts) -> None:
    await parts.record(MIN_KEPT_EVENTS - 1)
    await parts.read()
    await parts.record(1, start=MIN_KEPT_EVENTS)
    assert await parts.count_read() == MIN_KEPT_EVENTS


@pytest.fixture
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes reads so small that a few hundred events are too many for one."""
    monkeypatch.setattr(profiles, "MAX_READ_EVENTS", 100)
    monkeypatch.setattr(profiles, "STEP_SECONDS", 0.0)  # one event a step


async def read_once_prepared(parts: Parts) -> v1.Profile:
    """The profile, asked for until it is prepared."""
    found: list[v1.Profile] = []

    async def is_prepared() -> bool:
        try:
            found.append(await parts.read())
        except ProfilePendingError:
            return False
        return True

    await eventually(is_prepared, "the profile is prepared")
    return found[0]


@pytest.mark.usefixtures("few_at_once")
async def test_a_profile_of_very_many_events_is_pending_until_it_is_prepared(parts: Parts) -> None:
    await parts.record(MIN_KEPT_EVENTS)  # too few to be folded without a read
    with pytest.raises(ProfilePendingError) as refused:
        await parts.read()
    assert refused.value.retry_delay_seconds > 0
    assert (await read_once_prepared(parts)).customer_info.balance == str(MIN_KEPT_EVENTS - 1)
    await parts.record(1, start=MIN_KEPT_EVENTS)
    assert (await parts.read()).customer_info.balance == str(MIN_KEPT_EVENTS)


@pytest.mark.usefixtures("few_at_once")
async def test_a_profile_of_the_past_is_read_to_its_end_however_many_events_there_are(parts: Parts) -> None:
    await parts.record(MIN_KEPT_EVENTS)
    request = parts.request()
    request.before_time.FromMilliseconds(now_ms() + 1000)
    profile = await parts.profiles.read(request, mask=None, caller=CALLER)
    assert profile.customer_info.balance == str(MIN_KEPT_EVENTS - 1)
    assert await parts.count_read() == MIN_KEPT_EVENTS


@pytest.mark.usefixtures("few_at_once")
async def test_many_events_behind_one_whose_time_has_not_come_are_read_without_waiting_for_it(
    parts: Parts,
) -> None:
    await parts.record(1, ahead_ms=3_600_000)
    await parts.record(MIN_KEPT_EVENTS, start=1)
    # Only the background finds the one, which is read last.
    profile = await read_once_prepared(parts)
    assert profile.customer_info.balance == str(MIN_KEPT_EVENTS)
    assert await parts.count_read() == 0  # none that can be kept


@pytest.mark.usefixtures("few_at_once")
async def test_a_read_of_many_steps_is_as_one_of_a_single_step(parts: Parts) -> None:
    await parts.record(90)
    assert (await parts.read()).customer_info.balance == "89"
    with pytest.raises(ProfileNotFoundError):
        await parts.read("grace")


@pytest.mark.usefixtures("few_at_once")
async def test_a_profile_is_read_in_steps_past_the_events_of_an_id_that_shares_its_hash(parts: Parts) -> None:
    await parts.record(1, name="buckeroo")
    await parts.record(MIN_KEPT_EVENTS, start=1, name="plumless")
    before = parts.readers.count
    assert (await parts.read("buckeroo")).customer_info.balance == "0"
    # Looked through for the latest consumer of a customer id, and then for its events.
    assert parts.readers.count - before > MIN_KEPT_EVENTS * (2 if parts.kind == "customer_id" else 1)


async def test_one_account_does_not_keep_others_from_being_prepared(parts: Parts) -> None:
    saved: list[str] = []

    def watch(operations: Sequence[Operation]) -> None:
        saved.extend(each.account_id for each in operations if isinstance(each, SaveProfile))

    names = [f"greedy {number}" for number in range(30)]
    for number, name in enumerate(names):
        await parts.record(MIN_KEPT_EVENTS, start=1000 * number, name=name)
    await parts.record(MIN_KEPT_EVENTS, account_id="other")
    parts.committer.subscribe(watch)
    for subject in [*(parts.subject(name) for name in names), parts.subject("ada", account_id="other")]:
        parts.hot_consumers.prepare(subject)
    await eventually(lambda: len(saved) == len(names) + 1, "all are prepared")
    assert saved.index("other") < len(names) // 2


async def test_one_account_cannot_take_the_room_of_all_that_are_to_be_prepared(parts: Parts) -> None:
    subjects = [parts.subject(f"greedy {number}") for number in range(6_000)]
    for subject in subjects:
        parts.hot_consumers.prepare(subject)
    assert not all(map(parts.hot_consumers.is_preparing, subjects))
    parts.hot_consumers.prepare(parts.subject("ada", account_id="other"))
    assert parts.hot_consumers.is_preparing(parts.subject("ada", account_id="other"))


async def test_a_kept_fold_goes_with_an_erased_event(parts: Parts) -> None:
    await parts.record(MIN_KEPT_EVENTS)
    await parts.read()
    await parts.wait_until_kept()
    kind = v1.SubjectKind.Value(f"SUBJECT_KIND_{parts.kind.upper()}")
    begin = BeginErasure("acme", "request", "erasure", [Subject(kind, "ada")], suppress=False)
    await parts.committer.submit(begin, returns=ErasureState)
    await parts.committer.submit(EraseEvents("acme", "erasure"), returns=ErasureState)
    with pytest.raises(ProfileNotFoundError):
        await parts.read()


@pytest.mark.parametrize("parts", ["customer_id"], indirect=True)
async def test_a_kept_fold_of_a_customer_goes_with_an_event_of_one_of_its_consumers(parts: Parts) -> None:
    secret = customer_event("secret", role="secret", customer_id="ada")
    secret.consumer_id = "grace"
    await parts.committer.submit(RecordBatch("acme", batch_of([secret]), is_atomic=True), returns=Recorded)
    await parts.record(MIN_KEPT_EVENTS)
    assert (await parts.read()).customer_info.role == "secret"
    await parts.wait_until_kept()
    grace = Subject(v1.SubjectKind.SUBJECT_KIND_CONSUMER_ID, "grace")
    await parts.committer.submit(
        BeginErasure("acme", "request", "erasure", [grace], suppress=False), returns=ErasureState
    )
    await parts.committer.submit(EraseEvents("acme", "erasure"), returns=ErasureState)
    assert not (await parts.read()).customer_info.HasField("role")


async def test_a_kept_fold_goes_when_its_events_expire(parts: Parts) -> None:
    await parts.record(MIN_KEPT_EVENTS)
    await parts.read()
    await parts.wait_until_kept()
    await parts.committer.submit(ExpireEvents("acme", 1 << 60), returns=int)
    with pytest.raises(ProfileNotFoundError):
        await parts.read()


def test_a_consumer_with_many_events_is_counted_among_any_number_of_others() -> None:
    counts = ConsumerCounts(max_counters=100)
    others = random.Random(7)
    sent, found = 0, 0
    for _ in range(2_000):
        tokens = [*("hot" for _ in range(5)), *(str(others.getrandbits(40)) for _ in range(95))]
        sent += 5
        found += counts.add("acme", tokens).count("hot")
        assert counts.size <= 200
    # Up to a hundredth of all events may go uncounted.
    assert found >= (sent - 2_000 * 100 // 100) // MAX_SAMPLES - 1


def test_counts_of_accounts_are_their_own() -> None:
    counts = ConsumerCounts()
    assert counts.add("acme", ["x"] * (MAX_SAMPLES - 1)) == []
    assert counts.add("other", ["x"]) == []
    assert counts.add("acme", ["x"]) == ["x"]
    assert counts.add("acme", ["x"]) == []


def test_few_events_of_a_consumer_are_never_too_many() -> None:
    counts = ConsumerCounts(max_counters=10)
    seen: Counter[str] = Counter()
    chance = random.Random(7)
    for _ in range(3_000):
        token = str(chance.randrange(30))
        seen[token] += 1
        for due in counts.add("acme", [token]):
            assert seen[due] >= MAX_SAMPLES
            seen[due] = 0
