"""Quantiles as the buckets of a histogram tell them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def quantile(share: float, counts: Sequence[int], bounds: Sequence[float]) -> float | None:
    """The value that this share of all values does not exceed; None if there are none.

    `counts` has the number of values of each bucket. The last are those above all bounds, of which no more is
    known. Within a bucket, values count as spread evenly.
    """
    total = sum(counts)
    if not total:
        return None
    rank = share * total
    lower = 0.0
    for count, reached, upper in zip(counts, accumulate(counts), bounds, strict=False):
        if count and reached >= rank:
            within = (upper - lower) * max(0.0, rank - (reached - count)) / count
            return min(upper, lower + within)  # rounding may lead beyond
        lower = upper
    return bounds[-1]


def differences(now: Iterable[int], before: Iterable[int]) -> list[int]:
    """What was added to each bucket."""
    return [new - old for new, old in zip(now, before, strict=True)]
