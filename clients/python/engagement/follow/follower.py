"""Follows the events of an account across lost connections and restarts of the server."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from engagement import v1
from engagement.errors import EngagementError, OnDamage
from engagement.follow.stream import FollowStream, Subscribe
from engagement.retry import OnConnected, OnReconnect, Outage, keeping_cancellation

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from types import TracebackType

OnErasure = Callable[[v1.SubscribeEventsResponse.ErasureNotice], Awaitable[None] | None]


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Consecutive events."""

    events: Sequence[v1.StoredEvent]
    cursor: str
    """Covers these events and everything before them."""


class Follower:
    """Delivers the events that match a filter, in the order of acceptance, as soon as they are accepted.

    `EngagementClient.follow` creates it. Iterate over it for single events, or over `batches` for bulk;
    each continues where the other stopped. There is no gap and no repeat, whatever happens to the
    connection or the server. A wait that ends early, by cancellation or an error, loses nothing: the next
    one continues after `cursor`.

    Memory holds one batch. The stream is read only when an event is requested, and a slow reader delays
    no other. Only one task at a time may iterate.
    """

    def __init__(  # noqa: PLR0913 - all but the first two are named at the call
        self,
        subscribe: Subscribe,
        request: v1.SubscribeEventsRequest,
        *,
        silence_seconds: float,
        on_erasure: OnErasure | None = None,
        on_reconnect: OnReconnect | None = None,
        on_connected: OnConnected | None = None,
        on_damage: OnDamage | None = None,
        max_outage_seconds: float = 300.0,
        is_token_renewable: bool = False,
    ) -> None:
        """Starts where the request says; `subscribe` opens a stream.

        `silence_seconds` is how long to wait for the first message of a stream; the server sets the limit
        for later ones. `on_erasure` is called, and awaited if it is asynchronous, between the events before
        and after the erasure; an exception from it comes out of the iteration, and the notice is repeated.
        `on_reconnect` is called with the error that ended a connection, or that kept one from starting;
        `on_connected` each time that the server has accepted the subscription. `on_damage` is called with
        the error of damaged events, which are then left out; without it, the iteration raises that error.
        `max_outage_seconds` is how long to keep reconnecting without progress. With `is_token_renewable` it
        reconnects after the expiry of a token, too.
        """
        self._subscribe = subscribe
        self._silence_seconds = silence_seconds
        self._request = request
        self._on_erasure = on_erasure
        self._on_reconnect = on_reconnect
        self._on_connected = on_connected
        self._on_damage = on_damage
        self._outage = Outage(max_seconds=max_outage_seconds, is_token_renewable=is_token_renewable)
        self._stream: FollowStream | None = None
        self._cursor = request.after_cursor
        # In reverse order, so that a delivered event can be popped and freed.
        self._held: list[v1.StoredEvent] = []
        self._held_cursor = ""
        self._lag_events = 0
        self._is_caught_up = False
        self._has_ended = False

    @property
    def cursor(self) -> str:
        """Covers exactly the delivered events, and those around them that do not match the filter.

        Store it after handling an event, and restart with it as `after_cursor`: no event is missed, and
        only those after the stored cursor are repeated. It advances even if no event matches. Empty until
        the server has accepted the subscription.
        """
        return self._cursor

    @property
    def is_caught_up(self) -> bool:
        """Whether every stored event has been delivered; false while disconnected."""
        return self._is_caught_up and not self._held

    @property
    def lag_events(self) -> int:
        """How many stored events were after the cursor at the last report of the server.

        Events delivered since then are subtracted. Events that do not match the filter are included.
        """
        return self._lag_events + len(self._held)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the call and the iteration; `cursor` stays valid."""
        self._has_ended = True
        self._held.clear()
        self._disconnect()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> v1.StoredEvent:
        """The next event.

        Raises PreconditionError if the cursor is older than the retention or belongs to another log,
        InvalidArgumentError if the cursor or the filter is invalid, the error behind an outage that lasts
        too long, and any other EngagementError at once.
        """
        if not self._held and not await self._load():
            raise StopAsyncIteration
        event = self._held.pop()
        self._cursor = event.cursor if self._held else self._held_cursor
        return event

    async def batches(self) -> AsyncGenerator[EventBatch, None]:
        """The events in batches, as the server sends them, each with the cursor that covers it.

        Much faster than single events. Raises the same errors as the iteration over single events.
        """
        while self._held or await self._load():
            events = self._held[::-1]
            self._held.clear()
            self._cursor = self._held_cursor
            yield EventBatch(events, self._cursor)

    async def _load(self) -> bool:
        """Loads the next batch; false at the end of the stream."""
        try:
            while (message := await self._receive()) is not None:
                if message.HasField("batch"):
                    self._held = list(reversed(message.batch.events))
                    self._held_cursor = message.cursor
                    self._lag_events = max(0, self._lag_events - len(self._held))
                    self._outage.end()
                    return True
                await self._apply(message)
        except BaseException:
            # A message that was read but not applied is delivered again.
            self._disconnect()
            raise
        self._disconnect()
        return False

    async def _receive(self) -> v1.SubscribeEventsResponse | None:
        """The next message, over as many connections as it takes; None at the end."""
        while not self._has_ended:
            try:
                with keeping_cancellation():
                    if self._stream is None:
                        self._stream = await self._connect()
                    message = await self._stream.read()
            except EngagementError as error:
                if not self._pass_over(error):
                    await self._await_reconnect(error)
                continue
            self._has_ended = message is None
            return message
        return None

    async def _apply(self, message: v1.SubscribeEventsResponse) -> None:
        """Applies a message without events."""
        match message.WhichOneof("message"):
            case "started":
                self._lag_events = message.started.lag_events
                if self._on_connected is not None:
                    self._on_connected()
            case "caught_up":
                self._is_caught_up = True
                self._lag_events = 0
            case "fell_behind":
                self._is_caught_up = False
                self._lag_events = message.fell_behind.lag_events
            case "progress":
                self._lag_events = message.progress.lag_events
            case "erasure_notice" if self._on_erasure is not None:
                pending = self._on_erasure(message.erasure_notice)
                if inspect.isawaitable(pending):
                    await pending
        self._cursor = message.cursor
        if not message.HasField("started") and not message.HasField("closing"):
            self._outage.end()

    def _pass_over(self, error: EngagementError) -> bool:
        """Goes on behind damaged events if that is what ended the stream, and wanted."""
        behind = error.metadata.get("resumeCursor")
        if self._on_damage is None or behind is None:
            return False
        self._disconnect()
        self._on_damage(error)
        self._cursor = behind
        return True

    async def _await_reconnect(self, error: EngagementError) -> None:
        """Waits until the next connection is due. Raises the error if another connection cannot help."""
        self._disconnect()
        delay_seconds = self._outage.delay_after(error)
        if self._on_reconnect is not None:
            self._on_reconnect(error)
        await asyncio.sleep(delay_seconds)

    async def _connect(self) -> FollowStream:
        request = v1.SubscribeEventsRequest()
        request.CopyFrom(self._request)
        if self._cursor:
            request.after_cursor = self._cursor
        return FollowStream(
            await self._subscribe(request),
            stops_at_tail=request.stop_at_tail,
            silence_seconds=self._silence_seconds,
        )

    def _disconnect(self) -> None:
        self._is_caught_up = False
        if self._stream is not None:
            self._stream.close()
            self._stream = None
