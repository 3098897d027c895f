"""One connection of a follower: reads its messages, and tells its end from its loss."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import grpc

from engagement import v1
from engagement.errors import EngagementError, UnavailableError, is_expired_token, typed_errors
from engagement.streams import OpenStream

# Text, because the library's classes take type arguments only in its stubs.
SubscribeCall: TypeAlias = "grpc.aio.UnaryStreamCall[v1.SubscribeEventsRequest, v1.SubscribeEventsResponse]"
Subscribe: TypeAlias = Callable[[v1.SubscribeEventsRequest], Awaitable[OpenStream[SubscribeCall]]]
_Closing = v1.SubscribeEventsResponse.Closing


class FollowStream:
    """One SubscribeEvents stream, read one message at a time and never ahead of the reader."""

    def __init__(
        self, opened: OpenStream[SubscribeCall], *, stops_at_tail: bool, silence_seconds: float
    ) -> None:
        """`silence_seconds` applies until the server has announced its heartbeat interval."""
        self._call = opened.call
        self._discard_token = opened.discard_token
        self._stops_at_tail = stops_at_tail
        self._silence_seconds = silence_seconds
        self._reconnect_delay_seconds: float | None = None
        self._is_closing = False

    async def read(self) -> v1.SubscribeEventsResponse | None:
        """The next message; None after the last one of a stream that stops at the tail.

        Raises EngagementError: an UnavailableError if the server closes the stream or is silent for two
        heartbeat intervals.
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
                if message.closing.reason == _Closing.REASON_UNAUTHENTICATED:
                    self._discard_token()
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
        except EngagementError as error:
            if is_expired_token(error):
                self._discard_token()
            raise
        return message if isinstance(message, v1.SubscribeEventsResponse) else None

    def close(self) -> None:
        """Ends the call; the server stops sending."""
        self._call.cancel()
