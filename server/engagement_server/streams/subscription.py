"""The server's side of one subscription: catches up from the store, then sends new events.

It knows nothing of gRPC: messages go to a client, which makes it wait while it is slow.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, NoReturn

from engagement import v1
from engagement_server.clock import now_ms
from engagement_server.cursor import origin_of
from engagement_server.errors import CursorExpiredError, DamagedEventsError, DataDamagedError
from engagement_server.model import Notice
from engagement_server.streams.closing import Cause, delayed
from engagement_server.streams.feed import filter_key
from engagement_server.streams.frames import batch_frame, first_batch
from engagement_server.streams.pace import FRAME_SECONDS, READ_SECONDS
from engagement_server.streams.selections import Place

if TYPE_CHECKING:
    from engagement_server.governor.turns import Caller
    from engagement_server.messages import Mask
    from engagement_server.store.predicate import Predicate
    from engagement_server.streams.feed import Segment
    from engagement_server.streams.frames import Client, Frame, SerializedEvent
    from engagement_server.streams.selections import Selection
    from engagement_server.streams.subscriptions import Subscriptions
    from engagement_server.streams.tails import Tail

MAX_BATCH_EVENTS = 1000
_DEFAULT_BATCH_EVENTS = 500
# A reader that had caught up and lags further than this is told so.
_FELL_BEHIND_EVENTS = 20_000

Closing = v1.SubscribeEventsResponse.Closing
_position = attrgetter("position")


class _RightsLostError(Exception):
    """Ends what sends: the caller may see nothing more."""


class Subscription:
    """One stream; it holds at most one batch.

    It sends what comes after its position: from the selection of its filter at the tail if that covers the
    position, else from the store. An export reads the store only.
    """

    def __init__(  # noqa: PLR0913  # all but three are named at the call
        self,
        subscriptions: Subscriptions,
        request: v1.SubscribeEventsRequest,
        client: Client,
        *,
        mask: Mask | None,
        caller: Caller,
        position: int,
        tail: Tail,
        on_events: Callable[[int], None],
    ) -> None:
        self._feed = subscriptions.feed
        self._pace = subscriptions.pace
        self._cursors = subscriptions.cursors
        self.account_id = request.account_id
        self.start_ms = now_ms()
        """When the stream was opened."""
        self._wanted = request.filter
        self.filter_key = filter_key(request.filter)
        self._max_batch_events = min(request.max_batch_events or _DEFAULT_BATCH_EVENTS, MAX_BATCH_EVENTS)
        self._heartbeat_seconds = (
            request.heartbeat_interval.ToTimedelta().total_seconds() or subscriptions.heartbeat_seconds
        )
        self.client = client
        self._mask = mask
        self._on_events = on_events
        self._caller = caller
        self._place = Place(position)
        self._read_through = position
        """Last position that was read, or is being read."""
        self._sending: Sequence[SerializedEvent] = ()
        """Events of the frame that is being sent."""
        self._erased: set[int] = set()
        """Positions between these two that were erased since the read began."""
        self._tail = tail
        self._stop_position = tail.position if request.stop_at_tail else None
        self._is_caught_up = False
        self._closing: Closing.Reason | None = None
        self._has_rights = True
        self._sent_position = position
        self._silent_since = 0.0

    def close(self, reason: Closing.Reason) -> None:
        """Asks the client to reconnect, after the frames that are on their way."""
        self._closing = reason
        self._place.growth.set()

    def close_for(self, cause: Cause) -> None:
        """Closes the stream. If its caller has lost rights, nothing more is sent but that."""
        if cause is not Cause.UNAUTHENTICATED:
            self.close(Closing.REASON_OVERLOADED)
            return
        self._has_rights = False
        self._place.growth.set()

    def leave_stale_node(self) -> None:
        """Asks the client to follow another node; an export goes on, as it only reads stored events."""
        if self._stop_position is None:
            self.close(Closing.REASON_NOT_CURRENT)

    def drop(self, erased: Sequence[int]) -> None:
        """Drops events, given by ascending positions, from all that has been read but not been sent.

        If the client has left some of them in the frame that is being sent, the stream is reset.
        """
        start, end = bisect_right(erased, self._place.position), bisect_right(erased, self._read_through)
        self._erased.update(erased[start:end])
        if self._sending:
            start = bisect_left(erased, self._sending[0].position)
            end = bisect_right(erased, self._sending[-1].position)
            if not {event.position for event in self._sending}.isdisjoint(erased[start:end]):
                self.client.reset()

    @property
    def unsent_events(self) -> int:
        """Number of events that it has neither sent nor passed by, as far as it goes."""
        place = self._place
        if place.is_idle and not place.growth.is_set():  # what came meanwhile does not match
            return 0
        through = self._tail.position if self._stop_position is None else self._stop_position
        return max(0, through - (place.position or origin_of(through)))

    @property
    def unsent_range(self) -> tuple[int, int]:
        """The position after which these events come, and that of the last of them."""
        through = self._tail.position if self._stop_position is None else self._stop_position
        return self._place.position or origin_of(through), through

    async def run(self, predicate: Predicate) -> None:
        """Serves the stream to its end. Raises the RequestError that ends it."""
        try:
            await self._serve(predicate)
        except _RightsLostError:
            # After the last frame that was sent: what was read and held back comes again.
            self._place.position = self._sent_position
            await self._send_closing(Closing.REASON_UNAUTHENTICATED)

    async def _serve(self, predicate: Predicate) -> None:
        await self._send(self._started())
        if self._stop_position is not None:
            await self._export(self._stop_position)
        else:
            filtering = predicate if self.filter_key else None
            is_masked = self._mask is not None
            with self._tail.follow(self.filter_key, filtering, self._place, is_masked=is_masked) as selection:
                await self._follow(selection)

    async def _export(self, stop_position: int) -> None:
        while self._place.position < stop_position:
            if self._closing is not None:
                await self._send_closing(self._closing)
                return
            await self._deliver_stored(stop_position)
        await self._send_caught_up()

    async def _follow(self, selection: Selection) -> None:
        place = self._place
        while self._closing is None:
            place.growth.clear()  # before looking what there is
            self._require_rights()
            if selection.covers(place.position):
                selection.pass_over(place)
                await self._tell_lag()
                if selection.has_after(place.position):
                    await self._deliver_new(selection)
                else:
                    await self._wait(selection)
            elif place.position < self._tail.position:
                await self._tell_lag()
                await self._deliver_stored(self._tail.position)
            else:
                await self._wait(selection)
        await self._send_closing(self._closing)

    @property
    def _cursor(self) -> str:
        if self._place.position == 0:
            return self._cursors.encode_origin(self.account_id)
        return self._cursors.encode(self._place.position)

    @property
    def _lag_events(self) -> int:
        # The account may have got its number since the position was set.
        return max(0, self._tail.position - max(self._place.position, origin_of(self._tail.position)))

    async def _tell_lag(self) -> None:
        """Tells a reader that had caught up that it has fallen behind."""
        if self._is_caught_up and self._lag_events > _FELL_BEHIND_EVENTS:
            self._is_caught_up = False
            fell_behind = v1.SubscribeEventsResponse.FellBehind(lag_events=self._lag_events)
            await self._send(v1.SubscribeEventsResponse(cursor=self._cursor, fell_behind=fell_behind))

    async def _deliver_new(self, selection: Selection) -> None:
        """Sends the next events of a selection."""
        await self._pace.turn(FRAME_SECONDS)  # first: what comes meanwhile shares the frame
        if not selection.covers(self._place.position):  # any more
            return
        new = selection.after(self._place.position, max_events=self._max_batch_events)
        if events := first_batch(event.serialized(self._cursors, mask=self._mask) for event in new):
            self._erased.clear()
            await self._send_batch(events)

    async def _deliver_stored(self, tail: int) -> None:
        """Sends the matching events of the next segment of the store, which ends at the tail."""
        self._erased.clear()
        self._place.position = max(self._place.position, origin_of(tail))  # of an account that is new
        self._read_through = tail
        await self._pace.turn(READ_SECONDS)
        try:
            segment = await self._feed.read(
                self.account_id,
                self._wanted,
                after=self._place.position,
                tail=self._read_through,
                mask=self._mask,
                caller=self._caller,
            )
        except DamagedEventsError as damage:
            await self._end_before(damage)
        self._read_through = segment.through
        if segment.expired_position > self._place.position:
            raise CursorExpiredError(self._cursors.encode(segment.expired_position))
        for piece in self._pieces(segment):
            await self._pace.turn(FRAME_SECONDS)
            if isinstance(piece, Notice):
                self._place.position = piece.position
                await self._send(self._notice(piece))
            else:
                await self._send_batch(piece)
            if self._closing is not None:
                return
        self._place.position = max(self._place.position, segment.through)
        await self._send_heartbeat()

    async def _end_before(self, damage: DamagedEventsError) -> NoReturn:
        """Raises DataDamagedError, with the cursor to go on after. No notice in between is left out."""
        for notice in await self._feed.notices(
            after=self._place.position, through=damage.last_position, caller=self._caller
        ):
            self._place.position = notice.position
            await self._send(self._notice(notice))
        raise DataDamagedError(
            cursor=self._cursors.encode(damage.first_position),
            resumeCursor=self._cursors.encode(damage.last_position),
        ) from damage

    def _pieces(self, segment: Segment) -> Iterator[Sequence[SerializedEvent] | Notice]:
        """Batches and notices of a segment, in order; each gets a frame of its own."""
        events = segment.events
        start = bisect_right(events, self._place.position, key=_position)
        notices = [notice for notice in segment.notices if notice.position > self._place.position]
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
        self._place.position = events[-1].position
        if self._erased:
            events = [event for event in events if event.position not in self._erased]
        if not events:
            return
        self._sending = events
        frame = batch_frame([serialized for _, serialized in events], cursor=self._cursor)
        self._pace.charge(frame)
        self._require_rights()
        self._on_events(len(events))  # before: its client may have them while the library still writes
        await self._send(frame)
        self._sending = ()

    def _notice(self, notice: Notice) -> v1.SubscribeEventsResponse:
        erased = v1.SubscribeEventsResponse.ErasureNotice(
            erasure_id=notice.erasure_id, erased_cursors=map(self._cursors.encode, notice.erased)
        )
        cursor = self._cursors.encode(notice.position)
        return v1.SubscribeEventsResponse(cursor=cursor, erasure_notice=erased)

    async def _wait(self, selection: Selection) -> None:
        """Waits until there may be something to do; tells the client that it has caught up."""
        place = self._place
        if not self._is_caught_up and place.position >= self._tail.position:
            await self._send_caught_up()
        place.is_idle = self._is_caught_up
        try:
            async with asyncio.timeout_at(self._silent_since + self._heartbeat_seconds):
                await place.growth.wait()
        except TimeoutError:
            if selection.covers(place.position):
                selection.pass_over(place)
            await self._send_heartbeat()
        finally:
            place.is_idle = False

    async def _send_caught_up(self) -> None:
        self._is_caught_up = True
        caught_up = v1.SubscribeEventsResponse.CaughtUp()
        await self._send(v1.SubscribeEventsResponse(cursor=self._cursor, caught_up=caught_up))

    async def _send_closing(self, reason: Closing.Reason) -> None:
        closing = delayed(Closing(reason=reason))
        await self.client.send(v1.SubscribeEventsResponse(cursor=self._cursor, closing=closing))

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
        """Sends what shows something. Raises _RightsLostError."""
        self._require_rights()
        self._sent_position = self._place.position
        await self.client.send(frame)
        self._silent_since = asyncio.get_running_loop().time()

    def _require_rights(self) -> None:
        if not self._has_rights:
            raise _RightsLostError
