"""Quantiles from buckets lie in the bucket of the true one."""

from __future__ import annotations

from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement_server.metrics.measures import Histogram
from engagement_server.metrics.quantiles import differences, quantile

BOUNDS = (0.001, 0.01, 0.1, 1.0)


def test_without_values_there_is_no_quantile() -> None:
    assert quantile(0.5, [0] * 5, BOUNDS) is None


@pytest.mark.parametrize(
    ("counts", "share", "expected"),
    [
        ([4, 0, 0, 0, 0], 0.5, 0.0005),
        ([0, 10, 0, 0, 0], 0.5, 0.0055),
        ([0, 10, 0, 0, 0], 1.0, 0.01),
        ([50, 0, 0, 50, 0], 0.5, 0.001),
        ([99, 0, 1, 0, 0], 0.99, 0.001),
        ([98, 0, 2, 0, 0], 0.99, 0.055),
        ([1, 0, 0, 0, 1], 0.99, 1.0),
        ([0, 0, 0, 0, 7], 0.5, 1.0),
    ],
)
def test_values_count_as_spread_evenly_within_a_bucket(
    counts: list[int], share: float, expected: float
) -> None:
    assert quantile(share, counts, BOUNDS) == pytest.approx(expected)


@given(
    values=st.lists(st.floats(0, 3), min_size=1, max_size=200),
    share=st.sampled_from([0.5, 0.9, 0.99, 1.0]),
)
def test_it_lies_in_the_bucket_of_the_true_one(values: list[float], share: float) -> None:
    histogram = Histogram(BOUNDS)
    for value in values:
        histogram.observe(value)
    rank = next(index for index in range(1, len(values) + 1) if index >= share * len(values))
    true = sorted(values)[rank - 1]
    bucket = bisect_left(BOUNDS, true)
    found = quantile(share, histogram.buckets, BOUNDS)
    assert found is not None
    if bucket == len(BOUNDS):
        assert found == BOUNDS[-1]
    else:
        assert (0.0, *BOUNDS)[bucket] <= found <= BOUNDS[bucket]


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), max_size=5))
def test_differences_are_what_was_added(pairs: list[tuple[int, int]]) -> None:
    before = [each for each, _ in pairs]
    now = [each + added for each, added in pairs]
    assert differences(now, before) == [added for _, added in pairs]
