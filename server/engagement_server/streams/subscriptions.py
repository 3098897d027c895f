"""The server's side of all subscriptions: finds where each starts, and tells them what commits change."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from engagement import v1
from engagement_server.clock import ceil_ms
from engagement_server.errors import (
    CursorExpiredError,
    DrainingError,
    LogEpochChangedError,
    OverloadedError,
    StoreUnavailableError,
)
from engagement_server.governor.turns import Room
from engagement_server.log.catch_up import read_with_catch_up
from engagement_server.model import LogBounds
from engagement_server.streams.closing import (
    GRACE_SECONDS,
    OnClose,
    closed_at_age,
    never_closed,
    not_counted,
)
from engagement_server.streams.feed import Feed
from engagement_server.streams.pace import Pace
from engagement_server.streams.subscription import Subscription
from engagement_server.streams.tails import Tails

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from engagement_server.cursor import Cursors
    from engagement_server.governor.turns import Caller
    from engagement_server.log.base import CommitLog
    from engagement_server.log.committer import Committer
    from engagement_server.messages import Mask
    from engagement_server.operations import Applied
    from engagement_server.store.predicate import Predicate
    from engagement_server.store.readers import Readers
    from engagement_server.streams.frames import Client
    from engagement_server.streams.tails import Tail

Closing = v1.SubscribeEventsResponse.Closing


class _Start(NamedTuple):
    position: int
    """The position after which a subscription starts."""
    predicate: Predicate
    """Its filter."""


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
        max_subscriptions: int = 1_000,
    ) -> None:
        self.cursors = cursors
        self._room = Room(max_subscriptions)
        self.feed = Feed(readers=readers, cursors=cursors)
        self.pace = Pace(committer)
        self.heartbeat_seconds = heartbeat_seconds
        self._readers = readers
        self._max_age_seconds = max_age_seconds
        self.tails = Tails(log, pace=self.pace)
        self._running: set[Subscription] = set()
        self._is_draining = False
        self._log = log
        log.subscribe(self._on_applied)
        log.watch_freshness(self._on_freshness)

    async def serve(  # noqa: PLR0913  # all but two are named at the call
        self,
        request: v1.SubscribeEventsRequest,
        client: Client,
        *,
        mask: Mask | None,
        caller: Caller,
        on_close: OnClose = never_closed,
        on_events: Callable[[int], None] = not_counted,
    ) -> None:
        """Serves one subscription to its end. Raises the RequestError that ends it.

        `mask` hides values from its caller for as long as the stream lasts.
        `on_close` registers how others end the stream. `on_events` is told how many events each batch has.
        """
        if self._is_draining:
            raise DrainingError
        if not self._log.is_current and not request.stop_at_tail:
            raise StoreUnavailableError("this server is behind the log; another one may not be")
        if not self._room.is_free_for(caller):
            raise OverloadedError
        with self._room.taken(caller, 1), self.tails.watch(request.account_id) as tail:
            start = await read_with_catch_up(self._log, lambda: self._begin(request, tail, caller))
            if self._is_draining:  # since the check above
                raise DrainingError
            subscription = Subscription(
                self,
                request,
                client,
                mask=mask,
                caller=caller,
                position=start.position,
                tail=tail,
                on_events=on_events,
            )
            self._running.add(subscription)
            on_close(subscription.close_for)
            try:
                with (
                    closed_at_age(self._max_age_seconds, partial(subscription.close, Closing.REASON_MAX_AGE)),
                    self.feed.serving(subscription.filter_key),
                ):
                    await subscription.run(start.predicate)
            finally:
                self._running.remove(subscription)

    @property
    def running(self) -> Collection[Subscription]:
        """Those that are open."""
        return self._running

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
        self.tails.apply(applied)

    async def _begin(self, request: v1.SubscribeEventsRequest, tail: Tail, caller: Caller) -> _Start:
        """Where to start; the tail is known from here on. Raises FilterInvalidError."""
        # First: a bad filter is refused whatever else is wrong. On a thread, as it may be large.
        predicate, bounds = await self._readers.run(
            lambda reader: (reader.predicate(request.filter), reader.bounds(request.account_id)),
            caller=caller,
        )
        if bounds is None and await self._log.catch_up():  # another node may have created it
            bounds = await self._readers.run(lambda reader: reader.bounds(request.account_id), caller=caller)
        bounds = bounds or LogBounds(0, 0, 0)
        tail.advance(bounds.last_position)
        return _Start(await self._start(request, bounds, caller), predicate)

    async def _start(self, request: v1.SubscribeEventsRequest, bounds: LogBounds, caller: Caller) -> int:
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
                accepted_ms = ceil_ms(request.start_time.ToNanoseconds())
                return await self._readers.run(
                    lambda reader: reader.position_before(bounds, accepted_ms=accepted_ms), caller=caller
                )
            case "latest":
                return bounds.last_position
            case _:
                return bounds.expired_position
