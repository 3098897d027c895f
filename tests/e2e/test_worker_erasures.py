"""An erasure at one worker is complete once no worker sends any of its events."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from engagement import EngagementClient, Uploader, v1
from tests.support.connection import ACCOUNT, Connection
from tests.support.marked_events import BYSTANDER, SUBJECT, files_with, marked_events, planted_event
from tests.support.paused_call import PausedCall
from tests.support.raw_subscription import subscribing
from tests.support.server_process import ServerProcess
from tests.support.waiting import deadline, eventually
from tests.support.worker_processes import NEEDS_PROC, Workers

pytestmark = NEEDS_PROC
_WORKERS = 2
_WINDOW_BYTES = 16 * 1024
# The kernel gives each a worker at random: all of them one and the same in one of 2,000 runs.
_PAUSED = 12


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(
        tmp_path / "data", environment={"ENGAGEMENT_WORKERS": str(_WORKERS)}
    ).start() as process:
        yield process


async def _pause(server: ServerProcess, stack: AsyncExitStack) -> list[PausedCall]:
    """Subscribers that have read as much as their windows hold."""
    request, method = subscribing(account_id=ACCOUNT), "/engagement.v1.EventService/SubscribeEvents"
    paused = [
        stack.enter_context(PausedCall(server.address, method, request, window_bytes=_WINDOW_BYTES))
        for _ in range(_PAUSED)
    ]
    for each in paused:
        assert len(await each.read_window()) == _WINDOW_BYTES
    return paused


async def _erase(connection: Connection) -> v1.Erasure:
    request = v1.EraseConsumerRequest(
        account_id=ACCOUNT, request_id="r", subjects=[v1.Subject(consumer_id=SUBJECT)]
    )
    async with deadline("the erasure was complete"):
        response = await v1.PrivacyServiceStub(connection.channel).EraseConsumer(request)
    assert response.erasure.HasField("complete_time")
    return response.erasure


async def test_no_worker_sends_an_event_after_its_erasure_at_one_of_them(server: ServerProcess) -> None:
    async with AsyncExitStack() as stack:
        first, second = (await Workers(server).connect_to_each(stack)).values()
        await first.record_batch(marked_events(300, consumer_id=SUBJECT, marker="zqmark"))
        paused = await _pause(server, stack)
        assert (await _erase(second)).erased_events == 300
        assert [await each.read_rest() for each in paused] == [b""] * _PAUSED
    assert "Traceback" not in server.messages


async def test_a_worker_that_hangs_holds_an_erasure_up_for_seconds_and_is_replaced(
    server: ServerProcess,
) -> None:
    async with AsyncExitStack() as stack:
        workers = Workers(server)
        (_, healthy), (hanging, _) = (await workers.connect_to_each(stack)).items()
        await healthy.record_batch(marked_events(300, consumer_id=SUBJECT, marker="zqmark"))
        await healthy.record_batch(marked_events(1, consumer_id=BYSTANDER, marker="xkept"))
        paused = await _pause(server, stack)
        os.kill(hanging, signal.SIGSTOP)
        assert (await _erase(healthy)).erased_events == 300
        assert [await each.read_rest() for each in paused] == [b""] * _PAUSED
        assert await healthy.stored_ids() == ["xkeptid00000"]
        await eventually(lambda: workers.all_listen(_WORKERS), "the worker is replaced")
        assert hanging not in workers.pids
    assert "killing a worker that has been silent" in server.messages


async def test_no_byte_of_accepted_and_rejected_events_is_left_while_it_runs_and_after(
    server: ServerProcess,
) -> None:
    marker = "zqmark"
    async with EngagementClient(server.address, account_id=ACCOUNT) as client:
        good = marked_events(50, consumer_id=f"{marker}@example.com", marker=marker)
        bad = [planted_event(f"{number}", marker) for number in range(50)]
        await Uploader(client).upload(
            [*good, *bad, *marked_events(50, consumer_id=BYSTANDER, marker="xkept")]
        )
        assert files_with(server.data_dir, marker)
        erased = await client.erase_consumer(
            consumer_id=f"{marker}@example.com", customer_id=f"{marker}-customer", suppress=True
        )
        assert (erased.erased_events, erased.cleared_rejections) == (50, 50)
        assert files_with(server.data_dir, marker) == {}
        again = await Uploader(client).upload([*good, *bad])
        assert again.tally == v1.Tally(duplicate=50, suppressed=50)
        assert files_with(server.data_dir, marker) == {}
    server.stop()
    assert files_with(server.data_dir, marker) == {}
