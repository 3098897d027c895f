"""Measures in the text formats of Prometheus, and with them what the process itself and its logs register."""

from __future__ import annotations

import asyncio
import gzip
import time
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeAlias, TypeVar

from engagement_server.metrics.catalogue import CATALOGUE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from prometheus_client import Metric
    from prometheus_client.samples import Exemplar

    from engagement_server.metrics.measures import Histogram, Measures

F = TypeVar("F")
_Bucket: TypeAlias = "tuple[str, float] | tuple[str, float, Exemplar]"
EXEMPLAR_SECONDS: Final = 300.0
"""How long a trace stays the example of a bucket; collectors forget traces."""
_OPENMETRICS = "application/openmetrics-text"
_GZIP_LEVEL = 1  # a twentieth of the size; higher ones take several times as long
_PLAIN_TEXT = "text/plain; version=0.0.4; charset=utf-8"


class Page(NamedTuple):
    """An answer to a scrape."""

    content: bytes
    content_type: str
    is_packed: bool
    """Whether the content is packed with gzip."""


class Exposition:
    """Renders the measures of a server, one answer at a time, in a thread."""

    def __init__(self, measures: Measures) -> None:
        self._measures = measures
        # It takes some milliseconds of processor time, however many ask for it.
        self._turn = asyncio.Lock()

    async def render(self, accept: str, *, takes_gzip: bool = False) -> Page:
        """All series, as OpenMetrics for clients that ask for it."""
        async with self._turn:
            await self._measures.refresh()
            return await asyncio.to_thread(self._render, accept, takes_gzip=takes_gzip)

    def _render(self, accept: str, *, takes_gzip: bool) -> Page:
        content, content_type = self._text(accept)
        if takes_gzip:
            content = gzip.compress(content, _GZIP_LEVEL, mtime=0)
        return Page(content, content_type, takes_gzip)

    def _text(self, accept: str) -> tuple[bytes, str]:
        # Only servers that are scraped load the library.
        from prometheus_client import exposition  # noqa: PLC0415
        from prometheus_client.openmetrics import exposition as openmetrics  # noqa: PLC0415

        collected: Any = _Collected(self._measures)  # Any: of a registry, rendering takes `collect` only
        if _OPENMETRICS in accept:
            text: bytes = openmetrics.generate_latest(collected)  # type: ignore[no-untyped-call]  # of the library
            return text, openmetrics.CONTENT_TYPE_LATEST
        return exposition.generate_latest(collected), _PLAIN_TEXT


class _Collected:
    """What there is to render, as the library asks a registry for it."""

    def __init__(self, measures: Measures) -> None:
        self._measures = measures

    def collect(self) -> Iterator[Metric]:
        from prometheus_client import REGISTRY  # noqa: PLC0415

        yield from families(self._measures)
        yield from REGISTRY.collect()


def families(measures: Measures) -> list[Metric]:
    """The measures as families of the client library, by name."""
    from prometheus_client.core import (  # noqa: PLC0415
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
    )

    counters = _Families(CounterMetricFamily)
    for (name, labels), count in measures.counts():
        counters.of(name).add_metric(labels, count.value)
    histograms = _Families(HistogramMetricFamily)
    for (name, labels), histogram in measures.histograms():
        buckets = _cumulated(CATALOGUE[name].bounds, histogram)
        histograms.of(name).add_metric(labels, buckets, histogram.total)
    gauges = _Families(GaugeMetricFamily)
    for (name, labels), value in measures.gauges().items():
        gauges.of(name).add_metric(labels, value)
    found = {**counters.found, **histograms.found, **gauges.found}
    return [found[name] for name in sorted(found)]


class _Families(Generic[F]):
    """The families of one kind, by name."""

    def __init__(self, make: Callable[..., F]) -> None:
        self._make = make
        self.found: dict[str, F] = {}

    def of(self, name: str) -> F:
        if name not in self.found:
            series = CATALOGUE[name]
            self.found[name] = self._make(name, series.help, labels=series.labels)
        return self.found[name]


def _cumulated(bounds: Iterable[float], histogram: Histogram) -> list[_Bucket]:
    """The buckets as the formats have them: each with all values up to its bound, and a recent example.

    The plain text format leaves the examples out.
    """
    from prometheus_client.samples import Exemplar  # noqa: PLC0415

    oldest = time.time() - EXEMPLAR_SECONDS
    examples = {
        bucket: Exemplar({"trace_id": each.trace_id}, each.value, each.time_seconds)
        for bucket, each in dict(histogram.exemplars).items()
        if each.time_seconds > oldest
    }
    names = [*(str(float(bound)) for bound in bounds), "+Inf"]
    totals = map(float, accumulate(histogram.buckets))
    cumulated: list[_Bucket] = []
    for bucket, (name, total) in enumerate(zip(names, totals, strict=True)):
        example = examples.get(bucket)
        cumulated.append((name, total) if example is None else (name, total, example))
    return cumulated
