"""Each worker answers for the rejected events of all; one that is killed loses at most a second's."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from engagement import v1
from engagement_server.workers.counts import SEND_SECONDS
from tests.support.connection import ACCOUNT, Connection, upload_messages
from tests.support.events import bad_event, customer_event
from tests.support.refused_call import expect_refused
from tests.support.server_process import ServerProcess
from tests.support.waiting import eventually
from tests.support.worker_processes import NEEDS_PROC, Workers, until_gone

pytestmark = NEEDS_PROC
_WORKERS = 2


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    environment = {"ENGAGEMENT_WORKERS": str(_WORKERS), "PYTHONWARNINGS": "error"}
    with ServerProcess(tmp_path / "data", environment=environment).start() as process:
        yield process


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """Closes what it has entered after the test."""
    async with AsyncExitStack() as entered:
        yield entered


async def rejections(connection: Connection) -> v1.ListRejectionsResponse:
    return await connection.ingest.ListRejections(v1.ListRejectionsRequest(account_id=ACCOUNT))


async def reject(connection: Connection, number: int, *, source: str) -> None:
    for index in range(number):
        event = bad_event(f"{source}-{index}")
        event.source = source
        await expect_refused(connection.record(event))


async def test_each_worker_answers_for_all(server: ServerProcess, stack: AsyncExitStack) -> None:
    here, there = (await Workers(server).connect_to_each(stack)).values()
    await reject(here, 3, source="here")
    await reject(there, 4, source="there")
    upload = here.ingest.UploadEvents()
    for message in upload_messages("upload", [[bad_event(), customer_event("good")]]):
        await upload.write(message)
    assert [message async for message in upload][-1].finished.upload.tally == v1.Tally(accepted=1, rejected=1)
    own = await rejections(here)
    assert {each.source: each.events for each in own.counts if each.source != "there"} == {"here": 3, "": 1}

    async def agree() -> bool:
        one, other = await rejections(here), await rejections(there)
        return one == other and one.rejected_events == 8

    await eventually(agree, "both workers answer for all")
    found = await rejections(there)
    assert {each.source: each.events for each in found.counts} == {"here": 3, "there": 4, "": 1}
    assert len(found.recent) == 8
    times = [each.reject_time.ToNanoseconds() for each in found.recent]
    assert times == sorted(times, reverse=True)


async def test_a_worker_that_is_killed_loses_at_most_its_last_second(
    server: ServerProcess, stack: AsyncExitStack
) -> None:
    workers = Workers(server)
    by_pid = await workers.connect_to_each(stack)
    (victim, here), (_, there) = by_pid.items()
    loop = asyncio.get_running_loop()
    rejected_at: list[float] = []
    began = loop.time()
    while loop.time() < began + 3 * SEND_SECONDS:
        await reject(here, 1, source="here")
        rejected_at.append(loop.time())
    os.kill(victim, signal.SIGKILL)
    killed = loop.time()
    await until_gone(victim)
    counted = (await rejections(there)).rejected_events
    # What was rejected before its last message; a busy machine may send that late.
    margin = 2 * SEND_SECONDS
    assert sum(time < killed - margin for time in rejected_at) <= counted <= len(rejected_at)
    await reject(there, 2, source="there")
    await eventually(lambda: workers.all_listen(_WORKERS), "the worker is replaced")
    again = await workers.connect_to_each(stack)

    async def agree() -> bool:
        found = [await rejections(connection) for connection in again.values()]
        return {each.rejected_events for each in found} == {counted + 2}

    await eventually(agree, "the new worker answers for all, too")
