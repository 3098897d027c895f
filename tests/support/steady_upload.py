"""An upload at a steady pace that records when its events are acknowledged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from engagement import EngagementClient, Progress, Uploader, UploadSummary, v1
from tests.support.waiting import deadline

_CHUNK_EVENTS = 50


class SteadyUpload:
    """Sends events with ids that sort by their numbers until its context ends.

    `produced` are those that the uploader took from the source, `acknowledged` those with an outcome. Fails
    after it has sent for `max_seconds`.
    """

    def __init__(
        self, client: EngagementClient, *, name: str, events_a_second: int, max_seconds: float
    ) -> None:
        self.produced = 0
        self.acknowledged = 0
        self.longest_silence_seconds = 0.0
        """The longest time between two acks with progress; tests may reset it."""
        self.summary: UploadSummary | None = None
        self._name = name
        self._uploader = Uploader(
            client, upload_id=name, chunk_events=_CHUNK_EVENTS, on_progress=self._take_in
        )
        self._pause_seconds = _CHUNK_EVENTS / events_a_second
        self._max_events = max_seconds * events_a_second
        self._is_over = asyncio.Event()
        self._news = asyncio.Event()
        self._heard_at = 0.0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Uploads while the context is open; at its end everything is acknowledged."""
        self._heard_at = time.monotonic()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self._uploader.upload(self._source()))
            try:
                yield
            finally:
                self._is_over.set()
        self.summary = task.result()

    async def next_ack(self) -> None:
        """Waits until an event that is produced from now on is acknowledged."""
        produced = self.produced
        async with deadline(f"an event of {self._name} was acknowledged"):
            while self.acknowledged <= produced:
                self._news.clear()
                await self._news.wait()

    @property
    def ids(self) -> list[str]:
        """The ids of all produced events, in order."""
        return [self._id(number) for number in range(self.produced)]

    def _id(self, number: int) -> str:
        return f"{self._name}-{number:08}"

    async def _source(self) -> AsyncIterator[v1.Event]:
        while not self._is_over.is_set():
            assert self.produced < self._max_events, f"nothing ended {self._name}"
            for _ in range(_CHUNK_EVENTS):
                number = self.produced
                self.produced += 1
                customer_info = v1.CustomerInfo(balance=str(number), customer_id=f"customer-{number % 997}")
                yield v1.Event(
                    event_id=self._id(number),
                    consumer_id=f"consumer-{number % 1009}",
                    customer_info=customer_info,
                )
            await asyncio.sleep(self._pause_seconds)

    def _take_in(self, progress: Progress) -> None:
        if progress.acknowledged == self.acknowledged:
            return
        now = time.monotonic()
        self.longest_silence_seconds = max(self.longest_silence_seconds, now - self._heard_at)
        self._heard_at = now
        self.acknowledged = progress.acknowledged
        self._news.set()
