"""Following while the server or the follower is killed again and again: no gap, and no repeat.

FOLLOW_KILLS is how often each of them is killed; FOLLOW_SEED repeats a run.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest

from engagement import EngagementClient, UnavailableError, v1
from tests.support.child_process import ChildProcess
from tests.support.events import customer_events
from tests.support.server_process import ServerProcess
from tests.support.waiting import DEADLINE_SECONDS, eventually, wait_until

_KILLS = int(os.environ.get("FOLLOW_KILLS", "4"))
_LONGEST_LIFE_SECONDS = 0.3
_MAX_EVENTS_A_KILL = 50_000

pytestmark = pytest.mark.timeout(2 * DEADLINE_SECONDS + 30 * _KILLS)


@pytest.fixture
def chance() -> Random:
    """Randomness that FOLLOW_SEED repeats."""
    seed = os.environ.get("FOLLOW_SEED") or str(time.time_ns())
    print(f"FOLLOW_SEED={seed}")
    return Random(seed)


class Producer:
    """Records events in calls of different sizes; repeats calls without an answer."""

    def __init__(self, client: EngagementClient, chance: Random) -> None:
        self._client = client
        self._chance = chance
        self.recorded = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Records while the context is open; at its end everything is answered."""
        is_over = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._run(is_over))
            yield
            is_over.set()

    async def _run(self, is_over: asyncio.Event) -> None:
        while not is_over.is_set():
            assert self.recorded < _KILLS * _MAX_EVENTS_A_KILL, "nothing ended the producer"
            events = customer_events(self._chance.choice([1, 5, 40]), start=self.recorded)
            await self._record(events)
            self.recorded += len(events)

    async def _record(self, events: list[v1.Event]) -> None:
        while True:
            try:
                await self._client.record_events(events)
            except UnavailableError:
                await asyncio.sleep(0.05)
            else:
                return


async def _stored_cursors(client: EngagementClient) -> list[str]:
    return [stored.cursor async for stored in client.list_events(read_mask=["cursor"])]


async def test_kills_of_the_server_leave_no_gap_and_no_repeat_for_its_followers(
    server_process: ServerProcess, chance: Random
) -> None:
    handed_out: list[str] = []

    async def follow(client: EngagementClient) -> None:
        async with client.follow(earliest=True) as follower:
            async for stored in follower:
                handed_out.append(stored.cursor)

    async with (
        EngagementClient(server_process.address, account_id="acme") as client,
        EngagementClient(server_process.address, account_id="acme") as producing,
    ):
        producer = Producer(producing, chance)
        following = asyncio.create_task(follow(client))
        async with producer.running():
            for _ in range(_KILLS):
                seen = len(handed_out)
                await eventually(lambda: len(handed_out) > seen, "an event comes")  # noqa: B023 - called at once
                # The moment itself is under test; no condition can replace it.
                await asyncio.sleep(chance.uniform(0, _LONGEST_LIFE_SECONDS))
                server_process.kill()
                await asyncio.to_thread(server_process.start)
        stored = await _stored_cursors(producing)
        await eventually(lambda: len(handed_out) >= len(stored), "all events came")
        following.cancel()
    assert len(stored) == producer.recorded
    assert handed_out == stored


async def test_kills_of_a_follower_repeat_only_what_came_behind_its_stored_cursor(
    server_process: ServerProcess, tmp_path: Path, chance: Random
) -> None:
    runs: list[list[str]] = []
    async with EngagementClient(server_process.address, account_id="acme") as client:
        producer = Producer(client, chance)
        async with producer.running():
            for _ in range(_KILLS):
                life_seconds = chance.uniform(0, _LONGEST_LIFE_SECONDS)
                run = asyncio.to_thread(
                    _follow_until_killed, server_process.address, tmp_path, life_seconds=life_seconds
                )
                runs.append(await run)
        stored = await _stored_cursors(client)
    positions = {cursor: number for number, cursor in enumerate(stored)} | {"": -1}
    for behind, *seen in runs:
        first = positions[behind] + 1
        assert seen == stored[first : first + len(seen)]
    for (_, *seen), (behind, *_) in itertools.pairwise(runs):
        # The next run starts where this one stored its cursor last: at its end, or a little before.
        assert seen
        assert 0 <= positions[seen[-1]] - positions[behind] <= 7


def _follow_until_killed(server: str, folder: Path, *, life_seconds: float) -> list[str]:
    """The cursors of one run; the first is where it resumed."""
    command = (sys.executable, "-m", "tests.support.following", server, folder)
    with ChildProcess(*command, output=folder / "following") as process:
        process.launch()
        wait_until(lambda: process.has_ended or process.output.count(b"\n") >= 20, "it follows 20 events")
        assert not process.has_ended, process.messages
        # The moment itself is under test; no condition can replace it.
        time.sleep(life_seconds)
    *lines, _torn = process.output.decode().split("\n")
    return lines
