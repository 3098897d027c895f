"""The server's side of subscriptions: finds the start, catches up from the store, then sends new events.

It knows nothing of gRPC: messages go to a client, which makes it wait while it is slow.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, NoReturn

from engagement import v1
from engagement_server.cursor import origin_of
from engagement_server.errors import (
    CursorExpiredError,
    DamagedEventsError,
    DataDamagedError,
    DrainingError,
    LogEpochChangedError,
    StoreUnavailableError,
)
from engagement_server.log.catch_up import read_with_catch_up
from engagement_server.model import LogBounds, Notice
from engagement_server.streams.closing import GRACE_SECONDS, closed_at_age, delayed
from engagement_server.streams.feed import Feed
from engagement_server.streams.frames import batch_frame, first_batch
from engagement_server.streams.pace import Pace
from engagement_server.streams.tails import Tail, Tails

if TYPE_CHECKING:
    from engagement_server.cursor import Cursors
    from engagement_server.log.base import CommitLog
    from engagement_server.log.committer import Committer
    from engagement_server.operations import Applied
    from engagement_server.store.reader import Reader
    from engagement_server.store.readers import Readers
    from engagement_server.streams.feed import Segment
    from engagement_server.streams.frames import Client, Frame, SerializedEvent

MAX_BATCH_EVENTS = 1000
_DEFAULT_BATCH_EVENTS = 500
# A reader that had caught up and lags further than this is told so.
_FELL_BEHIND_EVENTS = 20_000

Closing = v1.SubscribeEventsResponse.Closing
_position = attrgetter("position")


class Subscriptions:
    """All subscriptions of this server."""

    def __init__(  # noqa: PLR0913  # all are named at the call
        self,
        *,
        log: CommitLog,
        committer: Committer,
        readers: Readers,
        cursors: Cursors,
        heartbeat_seconds: float,
        max_age_seconds: float,
    ) -> None:
        self.cursors = cursors
        self.feed = Feed(readers=readers, cursors=cursors)
        self.pace = Pace(committer)
        self.heartbeat_seconds = heartbeat_seconds
        self._readers = readers
        self._max_age_seconds = max_age_seconds
        self._tails = Tails()
        self._running: set[Subscription] = set()
        self._is_draining = False
        self._log = log
        log.subscribe(self._on_applied)
        log.watch_freshness(self._on_freshness)

    async def serve(self, request: v1.SubscribeEventsRequest, client: Client) -> None:
        """Serves one subscription to its end. Raises the RequestError that ends it."""
        if self._is_draining:
            raise DrainingError
        if not self._log.is_current and not request.stop_at_tail:
            raise StoreUnavailableError("this server is behind the log; another one may not be")
        with self._tails.watch(request.account_id) as tail:
            position = await read_with_catch_up(self._log, lambda: self._begin(request, tail))
            if self._is_draining:  # since the check above
                raise DrainingError
            subscription = Subscription(self, request, client, position=position, tail=tail)
            self._running.add(subscription)
            try:
                with closed_at_age(
                    self._max_age_seconds, partial(subscription.close, Closing.REASON_MAX_AGE)
                ):
                    await subscription.run()
            finally:
                self._running.remove(subscription)

    def drain(self) -> None:
        """Asks all clients to reconnect, and soon cuts off those that do not read."""
        self._is_draining = True
        for subscription in self._running:
            subscription.close(Closing.REASON_DRAINING)
        asyncio.get_running_loop().call_later(GRACE_SECONDS, self._cut_off)

    def _cut_off(self) -> None:
        """Ends the streams of clients that do not read."""
        for subscription in self._running:
            subscription.client.reset()

    def _on_freshness(self, is_current: bool) -> None:  # noqa: FBT001  # as the log calls it
        """Sends followers to another node once this one falls behind the log."""
        if not is_current:
            for subscription in self._running:
                subscription.leave_stale_node()

    def _on_applied(self, applied: Applied) -> None:
        if applied.has_removed:
            self.feed.evict()
        if applied.erased:
            for subscription in self._running:
                subscription.drop(applied.erased.get(subscription.account_id, ()))
        self._tails.advance(applied.tails)

    async def _begin(self, request: v1.SubscribeEventsRequest, tail: Tail) -> int:
        """The position after which to start; the tail is known from here on."""
        bounds = await self._bounds(request)
        tail.advance(bounds.last_position)
        return await self._start(request, bounds)

    async def _bounds(self, request: v1.SubscribeEventsRequest) -> LogBounds:
        """The bounds of the account's log, all 0 if there is no such account. Raises FilterInvalidError."""

        def read(reader: Reader) -> LogBounds | None:
            reader.predicate(request.filter)  # refuses a bad filter now, not at the first event
            return reader.bounds(request.account_id)

        bounds = await self._readers.run(read)
        if bounds is None and await self._log.catch_up():  # another node may have created it
            bounds = await self._readers.run(read)
        return bounds or LogBounds(0, 0, 0)

    async def _start(self, request: v1.SubscribeEventsRequest, bounds: LogBounds) -> int:
        """The position after which the request starts."""
        match request.WhichOneof("start"):
            case "after_cursor":
                position = self.cursors.decode(
                    request.after_cursor, account_id=request.account_id, account_number=bounds.account
                )
                if position < bounds.expired_position:
                    raise CursorExpiredError(self.cursors.encode(bounds.expired_position))
                if position > bounds.last_position:  # from a log that was since replaced by an older copy
                    raise LogEpochChangedError
                return position
            case "start_time":
                accepted_ms = -(-request.start_time.ToNanoseconds() // 1_000_000)
                return await self._readers.run(
                    lambda reader: reader.position_before(bounds, accepted_ms=accepted_ms)
                )
            case "latest":
                return bounds.last_position
            case _:
                return bounds.expired_position


class Subscription:
    """One stream; it holds at most one batch."""

    def __init__(
        self,
        subscriptions: Subscriptions,
        request: v1.SubscribeEventsRequest,
        client: Client,
        *,
        position: int,
        tail: Tail,
    ) -> None:
        self._feed = subscriptions.feed
        self._pace = subscriptions.pace
        self._cursors = subscriptions.cursors
        self.account_id = request.account_id
        self._wanted = request.filter
        self._max_batch_events = min(request.max_batch_events or _DEFAULT_BATCH_EVENTS, MAX_BATCH_EVENTS)
        self._heartbeat_seconds = (
            request.heartbeat_interval.ToTimedelta().total_seconds() or subscriptions.heartbeat_seconds
        )
        self.client = client
        self._position = position
        """Watermark: everything up to here was sent or is being sent, or does not match the filter."""
        self._read_through = position
        """Last position that was read, or is being read, from the feed."""
        self._sending: Sequence[SerializedEvent] = ()
        """Events of the frame that is being sent."""
        self._erased: set[int] = set()
        """Positions between these two that were erased since the read began."""
        self._tail = tail
        self._stop_position = tail.position if request.stop_at_tail else None
        self._is_caught_up = False
        self._closing: Closing.Reason | None = None
        self._silent_since = 0.0

    def close(self, reason: Closing.Reason) -> None:
        """Asks the client to reconnect, after the frames that are on their way."""
        self._closing = reason
        self._tail.growth.set()

    def leave_stale_node(self) -> None:
        """Asks the client to follow another node; an export goes on, as it only reads stored events."""
        if self._stop_position is None:
            self.close(Closing.REASON_NOT_CURRENT)

    def drop(self, erased: Sequence[int]) -> None:
        """Drops events, given by ascending positions, from all that has been read but not been sent.

        If the client has left some of them in the frame that is being sent, the stream is reset.
        """
        start, end = bisect_right(erased, self._position), bisect_right(erased, self._read_through)
        self._erased.update(erased[start:end])
        if self._sending:
            start = bisect_left(erased, self._sending[0].position)
            end = bisect_right(erased, self._sending[-1].position)
            if not {event.position for event in self._sending}.isdisjoint(erased[start:end]):
                self.client.reset()

    async def run(self) -> None:
        """Serves the stream to its end. Raises the RequestError that ends it."""
        await self._send(self._started())
        while self._closing is None:
            if self._stop_position is not None and self._position >= self._stop_position:
                await self._send_caught_up()
                return
            if self._position < self._tail.position:
                await self._deliver()
            else:
                await self._wait()
        closing = delayed(Closing(reason=self._closing))
        await self._send(v1.SubscribeEventsResponse(cursor=self._cursor, closing=closing))

    @property
    def _cursor(self) -> str:
        if self._position == 0:
            return self._cursors.encode_origin(self.account_id)
        return self._cursors.encode(self._position)

    @property
    def _lag_events(self) -> int:
        # The account may have got its number since the position was set.
        return max(0, self._tail.position - max(self._position, origin_of(self._tail.position)))

    async def _deliver(self) -> None:
        """Sends the matching events of the next segment."""
        self._position = max(self._position, origin_of(self._tail.position))  # of an account that is new
        if self._is_caught_up and self._lag_events > _FELL_BEHIND_EVENTS:
            self._is_caught_up = False
            fell_behind = v1.SubscribeEventsResponse.FellBehind(lag_events=self._lag_events)
            await self._send(v1.SubscribeEventsResponse(cursor=self._cursor, fell_behind=fell_behind))
        self._erased.clear()
        self._read_through = self._tail.position
        try:
            segment = await self._feed.read(
                self.account_id, self._wanted, after=self._position, tail=self._read_through
            )
        except DamagedEventsError as damage:
            await self._end_before(damage)
        self._read_through = segment.through
        if segment.expired_position > self._position:
            raise CursorExpiredError(self._cursors.encode(segment.expired_position))
        for piece in self._pieces(segment):
            await self._pace.turn()
            if isinstance(piece, Notice):
                self._position = piece.position
                await self._send(self._notice(piece))
            else:
                await self._send_batch(piece)
            if self._closing is not None:
                return
        self._position = max(self._position, segment.through)
        await self._send_heartbeat()

    async def _end_before(self, damage: DamagedEventsError) -> NoReturn:
        """Raises DataDamagedError, with the cursor to go on after. No notice in between is left out."""
        for notice in await self._feed.notices(after=self._position, through=damage.last_position):
            self._position = notice.position
            await self._send(self._notice(notice))
        raise DataDamagedError(
            cursor=self._cursors.encode(damage.first_position),
            resumeCursor=self._cursors.encode(damage.last_position),
        ) from damage

    def _pieces(self, segment: Segment) -> Iterator[Sequence[SerializedEvent] | Notice]:
        """Batches and notices of a segment, in order; each gets a frame of its own."""
        events = segment.events
        start = bisect_right(events, self._position, key=_position)
        notices = [notice for notice in segment.notices if notice.position > self._position]
        while start < len(events):
            while notices and notices[0].position < events[start].position:
                yield notices.pop(0)
            end = min(start + self._max_batch_events, len(events))
            if notices:
                end = bisect_left(events, notices[0].position, start, end, key=_position)
            batch = first_batch(events[start:end])
            yield batch
            start += len(batch)
        yield from notices

    async def _send_batch(self, events: Sequence[SerializedEvent]) -> None:
        """Sends the events that were not erased since they were read."""
        self._position = events[-1].position
        if self._erased:
            events = [event for event in events if event.position not in self._erased]
        if not events:
            return
        self._sending = events
        frame = batch_frame([serialized for _, serialized in events], cursor=self._cursor)
        await self._send(frame)
        self._sending = ()

    def _notice(self, notice: Notice) -> v1.SubscribeEventsResponse:
        erased = v1.SubscribeEventsResponse.ErasureNotice(
            erasure_id=notice.erasure_id, erased_cursors=map(self._cursors.encode, notice.erased)
        )
        cursor = self._cursors.encode(notice.position)
        return v1.SubscribeEventsResponse(cursor=cursor, erasure_notice=erased)

    async def _wait(self) -> None:
        """Waits until the log grows; tells the client that it has caught up."""
        if not self._is_caught_up:
            await self._send_caught_up()
        self._tail.growth.clear()
        if self._position < self._tail.position or self._closing is not None:
            return
        try:
            async with asyncio.timeout_at(self._silent_since + self._heartbeat_seconds):
                await self._tail.growth.wait()
        except TimeoutError:
            await self._send_heartbeat()

    async def _send_caught_up(self) -> None:
        self._is_caught_up = True
        caught_up = v1.SubscribeEventsResponse.CaughtUp()
        await self._send(v1.SubscribeEventsResponse(cursor=self._cursor, caught_up=caught_up))

    async def _send_heartbeat(self) -> None:
        """Sends Progress if nothing else was sent for an interval."""
        if asyncio.get_running_loop().time() >= self._silent_since + self._heartbeat_seconds:
            progress = v1.SubscribeEventsResponse.Progress(lag_events=self._lag_events)
            await self._send(v1.SubscribeEventsResponse(cursor=self._cursor, progress=progress))

    def _started(self) -> v1.SubscribeEventsResponse:
        started = v1.SubscribeEventsResponse.Started(
            max_batch_events=self._max_batch_events, lag_events=self._lag_events
        )
        started.heartbeat_interval.FromMilliseconds(int(self._heartbeat_seconds * 1000))
        return v1.SubscribeEventsResponse(cursor=self._cursor, started=started)

    async def _send(self, frame: Frame) -> None:
        await self.client.send(frame)
        self._silent_since = asyncio.get_running_loop().time()
