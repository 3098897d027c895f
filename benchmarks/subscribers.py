"""Subscribers in their own process: fast ones, slow ones, and some that stop reading.

Usage: python -m benchmarks.subscribers ADDRESS EVENTS. Prints `ready` when all wait for new events, and
`done` when every fast one has received EVENTS; fails if one received them in a different order.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
from typing import Final

import grpc
import uvloop

from benchmarks.load import ACCOUNT_ID
from engagement import v1

FAST: Final = 150
SLOW: Final = 30
STOPPED: Final = 20
_SLOW_PAUSE_SECONDS: Final = 0.05
# Each subscriber has a connection, as one of another machine would.
_OWN_CONNECTION: Final = (("grpc.use_local_subchannel_pool", 1),)


class Subscriber:
    """One subscription over one connection."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.aio.insecure_channel(address, options=_OWN_CONNECTION)
        request = v1.SubscribeEventsRequest(account_id=ACCOUNT_ID, latest=True)
        self._call = v1.EventServiceStub(self._channel).SubscribeEvents(request)

    async def wait_until_caught_up(self) -> None:
        """Reads until everything that follows is new."""
        while not (await self._read()).HasField("caught_up"):
            pass

    async def read_events(self, count: int, *, pause_seconds: float = 0.0) -> bytes:
        """Reads so many events; a hash of their ids in the order in which they came."""
        digest = hashlib.blake2b()
        received = 0
        while received < count:
            message = await self._read()
            for stored in message.batch.events:
                digest.update(stored.event.event_id.encode())
            received += len(message.batch.events)
            if pause_seconds:
                await asyncio.sleep(pause_seconds)
        if received > count:
            raise RuntimeError(f"got {received} events where {count} were sent")
        return digest.digest()

    async def _read(self) -> v1.SubscribeEventsResponse:
        message = await self._call.read()
        if not isinstance(message, v1.SubscribeEventsResponse):
            raise TypeError(f"the stream ended: {await self._call.details()}")
        return message


async def _run(address: str, events: int) -> None:
    subscribers = [Subscriber(address) for _ in range(FAST + SLOW + STOPPED)]
    for subscriber in subscribers:
        await subscriber.wait_until_caught_up()
    print("ready", flush=True)
    slow = [
        asyncio.create_task(subscriber.read_events(events, pause_seconds=_SLOW_PAUSE_SECONDS))
        for subscriber in subscribers[FAST : FAST + SLOW]
    ]
    orders = await asyncio.gather(*(each.read_events(events) for each in subscribers[:FAST]))
    if len(set(orders)) != 1:
        raise RuntimeError("subscribers got the events in different orders")
    print("done", flush=True)
    await asyncio.gather(*slow)


if __name__ == "__main__":
    uvloop.run(_run(sys.argv[1], int(sys.argv[2])))
