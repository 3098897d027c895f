"""A source that never ends, and the wait until the server has what it gave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from engagement import EngagementClient, NotFoundError, v1
from tests.support.waiting import eventually


async def endless(first: v1.Event) -> AsyncIterator[v1.Event]:
    """A source that gives one event and then waits for ever."""
    yield first
    await asyncio.Event().wait()


async def wait_until_stored(client: EngagementClient, event_id: str) -> None:
    async def is_stored() -> bool:
        try:
            await client.get_event(event_id=event_id)
        except NotFoundError:
            return False
        return True

    await eventually(is_stored, f"{event_id} is stored")
