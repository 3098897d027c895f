"""Followers at the tail get new events from the commits; behind it they read the store, without a seam."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engagement import v1
from engagement.limits import END_OF_TIME_MS
from engagement_server.errors import CursorExpiredError
from engagement_server.operations import ExpireEvents
from engagement_server.streams import tails
from tests.support.events import customer_event, customer_events
from tests.support.filter_strategies import events_of_any_kind, filters
from tests.support.subscription_bench import Bench, StoppableReader, at_tail
from tests.support.waiting import eventually

# Each example has its own account, so all share one store.
account_numbers = itertools.count()
tolerant = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    await bench.close()


async def test_at_the_tail_nothing_is_read_from_the_store(bench: Bench) -> None:
    await bench.record(900)
    everything = [await at_tail(bench) for _ in range(3)]
    some = [await at_tail(bench, wanted=v1.EventFilter(text=f"{number}")) for number in range(950, 1000)]
    before = bench.readers.count
    for number in range(900, 1000):
        await bench.record(1, start=number)
    for reader in everything:
        await reader.until(lambda each: len(each.ids) == 100)
        assert reader.ids == [event.event_id for event in customer_events(100, start=900)]
    for number, reader in enumerate(some, 950):
        await reader.until(lambda each: bool(each.ids))
        assert reader.ids == [f"event-{number:06}"]
    assert bench.readers.count == before
    for reader in (*everything, *some):
        await reader.end()
    assert bench.subscriptions.tails.held_bytes == 0


@settings(tolerant, max_examples=60)
@given(
    sent=st.lists(events_of_any_kind(), min_size=1, max_size=25),
    wanted=st.lists(filters, min_size=1, max_size=4),
    commit_events=st.integers(1, 10),
)
async def test_a_follower_gets_what_an_export_with_its_filter_gets(
    bench: Bench, sent: list[v1.Event], wanted: list[v1.EventFilter], commit_events: int
) -> None:
    account_id = f"account-{next(account_numbers)}"
    followers = [StoppableReader(bench, account_id=account_id, wanted=each) for each in wanted]
    for follower in followers:
        await follower.until(lambda each: "caught_up" in each.kinds)
    before = bench.readers.count
    for number, event in enumerate(sent):
        event.event_id = f"{number:02}"
    for start in range(0, len(sent), commit_events):
        await bench.add(*sent[start : start + commit_events], account_id=account_id)
    for each, follower in zip(wanted, followers, strict=True):
        export = StoppableReader(bench, account_id=account_id, wanted=each, stop_at_tail=True)
        await export.until(lambda each: "caught_up" in each.kinds)
        count = len(export.ids)
        await follower.until(lambda each: len(each.ids) >= count)  # noqa: B023  # awaited here
        assert follower.events == export.events
        await export.end()
    assert bench.readers.count > before  # the exports read, and the followers did not
    for follower in followers:
        await follower.end()


async def test_a_large_event_is_found_by_its_words(bench: Bench) -> None:
    reader = await at_tail(bench, wanted=v1.EventFilter(text="needle"))
    hay = {f"hay {number}": "straw " * 8_000 for number in range(3)}
    await bench.add(
        *(customer_event(name, role=role) for name, role in (("a", "needle"), ("b", "pin"))),
        v1.Event(event_id="c", customer_info=v1.CustomerInfo(role="needle"), additional_attributes=hay),
        v1.Event(event_id="d", customer_info=v1.CustomerInfo(role="pin"), additional_attributes=hay),
        customer_event("e", role="needle"),
    )
    await reader.until(lambda each: len(each.ids) == 3)
    assert reader.ids == ["a", "c", "e"]
    await reader.end()


steps = st.one_of(
    st.tuples(st.just("record"), st.integers(1, 20) | st.integers(1, 150)),
    st.tuples(st.just("erase"), st.integers(0, 4)),
    st.tuples(st.sampled_from(["pause", "go", "leave", "join"]), st.integers(0, 5)),
)


class Story:
    """Readers of one account that pause, leave and return while events come and go."""

    def __init__(self, bench: Bench) -> None:
        self.account_id = f"story-{next(account_numbers)}"
        self.sent: list[str] = []
        self.erased: set[str] = set()
        self._bench = bench
        self._numbers = itertools.count()
        self._readers: list[StoppableReader | None] = [None] * 6
        self._seen: list[list[v1.SubscribeEventsResponse]] = [[] for _ in self._readers]

    def wanted(self, number: int) -> v1.EventFilter:
        """The filter of a reader: two take everything, two the same, two others each some."""
        choices = {0: [], 1: [], 2: ["0"], 3: ["0"], 4: ["1", "2"], 5: ["4"]}
        return v1.EventFilter(consumer_ids=choices[number])

    async def act(self, what: str, number: int) -> None:
        """One step."""
        if what == "record":
            await self.record(number)
            return
        if what == "erase":
            await self._erase(str(number))
            return
        reader = self._readers[number]
        if what == "join":
            self._join(number)
        elif reader is not None:
            if what == "leave":
                await self._leave(number, reader)
            elif what == "pause":
                reader.gate.clear()
            else:
                reader.gate.set()

    async def record(self, count: int) -> None:
        """Records events of five consumers in one commit."""
        events = []
        for _ in range(count):
            number = next(self._numbers)
            consumer_id = str(number % 5)
            self.sent.append(f"{number:05}-{consumer_id}")
            events.append(customer_event(self.sent[-1], role="x" * 100))
            events[-1].consumer_id = consumer_id
        await self._bench.add(*events, account_id=self.account_id)

    async def check(self) -> None:
        """All readers return, and have seen everything in the end."""
        for number in range(len(self._readers)):
            self._join(number)
        await self.record(5)
        for number, reader in enumerate(self._readers):
            assert reader is not None
            reader.gate.set()
            last = [each for each in self.sent if self._is_wanted(number, each)][-1]
            await eventually(
                lambda: self._rejoin_if_reset(number) and last in self._ids(number),  # noqa: B023
                "a reader had the last event",
            )
        for number, reader in enumerate(self._readers):
            assert reader is not None
            ids = self._ids(number)
            assert ids == sorted(set(ids))
            missing = {each for each in self.sent if self._is_wanted(number, each)} - set(ids)
            assert missing <= self.erased
            notices = Counter(
                message.erasure_notice.erasure_id
                for message in self._messages(number)
                if message.HasField("erasure_notice")
            )
            assert set(notices.values()) <= {1}
            await reader.end()

    def _join(self, number: int) -> None:
        self._rejoin_if_reset(number)
        if self._readers[number] is None:
            seen = self._seen[number]
            self._readers[number] = StoppableReader(
                self._bench,
                account_id=self.account_id,
                wanted=self.wanted(number),
                after_cursor=seen[-1].cursor if seen else "",
            )

    def _rejoin_if_reset(self, number: int) -> bool:
        """As clients do."""
        reader = self._readers[number]
        if reader is not None and reader.was_reset and reader.has_ended:
            self._seen[number] += reader.messages
            self._readers[number] = None
            self._join(number)
        return True

    async def _leave(self, number: int, reader: StoppableReader) -> None:
        await reader.end()
        self._seen[number] += reader.messages
        self._readers[number] = None

    async def _erase(self, consumer_id: str) -> None:
        await self._bench.erase(
            consumer_id, account_id=self.account_id, request_id=f"erasure-{next(self._numbers)}"
        )
        self.erased |= {each for each in self.sent if each.endswith(f"-{consumer_id}")}
        for reader in self._readers:
            if reader is not None:
                reader.must_not_get |= self.erased

    def _messages(self, number: int) -> list[v1.SubscribeEventsResponse]:
        reader = self._readers[number]
        return self._seen[number] + ([] if reader is None else reader.messages)

    def _ids(self, number: int) -> list[str]:
        return [
            stored.event.event_id for message in self._messages(number) for stored in message.batch.events
        ]

    def _is_wanted(self, number: int, event_id: str) -> bool:
        wanted = self.wanted(number).consumer_ids
        return not wanted or event_id.rpartition("-")[2] in wanted


@pytest.mark.parametrize("held_bytes", [30_000, tails.MAX_HELD_BYTES], ids=["little", "much"])
@settings(tolerant, max_examples=60)
@given(told=st.lists(steps, max_size=40))
async def test_readers_that_pause_leave_and_return_neither_skip_nor_repeat_nor_get_what_is_erased(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, held_bytes: int, told: list[tuple[str, int]]
) -> None:
    monkeypatch.setattr(tails, "MAX_HELD_BYTES", held_bytes)
    story = Story(bench)
    await story.record(1)
    for what, number in told:
        await story.act(what, number)
    await story.check()


async def test_a_reader_that_falls_behind_the_retention_is_told_although_its_events_were_handed_over(
    bench: Bench,
) -> None:
    reader = await at_tail(bench)
    reader.gate.clear()
    await bench.record(2)  # the second is held while the first is being sent
    await bench.record(2, start=2)
    await bench.committer.submit(ExpireEvents("acme", accepted_before_ms=END_OF_TIME_MS), returns=int)
    reader.gate.set()
    with pytest.raises(CursorExpiredError):
        await reader.until_end()
    assert len(reader.ids) < 4


async def test_an_idle_follower_with_a_rare_filter_is_not_behind_after_an_erasure(bench: Bench) -> None:
    await bench.add(customer_event("ada"))
    reader = await at_tail(bench, wanted=v1.EventFilter(consumer_ids=["nobody"]))
    for start in range(0, 30_000, 500):
        await bench.record(500, start=start)
    before = bench.readers.count
    await bench.erase("ada")
    await reader.until(lambda each: "erasure_notice" in each.kinds)
    assert "fell_behind" not in reader.kinds
    assert bench.readers.count - before <= 2  # the notice, and the events right before it
    await reader.end()
