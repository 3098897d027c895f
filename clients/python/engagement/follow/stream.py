"""One connection of a follower: reads what the server says, and tells an end from a loss."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from engagement import v1
from engagement.errors import UnavailableError, typed_errors

if TYPE_CHECKING:
    from engagement.client import EngagementClient


class FollowStream:
    """One stream of SubscribeEvents. It is read a message at a time, never ahead of who asks."""

    def __init__(self, client: EngagementClient, request: v1.SubscribeEventsRequest) -> None:
        self._call = client.subscribe_events(request)
        self._stops_at_tail = request.stop_at_tail
        self._silence_seconds = client.timeout_seconds
        self._reconnect_delay_seconds: float | None = None
        self._is_closing = False

    async def read(self) -> v1.SubscribeEventsResponse | None:
        """The next message; None behind the last one where the stream was to stop at the tail.

        Raises EngagementError, which is an UnavailableError where the server closes the stream or is
        silent for two of its intervals.
        """
        message = await self._read()
        if message is None:
            if self._stops_at_tail and not self._is_closing:
                return None
            raise UnavailableError(
                "the server closed the stream", retry_delay_seconds=self._reconnect_delay_seconds
            )
        match message.WhichOneof("message"):
            case "started":
                interval = message.started.heartbeat_interval.ToTimedelta().total_seconds()
                self._silence_seconds = 2 * interval or self._silence_seconds
            case "closing":
                self._is_closing = True
                self._reconnect_delay_seconds = message.closing.reconnect_delay.ToTimedelta().total_seconds()
        return message

    async def _read(self) -> v1.SubscribeEventsResponse | None:
        try:
            with typed_errors():
                async with asyncio.timeout(self._silence_seconds):
                    message = await self._call.read()
        except TimeoutError:
            raise UnavailableError(
                f"no message from the server for {self._silence_seconds:g} seconds"
            ) from None
        return message if isinstance(message, v1.SubscribeEventsResponse) else None

    def close(self) -> None:
        """Ends the call; the server stops sending."""
        self._call.cancel()
