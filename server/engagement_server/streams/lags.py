"""How far the open subscriptions of a partition are behind the logs of their accounts."""

from __future__ import annotations

import asyncio
import heapq
from typing import TYPE_CHECKING, Final, NamedTuple

from engagement_server.clock import now_ms
from engagement_server.errors import RequestError
from engagement_server.store.readers import INTERNAL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engagement_server.store.reader import Reader
    from engagement_server.store.readers import Readers
    from engagement_server.streams.subscription import Subscription
    from engagement_server.streams.subscriptions import Subscriptions

MAX_LAGS: Final = 20
"""Limit on the subscriptions whose lags are told one by one."""
_READ_SECONDS: Final = 1.0
"""How long the store may take to say when events were accepted."""


class Lag(NamedTuple):
    """How far one subscription is behind."""

    account_id: str
    start_ms: int
    """When its stream was opened, in epoch milliseconds."""
    events: int
    """Events of the account that it has neither been sent nor passed by."""
    age_ms: int
    """Age of the oldest of them, counted from acceptance; 0 if there is none, or if it is not known."""


class Lags(NamedTuple):
    """How far all subscriptions are behind."""

    open_subscriptions: int
    slowest: Sequence[Lag]
    """Those that are furthest behind, the slowest first: at most `MAX_LAGS`."""


class SubscriptionLags:
    """Reads the lags of a partition; lives on the event loop.

    Each reading looks at all subscriptions, in about a microsecond each, and at one key of the store for each
    of the slowest.
    """

    def __init__(self, subscriptions: Subscriptions, readers: Readers) -> None:
        self._subscriptions = subscriptions
        self._readers = readers
        self._accepted_ms: dict[Subscription, int] = {}
        """When the oldest unsent event was accepted, of the subscriptions that were slowest last."""

    async def read(self) -> Lags:
        """The lags as they are now. If the store does not answer soon, ages count from what it said last."""
        running = self._subscriptions.running
        # Numbered, since subscriptions have no order.
        lags = [(each.unsent_events, -each.start_ms, number, each) for number, each in enumerate(running)]
        slowest = heapq.nlargest(MAX_LAGS, lags)
        behind = [subscription for events, _, _, subscription in slowest if events]
        self._accepted_ms = await self._read_accepted(behind) if behind else {}
        clock_ms = now_ms()
        return Lags(
            len(running),
            [
                Lag(
                    subscription.account_id,
                    subscription.start_ms,
                    events,
                    max(0, clock_ms - self._accepted_ms.get(subscription, clock_ms)),
                )
                for events, _, _, subscription in slowest
            ],
        )

    async def _read_accepted(self, behind: Sequence[Subscription]) -> dict[Subscription, int]:
        ranges = [subscription.unsent_range for subscription in behind]

        def read(reader: Reader) -> list[int | None]:
            return [reader.receive_times.first_accepted_ms(*each) for each in ranges]

        try:
            async with asyncio.timeout(_READ_SECONDS):
                found = await self._readers.run(read, caller=INTERNAL)
        except (RequestError, TimeoutError, RuntimeError):  # overloaded, damaged or closed
            return {each: self._accepted_ms[each] for each in behind if each in self._accepted_ms}
        return {each: ms for each, ms in zip(behind, found, strict=True) if ms is not None}
