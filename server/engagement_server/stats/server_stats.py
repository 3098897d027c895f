"""The stats of a server, in the process that owns its stores: sampled again and again, and told at once."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from engagement import v1
from engagement_server.clock import now_ms
from engagement_server.http.checks import Check
from engagement_server.metrics.catalogue import DISK_FREE_BYTES, MEMORY_BYTES
from engagement_server.metrics.rejected_rules import read_rejected_rules
from engagement_server.metrics.samples import MAX_SAMPLES, Sampler
from engagement_server.stats import messages

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from engagement_server.metrics.measures import Key, Measures
    from engagement_server.metrics.rejections import Rejections
    from engagement_server.stats.stores import StoreWatch
    from engagement_server.stats.streams import OpenStreams, Streams

SAMPLE_SECONDS = 5.0
"""Time between two samples."""


class ServerStats:
    """What GetServerStats answers. Workers ask their parent for it: see `Mergeable`."""

    def __init__(  # noqa: PLR0913  # all are named at the call
        self,
        *,
        version: str,
        measures: Measures,
        rejections: Rejections,
        checks: Callable[[], Sequence[Check]],
        stores: Sequence[StoreWatch],
        streams: Streams,
    ) -> None:
        self._version = version
        self._measures = measures
        self._rejections = rejections
        self._checks = checks
        self._stores = stores
        self._streams = streams
        self._sampler = Sampler(measures)
        self._samples: deque[v1.ServerSample] = deque(maxlen=MAX_SAMPLES)
        self._start_ms = now_ms()
        self.response = v1.GetServerStatsResponse()
        """The state at the last sample; it is replaced, and never changed."""

    async def run(self) -> None:
        """Takes a sample at every interval; never returns."""
        while True:
            await asyncio.sleep(SAMPLE_SECONDS)
            await self.take_sample()

    async def begin(self) -> None:
        """Takes the state at the start, before there is a sample."""
        await self._refresh()
        self.response = self._describe(self._measures.gauges(), self._streams.of(""), clock_ms=now_ms())

    async def take_sample(self) -> None:
        """Takes a sample, and the state at its end."""
        await self._refresh()
        gauges = self._measures.gauges()
        streams = self._streams.of("")
        sample = self._sampler.take(
            memory_bytes=_value(gauges, (MEMORY_BYTES.name, ("used",))),
            max_lag_events=streams.max_lag_events,
        )
        self._samples.append(messages.sample_message(sample))
        self.response = self._describe(gauges, streams, clock_ms=sample.end_ms)

    async def _refresh(self) -> None:
        """Looks at streams and stores, for a limited time."""
        await asyncio.gather(self._streams.refresh(), *(store.refresh() for store in self._stores))

    def drain(self) -> None:
        """See `Mergeable.drain`; there is nothing for any other process to add up."""

    def merge(self, snapshot: OpenStreams) -> None:
        """Takes what a worker adds: see `Mergeable.merge`."""
        self._streams.merge(snapshot)

    def of(self, subject: str) -> bytes:
        """The serialized response, whatever the subject: see `Mergeable.of`."""
        return self.response.SerializeToString()

    def _describe(
        self, gauges: Mapping[Key, float], streams: OpenStreams, *, clock_ms: int
    ) -> v1.GetServerStatsResponse:
        rejected = read_rejected_rules(self._rejections)
        response = v1.GetServerStatsResponse(
            version=self._version,
            samples=self._samples,
            checks=map(messages.check_message, (Check("server"), *self._checks())),
            rejected_rules=map(messages.rule_message, rejected.rules),
            rejected_events=rejected.events,
            rejected_rules_incomplete=not rejected.is_complete,
            failed_calls=messages.failed_calls(self._measures.counts()),
            subscriptions=map(messages.lag_message, streams.slowest),
            open_subscriptions=streams.subscriptions,
            open_uploads=streams.uploads,
            files=messages.file_messages(gauges.items()),
            memory_bytes=_value(gauges, (MEMORY_BYTES.name, ("used",))),
            memory_limit_bytes=_value(gauges, (MEMORY_BYTES.name, ("limit",))),
            partitions=[messages.partition_message(each, clock_ms=clock_ms) for each in self._stores],
            nodes=messages.node_messages(self._stores),
        )
        if (free_bytes := gauges.get((DISK_FREE_BYTES.name, ()))) is not None:
            response.disk_free_bytes = int(free_bytes)
        response.start_time.FromMilliseconds(self._start_ms)
        response.sample_time.FromMilliseconds(clock_ms)
        return response


def _value(gauges: Mapping[Key, float], key: Key) -> int:
    return int(gauges.get(key, 0.0))
