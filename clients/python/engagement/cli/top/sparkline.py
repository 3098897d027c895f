"""A line of bars: how a number changed over the samples of a server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

MAX_SAMPLES: Final = 120
"""A server keeps this many; fewer are drawn at the right, so that the same time is at the same place."""


def sparkline(values: Sequence[float | None], *, width: int, bars: str) -> str:
    """The values, oldest first, in so many columns: of those in one column the largest.

    Nothing is the lowest bar, anything more is higher; blanks are times without a value.
    """
    width = min(width, MAX_SAMPLES)
    known = values[-MAX_SAMPLES:]
    first = MAX_SAMPLES - len(known)
    tops: list[float | None] = [None] * max(width, 0)
    for place, value in enumerate(known, first):
        if value is not None and tops:
            at = place * width // MAX_SAMPLES
            tops[at] = max(value, tops[at] or 0)
    most = max((top for top in tops if top is not None), default=0)
    return "".join(" " if top is None else _bar(top, most, bars) for top in tops)


def _bar(value: float, most: float, bars: str) -> str:
    if value <= 0:
        return bars[0]
    return bars[max(1, min(round(value / most * (len(bars) - 1)), len(bars) - 1))]
