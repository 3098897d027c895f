"""What is traced: a part of the calls, and what callers ask for, within a budget."""

from __future__ import annotations

import pytest

from engagement_server.telemetry.context import SpanContext, new_context
from engagement_server.telemetry.sampling import (
    MAX_CHUNKS_PER_SECOND,
    MAX_FOLLOWED_PER_SECOND,
    Budget,
    Sampler,
)

CALLS = 1_000
SAMPLED = new_context()
NOT_SAMPLED = SAMPLED._replace(is_sampled=False)


def wanted(sampler: Sampler, caller: SpanContext | None) -> int:
    return sum(sampler.wants_call(caller) for _ in range(CALLS))


@pytest.mark.parametrize(("ratio", "expected"), [(0.0, 0), (1.0, CALLS)])
def test_nothing_or_all_is_traced_of_what_nobody_has_decided(ratio: float, expected: int) -> None:
    assert wanted(Sampler(ratio), None) == expected


def test_about_a_tenth_is_traced() -> None:
    assert 20 < wanted(Sampler(0.1), None) < 300  # by chance once in more than 10^15 runs


def test_a_caller_that_does_not_trace_is_followed() -> None:
    assert wanted(Sampler(1.0), NOT_SAMPLED) == 0


def test_a_client_cannot_have_everything_traced() -> None:
    sampler = Sampler(0.0)
    assert all(sampler.wants_call(SAMPLED) for _ in range(MAX_FOLLOWED_PER_SECOND))
    assert wanted(sampler, SAMPLED) < CALLS / 2


def test_beyond_the_budget_a_call_is_chosen_as_others_are() -> None:
    assert wanted(Sampler(1.0), SAMPLED) == CALLS


def test_a_traced_stream_cannot_have_all_its_chunks_traced() -> None:
    sampler = Sampler(0.0)
    assert all(sampler.wants_chunk(is_stream_traced=True) for _ in range(MAX_CHUNKS_PER_SECOND))
    assert sum(sampler.wants_chunk(is_stream_traced=True) for _ in range(CALLS)) < CALLS / 2
    assert not sampler.wants_chunk(is_stream_traced=False)
    assert sampler.wants_call(SAMPLED), "calls have a budget of their own"


def test_a_budget_fills_up_again_and_saves_nothing() -> None:
    now = 100.0
    budget = Budget(4, clock=lambda: now)
    assert [budget.take() for _ in range(6)] == [True] * 4 + [False] * 2
    now += 0.25
    assert [budget.take() for _ in range(2)] == [True, False]
    now += 3600
    assert [budget.take() for _ in range(6)] == [True] * 4 + [False] * 2
