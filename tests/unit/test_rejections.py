"""The record of rejected events is bounded, and the records of several processes add up to one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement_server.metrics.counters import Counters
from engagement_server.metrics.rejected_events import BrokenRule, RejectedEvent
from engagement_server.metrics.rejections import (
    HOUR_MS,
    MAX_ACCOUNT_RULES,
    MAX_ACCOUNTS,
    MAX_RECENT,
    MAX_RULES,
    MAX_SOURCES,
    OTHER_SOURCES,
    WINDOW_HOURS,
    AccountCounts,
    Rejections,
    RuleKey,
    Snapshot,
)

_START_HOUR = 500_000


class Clock:
    """A clock that stands until it is set."""

    time_ms = _START_HOUR * HOUR_MS

    def __call__(self) -> int:
        return self.time_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def record(clock: Clock) -> Rejections:
    return Rejections(clock=clock)


def rejected(source: str = "crm", *rules: str) -> RejectedEvent:
    broken = [BrokenRule(f"customer_info.{rule}", rule) for rule in rules or ("role",)]
    return RejectedEvent(source, 1, broken, "is wrong", "aaa", len(broken))


def drained(record: Rejections) -> Snapshot:
    snapshot = record.drain()
    assert snapshot is not None
    return snapshot


def counted(record: Rejections, account_id: str = "acme", *, hour: int = _START_HOUR) -> AccountCounts:
    return record.of(account_id).hours[hour].accounts[account_id]


def test_an_event_counts_once_for_its_source_and_once_for_each_rule(record: Rejections) -> None:
    record.note("acme", "RecordEvent", rejected("crm", "a", "b"))
    record.note("acme", "RecordEvent", rejected("crm", "a"))
    record.note("acme", "RecordEvent", rejected("web", "a"))
    record.note("other", "RecordEvent", rejected("web", "a"))
    counts = counted(record)
    assert dict(counts.events) == {"crm": 2, "web": 1}
    assert dict(counts.rules) == {
        RuleKey("crm", "customer_info.a", "a", 1): 2,
        RuleKey("crm", "customer_info.b", "b", 1): 1,
        RuleKey("web", "customer_info.a", "a", 1): 1,
    }
    assert counts.is_complete
    assert record.of("nobody").recent == {}


def test_hours_are_kept_apart_and_go_after_the_window(record: Rejections, clock: Clock) -> None:
    for hour in range(WINDOW_HOURS + 3):
        clock.time_ms = (_START_HOUR + hour) * HOUR_MS + 1
        record.note("acme", "RecordEvent", rejected())
    hours = record.of("acme").hours
    assert [*hours] == [*range(_START_HOUR + 3, _START_HOUR + 3 + WINDOW_HOURS)]
    assert record.since_ms == (_START_HOUR + 3) * HOUR_MS
    clock.time_ms += WINDOW_HOURS * HOUR_MS
    assert record.of("acme").hours == {}
    assert record.since_ms == clock.time_ms // HOUR_MS * HOUR_MS - (WINDOW_HOURS - 1) * HOUR_MS


def test_a_clock_that_is_set_back_grows_nothing_and_begins_the_record_anew(
    record: Rejections, clock: Clock
) -> None:
    for _ in range(200):
        clock.time_ms -= HOUR_MS
        record.note("acme", "RecordEvent", rejected())
    snapshot = record.of("acme")
    assert [*snapshot.hours] == [*range(_START_HOUR - 200, _START_HOUR - 200 + WINDOW_HOURS)]
    assert snapshot.since_ms == clock.time_ms


def test_events_from_before_the_clock_was_set_back_give_way_to_the_last_ones(
    record: Rejections, clock: Clock
) -> None:
    for _ in range(MAX_RECENT):
        record.note("acme", "RecordEvent", rejected("before"))
    clock.time_ms -= HOUR_MS
    for _ in range(2):
        clock.time_ms += 1
        record.note("acme", "RecordEvent", rejected("after"))
    assert [each.event.source for each in record.of("acme").recent["acme"]] == ["after"] * 2


def test_a_thousand_sources_do_not_grow_it_and_keep_their_rules(record: Rejections) -> None:
    for number in range(1_000):
        record.note("acme", "RecordEvent", rejected(f"source-{number}", "a"))
    counts = counted(record)
    assert len(counts.events) == len(counts.rules) == MAX_SOURCES + 1
    assert dict(counts.events)[OTHER_SOURCES] == 1_000 - MAX_SOURCES
    assert dict(counts.rules)[RuleKey(OTHER_SOURCES, "customer_info.a", "a", 1)] == 1_000 - MAX_SOURCES
    assert not counts.is_complete
    assert (record.since_ms, counts.other_rules) == (_START_HOUR * HOUR_MS, 0)


def test_a_thousand_rules_do_not_grow_it(record: Rejections) -> None:
    for number in range(1_000):
        record.note("acme", "RecordEvent", rejected("crm", f"rule-{number}"))
    counts = counted(record)
    assert (dict(counts.events), len(counts.rules)) == ({"crm": 1_000}, MAX_ACCOUNT_RULES)
    assert counts.other_rules == 1_000 - MAX_ACCOUNT_RULES
    assert not counts.is_complete


def test_a_thousand_accounts_do_not_grow_it(record: Rejections) -> None:
    for number in range(1_000):
        record.note(f"account-{number}", "RecordEvent", rejected())
    hour = record.of("account-0").hours[_START_HOUR]
    assert hour.other_events == 1_000 - MAX_ACCOUNTS
    assert "account-0" in hour.accounts
    assert record.of("account-999").hours[_START_HOUR].accounts == {}
    # The last events are those of the latest accounts.
    assert record.of("account-0").recent == {}
    assert len(record.of("account-999").recent["account-999"]) == 1


def test_the_rules_of_all_accounts_are_bounded_together(record: Rejections) -> None:
    for number in range(MAX_ACCOUNTS):
        for rule in range(MAX_ACCOUNT_RULES):
            record.note(f"account-{number}", "RecordEvent", rejected("crm", f"rule-{rule}"))
    found = [record.of(f"account-{number}").hours[_START_HOUR] for number in range(MAX_ACCOUNTS)]
    accounts = [counts for hour in found for counts in hour.accounts.values()]
    assert sum(len(account.rules) for account in accounts) == MAX_RULES
    events = sum(amount for account in accounts for _, amount in account.events)
    assert events + found[0].other_events == MAX_ACCOUNTS * MAX_ACCOUNT_RULES


def test_the_last_events_of_an_account_are_kept(record: Rejections, clock: Clock) -> None:
    for number in range(100):
        clock.time_ms += 1
        record.note("acme", "UploadEvents", rejected(f"{number}"))
    recent = record.of("acme").recent["acme"]
    assert [each.event.source for each in recent] == [str(number) for number in range(100 - MAX_RECENT, 100)]


def test_events_of_a_clock_that_was_ahead_do_not_hide_later_ones(record: Rejections, clock: Clock) -> None:
    clock.time_ms += WINDOW_HOURS * HOUR_MS
    for _ in range(MAX_RECENT):
        record.note("acme", "RecordEvent", rejected("ahead"))
    clock.time_ms -= WINDOW_HOURS * HOUR_MS
    record.note("acme", "RecordEvent", rejected("now"))
    assert [each.event.source for each in record.of("acme").recent["acme"]] == ["now"]


_notes = st.lists(
    st.tuples(
        st.integers(0, 3),  # the process
        st.booleans(),  # whether it is drained behind it
        st.sampled_from(["acme", "brand", "crown"]),
        st.builds(
            rejected, st.sampled_from(["crm", "web", ""]), st.sampled_from("abc"), st.sampled_from("abc")
        ),
        st.integers(0, HOUR_MS),  # since the one before
    ),
    max_size=60,
)


@given(_notes, st.randoms(use_true_random=False))
def test_snapshots_merged_in_any_order_equal_the_sum(
    notes: Sequence[tuple[int, bool, str, RejectedEvent, int]], random: Random
) -> None:
    clock = Clock()
    whole, merged = Rejections(clock=clock), Rejections(clock=clock)
    processes = [Rejections(clock=clock) for _ in range(4)]
    snapshots = []
    for process, is_drained, account_id, event, pause_ms in notes:
        clock.time_ms += pause_ms + 1
        whole.note(account_id, "RecordEvent", event)
        processes[process].note(account_id, "RecordEvent", event)
        if is_drained:
            snapshots.append(processes[process].drain())
    snapshots += [process.drain() for process in processes]
    random.shuffle(snapshots)
    for snapshot in filter(None, snapshots):
        sent = msgspec.msgpack.encode(snapshot)
        merged.merge(msgspec.msgpack.decode(sent, type=Snapshot))
    for account_id in ("acme", "brand", "crown"):
        assert _comparable(merged, account_id) == _comparable(whole, account_id)
    assert all(process.drain() is None for process in processes)


def _comparable(record: Rejections, account_id: str) -> object:
    snapshot = record.of(account_id)
    hours = {
        number: (dict(counts.events), dict(counts.rules), counts.other_rules, hour.other_events)
        for number, hour in snapshot.hours.items()
        for counts in hour.accounts.values()
    }
    return snapshot.since_ms, hours, snapshot.recent


@given(st.lists(st.sampled_from("abcdefgh")), st.lists(st.sampled_from("abcdefgh")), st.integers(0, 8))
def test_counters_lose_nothing_when_keys_have_no_room(
    first: list[str], second: list[str], max_keys: int
) -> None:
    merged, other = Counters[str](max_keys=max_keys), Counters[str](max_keys=max_keys)
    for key in first:
        merged.add(key)
    for key in second:
        other.add(key)
    merged.merge(other, others=other.others)
    assert len(merged) <= max_keys
    assert merged.total == len(first) + len(second)
    exact = Counter(first + second)
    assert all(count <= exact[key] for key, count in merged)
    if len(exact) <= max_keys:
        assert dict(merged) == exact


def test_full_records_merge_within_the_limits_and_keep_the_number_of_events(clock: Clock) -> None:
    parent = Rejections(clock=clock)
    for process in range(3):
        worker = Rejections(clock=clock)
        for number in range(500):
            for _ in range(2):
                worker.note("acme", "RecordEvent", rejected(f"{process}-{number}", f"rule-{number}"))
        parent.merge(drained(worker))
    counts = counted(parent)
    assert sum(events for _, events in counts.events) == 3_000
    assert sum(events for _, events in counts.rules) + counts.other_rules == 3_000
    assert len(counts.rules) <= MAX_ACCOUNT_RULES
    assert not counts.is_complete


async def test_the_record_of_all_processes_is_asked_for(clock: Clock) -> None:
    parent = Rejections(clock=clock)
    parent.note("acme", "RecordEvent", rejected())

    async def ask(account_id: str) -> Snapshot:
        return parent.of(account_id)

    worker = Rejections(read_shared=ask, clock=clock)
    assert await worker.read("acme") == parent.of("acme")
    assert await parent.read("acme") == parent.of("acme")
