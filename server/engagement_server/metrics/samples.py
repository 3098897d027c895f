"""Samples of what is measured: what happened from one moment to the next, for the last minutes.

They are differences of counts that only grow. It knows neither the store nor who looks at them.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from engagement_server.clock import now_ms
from engagement_server.metrics.catalogue import COMMIT_SECONDS, EVENTS, HANDLED, HANDLING_SECONDS
from engagement_server.metrics.quantiles import differences, quantile

if TYPE_CHECKING:
    from engagement_server.metrics.measures import Measures

MAX_SAMPLES: Final = 120
OUTCOMES: Final = ("accepted", "duplicate", "suppressed", "rejected")
_UNARY, _OK, _CANCELLED = "unary", "OK", "CANCELLED"


class Totals(NamedTuple):
    """What was counted since the start."""

    outcomes: Sequence[int]
    """Events, in the order of `OUTCOMES`."""
    calls: int
    failed_calls: int
    call_buckets: Sequence[int]
    commit_buckets: Sequence[int]


class Sample(NamedTuple):
    """What happened in a short time; times are seconds, of which None means that there was none."""

    end_ms: int
    seconds: float
    outcomes: Sequence[int]
    """Events, in the order of `OUTCOMES`."""
    calls: int
    failed_calls: int
    median_call: float | None
    p99_call: float | None
    commits: int
    p99_commit: float | None
    memory_bytes: int
    max_lag_events: int


class Sampler:
    """Takes samples, and keeps the last ones."""

    def __init__(
        self,
        measures: Measures,
        *,
        clock: Callable[[], int] = now_ms,
        passed: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` may be set; how long a sample is, `passed` tells."""
        self._measures = measures
        self._clock = clock
        self._passed = passed
        self._last = totals(measures)
        self._last_at = passed()
        self.samples: deque[Sample] = deque(maxlen=MAX_SAMPLES)
        """The last ones, oldest first."""

    def take(self, *, memory_bytes: int, max_lag_events: int) -> Sample:
        """Takes a sample of what happened since the last one."""
        now, last, at = totals(self._measures), self._last, self._passed()
        calls = differences(now.call_buckets, last.call_buckets)
        commits = differences(now.commit_buckets, last.commit_buckets)
        sample = Sample(
            self._clock(),
            at - self._last_at,
            differences(now.outcomes, last.outcomes),
            now.calls - last.calls,
            now.failed_calls - last.failed_calls,
            quantile(0.5, calls, HANDLING_SECONDS.bounds),
            quantile(0.99, calls, HANDLING_SECONDS.bounds),
            sum(commits),
            quantile(0.99, commits, COMMIT_SECONDS.bounds),
            memory_bytes,
            max_lag_events,
        )
        self._last, self._last_at = now, at
        self.samples.append(sample)
        return sample


def totals(measures: Measures) -> Totals:
    """What all processes have counted so far."""
    outcomes = dict.fromkeys(OUTCOMES, 0)
    calls = failed = 0
    for (name, labels), count in measures.counts():
        if name == HANDLED.name and count.value:
            type_, *_, code = labels
            is_unary, number = type_ == _UNARY, int(count.value)
            calls += number if is_unary else 0
            # The client of a stream ends it like that, whenever it likes.
            failed += number if code != _OK and (is_unary or code != _CANCELLED) else 0
        elif name == EVENTS.name and labels[0] in outcomes:
            outcomes[labels[0]] += int(count.value)
    call_buckets = [0] * (len(HANDLING_SECONDS.bounds) + 1)
    commit_buckets = [0] * (len(COMMIT_SECONDS.bounds) + 1)
    for (name, _), histogram in measures.histograms():
        if name == HANDLING_SECONDS.name:
            call_buckets = [sum(pair) for pair in zip(call_buckets, histogram.buckets, strict=True)]
        elif name == COMMIT_SECONDS.name:
            commit_buckets = [sum(pair) for pair in zip(commit_buckets, histogram.buckets, strict=True)]
    return Totals(list(outcomes.values()), calls, failed, call_buckets, commit_buckets)
