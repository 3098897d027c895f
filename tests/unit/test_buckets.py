"""Token buckets: whatever comes when, they let in no more than the rate, the burst, and one call."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from engagement_server.access import buckets
from engagement_server.access.buckets import MIN_DELAY_SECONDS, Buckets, Rate

BURST = 500
MAX_EVENTS = 500
RATE = Rate(100.0, "crm", "acme")


class SetClock:
    """A clock that a test sets, also back."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


_steps = st.lists(st.tuples(st.floats(0, 20), st.integers(0, MAX_EVENTS)), max_size=40)


@given(_steps, st.floats(9, 5_000))
def test_no_more_is_let_in_than_the_rate_the_burst_and_one_call(
    steps: Sequence[tuple[float, int]], per_second: float
) -> None:
    clock = SetClock()
    shared, rate = Buckets(clock=clock), Rate(per_second, "crm", "acme")
    begin, let_in = clock.now, 0
    for seconds, events in steps:
        clock.now += seconds
        if not shared.draw((rate,), events=events).delay_seconds:
            let_in += events
        assert let_in < rate.burst + per_second * (clock.now - begin) + MAX_EVENTS


@given(_steps)
def test_who_waits_as_long_as_told_is_let_in(steps: Sequence[tuple[float, int]]) -> None:
    clock = SetClock()
    shared = Buckets(clock=clock)
    for seconds, events in steps:
        clock.now += seconds
        while delay_seconds := shared.draw((RATE,), events=events).delay_seconds:
            assert MIN_DELAY_SECONDS <= delay_seconds < (MAX_EVENTS + 1) / RATE.per_second + 1e-6
            clock.now += delay_seconds + 1e-9


def test_a_burst_is_let_in_at_once_and_a_full_bucket_holds_no_more() -> None:
    clock = SetClock()
    shared = Buckets(clock=clock)
    assert not shared.draw((RATE,), events=BURST).delay_seconds
    assert shared.draw((RATE,), events=1).delay_seconds
    clock.now += 1_000_000
    assert not shared.draw((RATE,), events=BURST).delay_seconds
    assert shared.draw((RATE,), events=1).delay_seconds


def test_a_clock_that_is_set_back_takes_and_gives_nothing() -> None:
    clock = SetClock()
    shared = Buckets(clock=clock)
    shared.draw((RATE,), events=BURST - 1)
    clock.now -= 1_000_000
    assert not shared.draw((RATE,), events=1).delay_seconds
    assert shared.draw((RATE,), events=1).delay_seconds


def test_all_limits_hold_at_once_and_a_refusal_takes_nothing_of_any() -> None:
    shared = Buckets(clock=SetClock())
    small = Rate(10.0, "crm", address="192.0.2.1")
    big = Rate(1_000.0, "crm")
    assert not shared.draw((big, small), events=BURST).delay_seconds
    for _ in range(3):
        assert shared.draw((big, small), events=100).limit == small.per_second
    assert not shared.draw((big,), events=BURST).delay_seconds
    assert shared.draw((big,), events=1).delay_seconds


def test_spare_events_come_out_of_every_bucket() -> None:
    shared = Buckets(clock=SetClock())
    small, big = Rate(100.0, "crm", address="192.0.2.1"), Rate(1_000.0, "crm")
    assert shared.draw((big, small), events=10, spare_seconds=0.25).spare == 25
    assert shared.draw((small,), events=BURST - 10 - 25 - 5, spare_seconds=0.25).spare == 5
    assert shared.draw((small,), events=0, spare_seconds=0.25).delay_seconds
    shared.give_back((big, small), events=1)
    assert shared.draw((small,), events=0, spare_seconds=0.25).spare == 1


def test_another_rate_of_a_grant_counts_what_came_before() -> None:
    clock = SetClock()
    shared = Buckets(clock=clock)
    shared.draw((RATE,), events=BURST)
    slower = RATE._replace(per_second=10.0)
    assert shared.draw((slower,), events=1).delay_seconds
    clock.now += 1
    assert not shared.draw((slower,), events=10).delay_seconds
    assert shared.draw((slower,), events=1).delay_seconds


def test_each_grant_has_a_bucket_for_each_account() -> None:
    shared = Buckets(clock=SetClock())
    assert not shared.draw((RATE,), events=BURST).delay_seconds
    for other in (RATE._replace(account_id="other"), RATE._replace(grant="web")):
        assert not shared.draw((other,), events=BURST).delay_seconds
    assert buckets.MAX_BUCKETS > 1
