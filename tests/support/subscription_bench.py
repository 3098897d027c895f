"""The parts of a server that subscriptions need, without a network, and readers that stall."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from engagement import v1
from engagement_server.governor.turns import Caller
from engagement_server.log.committer import Committer
from engagement_server.log.local import LocalLog
from engagement_server.messages import Mask
from engagement_server.model import ErasureState, Subject
from engagement_server.operations import BeginErasure, EraseEvents, RecordBatch, Recorded
from engagement_server.store.database import DatabaseFile, read_cursors
from engagement_server.store.reader import Reader
from engagement_server.store.readers import INTERNAL, Readers
from engagement_server.streams.frames import Frame
from engagement_server.streams.subscriptions import Subscriptions
from tests.support.events import batch_of, customer_events
from tests.support.waiting import deadline

T = TypeVar("T")


class CountingReaders(Readers):
    """Counts the reads, and withholds what they have read while the gate is closed."""

    count = 0
    withheld = 0

    def __init__(self, database: DatabaseFile, *, threads: int) -> None:
        super().__init__(database, threads=threads)
        self.gate = asyncio.Event()
        self.gate.set()

    async def run(self, read: Callable[[Reader], T], *, caller: Caller = INTERNAL) -> T:
        self.count += 1
        result = await super().run(read, caller=caller)
        if not self.gate.is_set():
            self.withheld += 1
            await self.gate.wait()
        return result


class Bench:
    """The parts of a server that subscriptions need."""

    def __init__(self, data_dir: Path, *, max_subscriptions: int = 1_000) -> None:
        self._database = DatabaseFile(data_dir)
        self.log = LocalLog(self._database)
        with closing(self._database.open_reader()) as connection:
            self.cursors = read_cursors(connection)
        self.readers = CountingReaders(self._database, threads=3)
        self.committer = Committer(self.log)
        self.subscriptions = Subscriptions(
            log=self.log,
            committer=self.committer,
            readers=self.readers,
            cursors=self.cursors,
            heartbeat_seconds=15,
            max_age_seconds=3600,
            max_subscriptions=max_subscriptions,
        )

    async def record(self, count: int, *, start: int = 0) -> None:
        """Records events, 500 in a commit."""
        for first in range(start, start + count, 500):
            batch = batch_of(customer_events(min(500, start + count - first), start=first))
            await self.committer.submit(RecordBatch("acme", batch, is_atomic=True), returns=Recorded)

    async def add(self, *events: v1.Event, account_id: str = "acme") -> None:
        """Records events in one commit."""
        batch = batch_of(events)
        await self.committer.submit(RecordBatch(account_id, batch, is_atomic=True), returns=Recorded)

    async def erase(self, consumer_id: str, *, account_id: str = "acme", request_id: str = "") -> None:
        """Erases the events of a consumer, up to the limit of one step."""
        subject = Subject(v1.SubjectKind.SUBJECT_KIND_CONSUMER_ID, consumer_id)
        erasure_id = request_id or f"erasure of {consumer_id}"
        begin = BeginErasure(account_id, request_id or consumer_id, erasure_id, [subject], suppress=False)
        await self.committer.submit(begin, returns=ErasureState)
        await self.committer.submit(EraseEvents(account_id, erasure_id), returns=ErasureState)

    async def close(self) -> None:
        await self.committer.close()
        self.readers.close()
        await self.log.close()
        self._database.close()


class StoppableReader:
    """Takes messages while its gate is open, as gRPC does for a client that reads."""

    def __init__(
        self,
        bench: Bench,
        *,
        latest: bool = False,
        wanted: v1.EventFilter | None = None,
        account_id: str = "acme",
        after_cursor: str = "",
        stop_at_tail: bool = False,
        mask: Mask | None = None,
    ) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.messages: list[v1.SubscribeEventsResponse] = []
        self.is_waited_for = asyncio.Event()
        self.was_reset = False
        self.must_not_get: set[str] = set()
        """Ids of events that must not come any more."""
        self._arrival = asyncio.Condition()
        request = v1.SubscribeEventsRequest(account_id=account_id, filter=wanted, stop_at_tail=stop_at_tail)
        if after_cursor:
            request.after_cursor = after_cursor
        elif latest:
            request.latest = True
        else:
            request.earliest = True
        self._task = asyncio.create_task(
            bench.subscriptions.serve(request, self, mask=mask, caller=Caller("peer", "acme"))
        )

    async def send(self, frame: Frame) -> None:
        if not self.gate.is_set():
            self.is_waited_for.set()
        await self.gate.wait()
        serialized = frame if isinstance(frame, bytes) else frame.SerializeToString()
        message = v1.SubscribeEventsResponse.FromString(serialized)
        assert self.must_not_get.isdisjoint(stored.event.event_id for stored in message.batch.events)
        self.messages.append(message)
        async with self._arrival:
            self._arrival.notify_all()

    def reset(self) -> None:
        self.was_reset = True
        self._task.cancel()

    async def until(self, is_enough: Callable[[StoppableReader], bool]) -> None:
        async with deadline("the reader had enough messages"), self._arrival:
            await self._arrival.wait_for(lambda: is_enough(self))

    @property
    def kinds(self) -> list[str]:
        return [message.WhichOneof("message") or "" for message in self.messages]

    @property
    def events(self) -> list[v1.StoredEvent]:
        return [stored for message in self.messages for stored in message.batch.events]

    @property
    def ids(self) -> list[str]:
        return [stored.event.event_id for message in self.messages for stored in message.batch.events]

    @property
    def has_ended(self) -> bool:
        return self._task.done()

    async def until_end(self) -> None:
        """Returns when the stream ends; raises its error."""
        async with deadline("the stream ended"):
            await self._task

    async def end(self) -> None:
        """Ends the stream, as a client that goes away does."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task


async def at_tail(
    bench: Bench, *, wanted: v1.EventFilter | None = None, mask: Mask | None = None
) -> StoppableReader:
    """A reader that has caught up."""
    reader = StoppableReader(bench, latest=True, wanted=wanted, mask=mask)
    await reader.until(lambda each: "caught_up" in each.kinds)
    return reader
