"""The ends of logs: in whatever order a commit changes an account, followers get everything in order."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from itertools import permutations
from pathlib import Path

import pytest

from engagement import v1
from engagement_server.access.masking import PERSON_MASK
from engagement_server.model import ErasureState, Subject
from engagement_server.operations import BeginErasure, Commit, EraseEvents, Operation, RecordBatch
from engagement_server.streams import tails
from engagement_server.streams.pace import Pace
from engagement_server.streams.selections import HandedEvent
from tests.support.events import batch_of, customer_event, customer_events
from tests.support.subscription_bench import Bench, StoppableReader, at_tail
from tests.support.waiting import eventually


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    await bench.close()


@pytest.fixture
def only_new_objects() -> Iterator[None]:
    """Keeps whatever there was before a test out of what `_held_events` looks through."""
    gc.freeze()
    yield
    gc.unfreeze()


def _held_events() -> int:
    return sum(isinstance(each, HandedEvent) for each in gc.get_objects())


def recording(*event_ids: str, account_id: str = "acme") -> RecordBatch:
    return RecordBatch(account_id, batch_of([customer_event(each) for each in event_ids]), is_atomic=True)


@pytest.mark.parametrize("order", [*permutations(["a", "b", "erase"])], ids="-".join)
async def test_a_commit_that_erases_and_records_is_told_in_its_order(
    bench: Bench, order: tuple[str, ...]
) -> None:
    gone = customer_event("gone")
    gone.consumer_id = "gone"
    await bench.add(gone)
    followers = [await at_tail(bench), await at_tail(bench, wanted=v1.EventFilter(consumer_ids=["ada"]))]
    subject = Subject(v1.SubjectKind.SUBJECT_KIND_CONSUMER_ID, "gone")
    begin = BeginErasure("acme", "request", "erasure", [subject], suppress=False)
    await bench.committer.submit(begin, returns=ErasureState)
    steps: dict[str, Operation] = {
        "a": recording("a-1", "a-2"),
        "b": recording("b-1", account_id="other"),
        "erase": EraseEvents("acme", "erasure"),
    }
    await bench.log.commit(Commit([*(steps[each] for each in order), recording("c")], time_ms=10**13))
    await bench.add(customer_event("last"))
    first = ["erased"] if order.index("erase") < order.index("a") else []
    expected = [*first, "a-1", "a-2", *([] if first else ["erased"]), "c", "last"]
    for follower in followers:
        await follower.until(lambda each: "last" in each.ids)
        assert _told(follower) == expected
        await follower.end()


@pytest.mark.parametrize("is_last", [False, True])
async def test_events_before_a_notice_of_their_commit_come_before_it(bench: Bench, *, is_last: bool) -> None:
    gone = customer_event("gone")
    gone.consumer_id = "gone"
    await bench.add(gone)
    follower = await at_tail(bench)
    subject = Subject(v1.SubjectKind.SUBJECT_KIND_CONSUMER_ID, "gone")
    begin = BeginErasure("acme", "request", "erasure", [subject], suppress=False)
    await bench.committer.submit(begin, returns=ErasureState)
    events, erase = recording("a", "b"), EraseEvents("acme", "erasure")
    await bench.log.commit(Commit([events, erase] if is_last else [erase, events], time_ms=10**13))
    await follower.until(lambda each: "erasure_notice" in each.kinds)
    await bench.add(customer_event("last"))
    await follower.until(lambda each: "last" in each.ids)
    assert _told(follower) == (["a", "b", "erased", "last"] if is_last else ["erased", "a", "b", "last"])
    await follower.end()


def _told(reader: StoppableReader) -> list[str]:
    """Ids and notices in the order in which they came."""
    told: list[str] = []
    for message in reader.messages:
        told += [stored.event.event_id for stored in message.batch.events]
        told += ["erased"] * message.HasField("erasure_notice")
    return told


async def test_what_is_erased_while_its_words_are_compared_is_not_sent(bench: Bench) -> None:
    reader, paused = [await at_tail(bench, wanted=v1.EventFilter(text="straw")) for _ in range(2)]
    paused.gate.clear()
    await bench.add(customer_event("first", role="straw"))
    await reader.until(lambda each: each.ids == ["first"])
    hay = {f"hay {number}": "straw " * 8_000 for number in range(40)}
    large = [
        v1.Event(
            event_id=f"{number}",
            consumer_id="gone",
            customer_info=v1.CustomerInfo(),
            additional_attributes=hay,
        )
        for number in range(4)
    ]
    await bench.add(*large)
    await bench.erase("gone")
    got = len(reader.ids)
    await eventually(lambda: "tail" not in _running(), "all words were compared")
    paused.gate.set()
    await paused.until(lambda each: "erasure_notice" in each.kinds)
    await bench.add(customer_event("last", role="straw"))
    await reader.until(lambda each: "last" in each.ids)
    assert (len(reader.ids), paused.ids[:1]) == (got + 1, ["first"])
    assert set(paused.ids) <= {"first", "last"}
    for each in (reader, paused):
        await each.end()


def _running() -> set[str]:
    """Names of the tasks that run."""
    return {task.get_name() for task in asyncio.all_tasks()}


class HeldPace(Pace):
    """Grants no turn while its gate is closed."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench.committer)
        self.gate = asyncio.Event()
        self.gate.set()
        self.waiting = 0

    async def turn(self, seconds: float) -> None:
        self.waiting += 1
        await self.gate.wait()
        self.waiting -= 1
        await super().turn(seconds)


