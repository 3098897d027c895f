"""One subscription at the level of the contract's messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from engagement import v1
from tests.support.waiting import deadline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engagement.v1.event_service_pb2_grpc import EventServiceAsyncStub

Request = v1.SubscribeEventsRequest
Response = v1.SubscribeEventsResponse


def subscribing(
    *,
    account_id: str = "acme",
    after_cursor: str | None = None,
    latest: bool = False,
    wanted: v1.EventFilter | None = None,
    stop_at_tail: bool = False,
    max_batch_events: int = 0,
) -> Request:
    """A request that starts after a cursor, with the next event or, by default, with the earliest."""
    request = Request(
        account_id=account_id,
        filter=wanted,
        stop_at_tail=stop_at_tail,
        max_batch_events=max_batch_events,
    )
    if after_cursor is not None:
        request.after_cursor = after_cursor
    elif latest:
        request.latest = True
    else:
        request.earliest = True
    return request


class RawSubscription:
    """Reads the messages of one stream, each within a deadline."""

    def __init__(
        self, events: EventServiceAsyncStub, request: Request, *, metadata: Sequence[tuple[str, str]] = ()
    ) -> None:
        self.call = events.SubscribeEvents(request, metadata=metadata)

    async def read(self) -> Response:
        """The next message; fails at the end of the stream."""
        async with deadline("a message of the subscription came"):
            message = await self.call.read()
        assert isinstance(message, Response), f"the stream ended: {await self.call.code()}"
        return message

    async def read_until(self, *kinds: str) -> list[Response]:
        """All messages up to and with the first of some kinds."""
        messages = [await self.read()]
        while messages[-1].WhichOneof("message") not in kinds:
            messages.append(await self.read())
        return messages

    async def read_ids(self, count: int) -> list[str]:
        """The ids of the next events."""
        found: list[str] = []
        while len(found) < count:
            found += ids([await self.read()])
        return found

    async def rest(self) -> list[Response]:
        """All messages up to the end of the stream, which must be OK."""
        messages: list[Response] = []
        async with deadline("the subscription ended"):
            while isinstance(message := await self.call.read(), Response):
                messages.append(message)
        assert await self.call.code() is grpc.StatusCode.OK
        return messages


def kinds(messages: list[Response]) -> list[str]:
    """The kind of each message."""
    return [message.WhichOneof("message") or "" for message in messages]


def ids(messages: list[Response]) -> list[str]:
    """The ids of all events in some messages."""
    return [stored.event.event_id for message in messages for stored in message.batch.events]
