"""What a process measures: counts, histograms and gauges, with labels.

Code that counts holds on to a `Count` or a `Histogram` and changes it in place. It does not know how they are
shown, nor how they travel.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from engagement_server.metrics.catalogue import CATALOGUE, Series

OTHERS: Final = "others"
"""The value of all labels of what there is no room for."""
STALE_SECONDS: Final = 10.0
"""How long the gauges of another process count after it has sent them last."""

Labels: TypeAlias = tuple[str, ...]
Key: TypeAlias = tuple[str, Labels]
"""The name of a series, and the values of its labels."""
Read: TypeAlias = Callable[[], float | None]


class Count:
    """A number that only grows."""

    __slots__ = ("is_known", "value")

    def __init__(self) -> None:
        self.value = 0.0
        self.is_known = False
        """Whether another process knows of it."""


class Exemplar(NamedTuple):
    """A value that was traced."""

    value: float
    trace_id: str
    time_seconds: float
    """Of the epoch."""


class Histogram:
    """How many values there were of each size, and their sum."""

    __slots__ = ("_bounds", "buckets", "exemplars", "is_known", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.buckets = [0] * (len(bounds) + 1)
        """Values up to each bound but above the one before; the last is for those above all."""
        self.total = 0.0
        self.exemplars: dict[int, Exemplar] = {}
        """By bucket, the latest value that was traced."""
        self.is_known = False
        """Whether another process knows of it."""

    def observe(self, value: float, *, trace_id: str = "") -> None:
        """Adds a value, with the id of its trace if it is traced."""
        bucket = bisect_left(self._bounds, value)
        self.buckets[bucket] += 1
        self.total += value
        if trace_id:
            self.exemplars[bucket] = Exemplar(value, trace_id, time.time())

    def note_exemplars(self, exemplars: Mapping[int, Exemplar]) -> None:
        """Takes those of another process that are later."""
        for bucket, exemplar in exemplars.items():
            known = self.exemplars.get(bucket)
            if known is None or known.time_seconds < exemplar.time_seconds:
                self.exemplars[bucket] = exemplar


class Measured(NamedTuple):
    """What one process has measured since the last time, and its gauges."""

    process: int
    counts: Sequence[tuple[str, Labels, float]]
    histograms: Sequence[tuple[str, Labels, Sequence[int], float, Mapping[int, Exemplar]]]
    gauges: Sequence[tuple[str, Labels, float]]


class _Reported(NamedTuple):
    """The gauges of another process."""

    until: float
    """By the monotonic clock."""
    values: Sequence[tuple[str, Labels, float]]


class Measures:
    """The measures of one process. The parent of workers merges theirs into its own: see `Mergeable`."""

    def __init__(self, *, process: int = 0) -> None:
        """`process` is the number of a worker; one that replaces another has its number."""
        self.process = process
        self._counts: dict[Key, Count] = {}
        self._histograms: dict[Key, Histogram] = {}
        self._gauges: dict[Key, Read] = {}
        self._reported: dict[int, _Reported] = {}
        self._label_sets: Counter[str] = Counter()
        self._refreshers: list[Callable[[], Awaitable[None]]] = []

    def count(self, series: Series, *labels: str) -> Count:
        """The count with these values of labels, for good. A new one is 0."""
        return self._counts.setdefault(self._key(series, labels, self._counts), Count())

    def histogram(self, series: Series, *labels: str) -> Histogram:
        """The histogram with these values of labels, for good. A new one is empty."""
        key = self._key(series, labels, self._histograms)
        return self._histograms.setdefault(key, Histogram(series.bounds))

    def gauge(self, series: Series, *labels: str, read: Read) -> None:
        """Registers a gauge. `read` must be quick in any thread; it returns None while there is no value."""
        self._gauges[series.name, labels] = read

    def before_reading(self, refresh: Callable[[], Awaitable[None]]) -> None:
        """Registers `refresh`, which prepares gauges whose values take a while. It must not raise."""
        self._refreshers.append(refresh)

    async def refresh(self) -> None:
        """Prepares the gauges to be read."""
        for refresh in self._refreshers:
            await refresh()

    def counts(self) -> list[tuple[Key, Count]]:
        """All counts of the processes that are merged here. It may be called in any thread."""
        return list(self._counts.items())

    def histograms(self) -> list[tuple[Key, Histogram]]:
        """All histograms of the processes that are merged here. It may be called in any thread."""
        return list(self._histograms.items())

    def gauges(self) -> dict[Key, float]:
        """All gauges, each the sum over the processes or the highest: see `Series.takes_highest`.

        It may be called in any thread.
        """
        found: dict[Key, float] = {}
        now = time.monotonic()
        reported = [each.values for each in list(self._reported.values()) if each.until > now]
        for values in (self._read_gauges(), *reported):
            for name, labels, value in values:
                known = found.get((name, labels), 0.0)
                is_highest = CATALOGUE[name].takes_highest
                found[name, labels] = max(known, value) if is_highest else known + value
        return found

    def drain(self) -> Measured:
        """See `Mergeable.drain`."""
        counts, histograms = [], []
        for (name, labels), count in self._counts.items():
            if count.value or not count.is_known:
                counts.append((name, labels, count.value))
                count.value, count.is_known = 0.0, True
        for (name, labels), histogram in self._histograms.items():
            if any(histogram.buckets) or not histogram.is_known:
                histograms.append((name, labels, histogram.buckets, histogram.total, histogram.exemplars))
                histogram.buckets, histogram.total = [0] * len(histogram.buckets), 0.0
                histogram.exemplars = {}
                histogram.is_known = True
        return Measured(self.process, counts, histograms, self._read_gauges())

    def merge(self, snapshot: Measured) -> None:
        """See `Mergeable.merge`."""
        process, counts, histograms, gauges = snapshot
        for name, labels, value in counts:
            self.count(CATALOGUE[name], *labels).value += value
        for name, labels, buckets, total, exemplars in histograms:
            histogram = self.histogram(CATALOGUE[name], *labels)
            histogram.buckets = [sum(pair) for pair in zip(histogram.buckets, buckets, strict=True)]
            histogram.total += total
            histogram.note_exemplars(exemplars)
        self._reported[process] = _Reported(time.monotonic() + STALE_SECONDS, gauges)

    def of(self, subject: str) -> Measured:
        """See `Mergeable.of`; there is nothing about single subjects."""
        return Measured(self.process, [], [], [])

    def _key(self, series: Series, labels: Labels, known: Container[Key]) -> Key:
        key = series.name, labels
        if key in known:
            return key
        if self._label_sets[series.name] >= series.max_label_sets:
            return series.name, (OTHERS,) * len(labels)
        self._label_sets[series.name] += 1
        return key

    def _read_gauges(self) -> list[tuple[str, Labels, float]]:
        values = []
        for (name, labels), read in list(self._gauges.items()):
            value = read()
            if value is not None:
                values.append((name, labels, value))
        return values
