"""The traffic of the demo: producers that keep the rules and some that do not, readers, and an operator."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from benchmarks.events import EventSource
from engagement import EngagementClient, EngagementError, Uploader, v1

ACCOUNT: Final = "demo"
_SHOP, _APP, _LEGACY = "web-shop", "mobile-app", "legacy-import"
_SINGLES_SECONDS: Final = 0.05
_READS_SECONDS: Final = 0.5
_BAD_SECONDS: Final = 1.0
_REFUSED_SECONDS: Final = 1.0
_UPLOAD_SECONDS: Final = 4.0
_ERASURE_SECONDS: Final = 10.0
_UPLOAD_EVENTS: Final = 2_000
_BAD_EVERY: Final = 100
_SLOW_EVENTS: Final = 50
"""Events that the slow follower reads a second."""


class Traffic:
    """Everybody who talks to the server of a demo, each with a connection of their own."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._source = EventSource()
        self._random = random.Random(1)
        self._last = v1.Event()

    async def run(self) -> None:
        """Goes on until it is cancelled."""
        async with contextlib.AsyncExitStack() as ending, asyncio.TaskGroup() as everybody:

            async def client() -> EngagementClient:
                return await ending.enter_async_context(EngagementClient(self._address, account_id=ACCOUNT))

            for seconds, act in (
                (_SINGLES_SECONDS, self._record),
                (_READS_SECONDS, self._read),
                (_BAD_SECONDS, self._record_bad),
                (_REFUSED_SECONDS, self._ask_in_vain),
                (_UPLOAD_SECONDS, self._upload),
                (_ERASURE_SECONDS, self._erase),
            ):
                everybody.create_task(_repeat(act, await client(), seconds=seconds))
            everybody.create_task(_follow(await client(), pause_seconds=0.0))
            everybody.create_task(_follow(await client(), pause_seconds=1.0))

    async def _record(self, client: EngagementClient) -> None:
        """The app records events one by one, and one in twenty again."""
        again = self._random.random() < 0.05 and self._last.event_id
        if not again:
            (self._last,) = self._source.take(1)
            self._last.source = _APP
        await client.record_event(self._last)

    async def _read(self, client: EngagementClient) -> None:
        await client.get_server_info()
        async for stored in client.list_events(newest_first=True, page_size=20):
            await client.get_event(event_id=stored.event.event_id)
            await client.get_profile(consumer_id=stored.event.consumer_id)
            break

    async def _record_bad(self, client: EngagementClient) -> None:
        """An old program sends a month 13 and a NUL character, beside an event that is right."""
        good, month, character = self._source.take(3)
        for event in (good, month, character):
            event.source = _LEGACY
        month.customer_info.last_payment_date.CopyFrom(v1.Date(year=2014, month=13, day=1))
        character.customer_info.customer_status = "\0"
        await client.record_events([good, month, character], allow_partial=True)

    async def _ask_in_vain(self, client: EngagementClient) -> None:
        with contextlib.suppress(EngagementError):
            await client.get_event(event_id="nothing-has-this-id")
        bad = v1.Event(event_id="x" * 1000, source=_LEGACY)
        await client.record_event(bad)

    async def _upload(self, client: EngagementClient) -> None:
        async def events() -> AsyncIterator[v1.Event]:
            for number, event in enumerate(self._source.take(_UPLOAD_EVENTS)):
                event.source = _SHOP
                if number % _BAD_EVERY == 0:
                    event.customer_info.last_payment_date.CopyFrom(v1.Date(year=2014, month=2, day=30))
                yield event

        await Uploader(client).upload(events())

    async def _erase(self, client: EngagementClient) -> None:
        """Somebody is erased and kept out, and a producer that does not know goes on."""
        (event,) = self._source.take(1)
        await client.record_event(event)
        await client.erase_consumer(consumer_id=event.consumer_id, suppress=True)
        (later,) = self._source.take(1)
        later.consumer_id = event.consumer_id
        await client.record_event(later)


async def _repeat(
    act: Callable[[EngagementClient], Awaitable[None]], client: EngagementClient, *, seconds: float
) -> None:
    while True:
        with contextlib.suppress(EngagementError):  # some are meant to fail, and a server may be restarted
            await act(client)
        await asyncio.sleep(seconds)


async def _follow(client: EngagementClient, *, pause_seconds: float) -> None:
    """Follows from the first event on; one that pauses falls behind."""
    while True:
        with contextlib.suppress(EngagementError):  # what the slow one had yet to read has expired
            follower = client.follow(earliest=True, max_batch_events=_SLOW_EVENTS if pause_seconds else 0)
            async for _ in follower.batches():
                await asyncio.sleep(pause_seconds)
        await asyncio.sleep(1.0)
