"""An erasure that is interrupted at any moment is completed by the next server, and nothing is left."""

from __future__ import annotations

import asyncio
import os
import time
from random import Random

import pytest

from engagement import EngagementClient, EngagementError, v1
from tests.support.marked_events import BYSTANDER, SUBJECT, files_with, interleaved, marked_events
from tests.support.server_process import ServerProcess
from tests.support.waiting import DEADLINE_SECONDS, deadline, eventually

MARKER = "zqmark"
EVENTS = 2_000
_INTERRUPTIONS = 6
pytestmark = pytest.mark.timeout(4 * DEADLINE_SECONDS)
_LONGEST_LIFE_SECONDS = 0.5


async def fill(process: ServerProcess) -> list[v1.Event]:
    """Stores events of the subject among others; returns the others."""
    kept = marked_events(EVENTS, consumer_id=BYSTANDER, marker="kept")
    events = list(interleaved(marked_events(EVENTS, consumer_id=SUBJECT, marker=MARKER), kept))
    async with EngagementClient(process.address, account_id="acme") as client:
        for start in range(0, len(events), 500):
            await client.record_events(events[start : start + 500])
    return kept


async def erase_until_interrupted(process: ServerProcess, *, life_seconds: float, is_killed: bool) -> None:
    async with EngagementClient(process.address, account_id="acme") as client:
        call = asyncio.create_task(client.erase_consumer(consumer_id=SUBJECT, request_id="ticket"))

        async def has_begun() -> bool:
            return call.done() or bool([each async for each in client.list_erasures()])

        await eventually(has_begun, "the erasure began")
        # The moment itself is under test; no condition can replace it.
        await asyncio.sleep(life_seconds)
        if is_killed:
            process.kill()
        else:
            assert await asyncio.to_thread(process.stop) == 0
        call.cancel()
        await asyncio.wait([call])


async def completed(process: ServerProcess) -> v1.Erasure:
    async with (
        deadline("the erasure was completed"),
        EngagementClient(process.address, account_id="acme") as client,
    ):
        while True:
            try:
                (erasure,) = [each async for each in client.list_erasures()]
            except EngagementError:
                continue
            if erasure.HasField("complete_time"):
                return erasure
            await asyncio.sleep(0.02)  # what happens in another process sets no event here


async def test_an_erasure_that_is_interrupted_again_and_again_is_completed(
    server_process: ServerProcess,
) -> None:
    seed = os.environ.get("CRASH_SEED") or str(time.time_ns())
    print(f"CRASH_SEED={seed}")
    chance = Random(seed)
    kept = await fill(server_process)
    for number in range(_INTERRUPTIONS):
        life_seconds = _LONGEST_LIFE_SECONDS * chance.random() ** 2
        await erase_until_interrupted(server_process, life_seconds=life_seconds, is_killed=number % 3 != 2)
        server_process.start()
    erasure = await completed(server_process)
    assert erasure.erased_events == EVENTS
    assert [files_with(server_process.data_dir, trace) for trace in (MARKER, SUBJECT)] == [{}, {}]
    async with EngagementClient(server_process.address, account_id="acme") as client:
        listed = [stored.event async for stored in client.list_events()]
    assert [event.event_id for event in listed] == [event.event_id for event in kept]