async def test_what_is_erased_while_a_frame_waits_for_its_turn_is_not_sent(bench: Bench) -> None:
    bench.subscriptions.pace = pace = HeldPace(bench)
    reader = await at_tail(bench)
    pace.gate.clear()
    gone, kept = customer_event("gone"), customer_event("kept")
    gone.consumer_id = "gone"
    await bench.add(gone, kept)
    await eventually(lambda: pace.waiting == 1, "a frame waits")
    await bench.erase("gone")
    pace.gate.set()
    await reader.until(lambda each: "erasure_notice" in each.kinds)
    assert reader.ids == ["kept"]
    assert not reader.was_reset
    await reader.end()


@pytest.mark.usefixtures("only_new_objects")
async def test_the_memory_for_new_events_is_bounded_whoever_does_not_read(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tails, "MAX_HELD_BYTES", 200_000)
    reader = await at_tail(bench)
    reader.gate.clear()
    start = 0
    for count in [*[500] * 4, *[30] * 100]:  # larger and smaller than what is held
        await bench.record(count, start=start)
        start += count
        assert 0 <= bench.subscriptions.tails.held_bytes <= 200_000
        assert _held_events() <= 200_000 / 400
    reader.gate.set()
    await reader.until(lambda each: len(each.ids) == 5_000)
    assert reader.ids == [event.event_id for event in customer_events(5_000)]
    await reader.end()


async def test_what_is_masked_of_new_events_counts_as_memory_and_is_let_go(bench: Bench) -> None:
    plain = await at_tail(bench)
    await bench.record(10)
    await plain.until(lambda each: len(each.ids) == 10)
    tails_ = bench.subscriptions.tails
    without = tails_.held_bytes
    masked = await at_tail(bench, mask=PERSON_MASK)
    with_masked = tails_.held_bytes
    await bench.record(10, start=10)
    for reader, count in ((plain, 20), (masked, 10)):
        await reader.until(lambda each, count=count: len(each.ids) == count)  # type: ignore[misc]
    assert 0 < without < with_masked
    assert tails_.held_bytes > with_masked + without
    for reader in (masked, plain):
        await reader.end()
    assert tails_.held_bytes == 0


async def test_accounts_that_nobody_follows_hold_nothing(bench: Bench) -> None:
    await bench.record(100)
    export = StoppableReader(bench, stop_at_tail=True)
    await export.until(lambda each: "caught_up" in each.kinds)
    await bench.record(100, start=100)
    assert bench.subscriptions.tails.held_bytes == 0
    await export.end()


async def test_what_a_filter_selects_is_kept_no_longer_than_its_last_subscription(bench: Bench) -> None:
    await bench.record(100)
    everything = StoppableReader(bench)
    await everything.until(lambda each: "caught_up" in each.kinds)
    before = bench.subscriptions.feed.cached_bytes
    wanted = v1.EventFilter(consumer_ids=["x" * 10_000])
    exports = [StoppableReader(bench, wanted=wanted, stop_at_tail=True) for _ in range(2)]
    for export in exports:
        await export.until(lambda each: "caught_up" in each.kinds)
        await export.end()
    assert bench.subscriptions.feed.cached_bytes == before
    following = StoppableReader(bench, wanted=wanted)
    await following.until(lambda each: "caught_up" in each.kinds)
    assert bench.subscriptions.feed.cached_bytes > before
    await following.end()
    assert bench.subscriptions.feed.cached_bytes == before
    await everything.end()
