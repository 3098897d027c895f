"""Follows the events of an account up to a time of their acceptance."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from engagement.client import EngagementClient
from engagement.errors import EngagementError
from engagement.follow import EventBatch, Follower

_MIN_WAIT_SECONDS = 0.5
_MAX_WAIT_SECONDS = 30.0


async def batches_until(
    client: EngagementClient,
    follower: Follower,
    until: Timestamp,
    *,
    finish: Callable[[str | None], Follower],
) -> AsyncGenerator[EventBatch, None]:
    """The batches of a follower until the server knows all events accepted before a time.

    `finish` follows from a cursor, or from the start, to what is stored by then. The last batches may hold
    later events.
    """
    reached = asyncio.ensure_future(_reached(client, until))
    batches = follower.batches()
    try:
        while True:
            waiting = asyncio.ensure_future(anext(batches, None))
            await asyncio.wait([waiting, reached], return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                waiting.cancel()
                await asyncio.wait([waiting])
                break
            batch = waiting.result()
            if batch is None:
                return
            yield batch
    finally:
        reached.cancel()
        await follower.close()
    async for batch in finish(follower.cursor or None).batches():
        yield batch


async def _reached(client: EngagementClient, until: Timestamp) -> None:
    """Returns once a server has all events accepted before a time, by its own clock."""
    while True:
        try:
            info = await client.get_server_info()
        except EngagementError:  # the follower says what is wrong, and for how long it goes on
            await asyncio.sleep(_MIN_WAIT_SECONDS)
            continue
        partitions = info.partitions
        times = [each.view_time for each in partitions if each.HasField("view_time")]
        if times and len(times) == len(partitions) and min(map(_time, times)) >= _time(until):
            return
        left_seconds = (_time(until) - min(map(_time, times), default=_time(until))).total_seconds()
        await asyncio.sleep(min(max(left_seconds, _MIN_WAIT_SECONDS), _MAX_WAIT_SECONDS))


def _time(timestamp: Timestamp) -> datetime:
    return timestamp.ToDatetime(UTC)
