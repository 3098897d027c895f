"""Live followers in their own process, each over a connection of its own.

Usage: python -m benchmarks.followers ADDRESS COUNT. One follower gets every event; of several, each gets
those of one consumer. Prints `ready` when all wait for new events, and reads until it is ended.
"""

from __future__ import annotations

import asyncio
import sys

import grpc
import uvloop

from benchmarks.load import ACCOUNT_ID
from engagement import v1

_OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1),)


def consumer_of(follower: int) -> str:
    """The consumer whose events one of several followers gets."""
    return f"consumer-{follower}"


class Follower:
    """A subscription to what is new."""

    def __init__(self, channel: grpc.aio.Channel, wanted: v1.EventFilter) -> None:
        request = v1.SubscribeEventsRequest(account_id=ACCOUNT_ID, latest=True, filter=wanted)
        self._call = v1.EventServiceStub(channel).SubscribeEvents(request)

    async def wait_until_caught_up(self) -> None:
        """Reads until everything that follows is new."""
        while not (await self._read()).HasField("caught_up"):
            pass

    async def read_batch(self) -> None:
        """Reads the next events."""
        while not (await self._read()).HasField("batch"):
            pass

    def cancel(self) -> None:
        """Ends the subscription."""
        self._call.cancel()

    async def _read(self) -> v1.SubscribeEventsResponse:
        message = await self._call.read()
        if not isinstance(message, v1.SubscribeEventsResponse):
            raise TypeError(f"the stream ended: {await self._call.details()}")
        return message


async def _run(address: str, count: int) -> None:
    followers = []
    for number in range(count):
        wanted = v1.EventFilter(consumer_ids=[consumer_of(number)] if count > 1 else [])
        channel = grpc.aio.insecure_channel(address, options=_OWN_CONNECTION)
        followers.append(Follower(channel, wanted))
    for follower in followers:
        await follower.wait_until_caught_up()
    print('"ready"', flush=True)
    await asyncio.gather(*map(_follow, followers))


async def _follow(follower: Follower) -> None:
    while True:
        await follower.read_batch()


if __name__ == "__main__":
    uvloop.run(_run(sys.argv[1], int(sys.argv[2])))
