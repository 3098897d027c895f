"""A server that is told to stop says so first, and goes on for a while, until load balancers have noticed."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from engagement import v1
from tests.support.connection import ACCOUNT, Connection, connect
from tests.support.events import customer_event
from tests.support.health import statuses
from tests.support.management import ask
from tests.support.server_process import ServerProcess
from tests.support.waiting import DEADLINE_SECONDS, deadline, eventually
from tests.support.worker_processes import NEEDS_PROC, Workers, until_gone

_SECONDS = 10 * DEADLINE_SECONDS


def _server(folder: Path, workers: int, *, seconds: float) -> ServerProcess:
    options = ("--http", "127.0.0.1:0", "--workers", str(workers), "--lame-duck-seconds", str(seconds))
    return ServerProcess(folder / "data", options=options, is_command=workers > 1)


@pytest.fixture(params=[1, 2], ids=["one process", "workers"])
def patient(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServerProcess]:
    """A server that goes on longer than any deadline."""
    with _server(tmp_path, request.param, seconds=_SECONDS).start() as process:
        yield process


async def _is_stopping(connection: Connection) -> bool:
    return set((await statuses(connection.channel)).values()) == {"NOT_SERVING"}


async def _subscribe(connection: Connection) -> v1.SubscribeEventsResponse:
    """The first message of a new subscription."""
    request = v1.SubscribeEventsRequest(account_id=ACCOUNT, earliest=True)
    async with deadline("a subscription began"):
        first = await connection.events.SubscribeEvents(request).read()
    assert isinstance(first, v1.SubscribeEventsResponse)
    return first


async def test_calls_are_taken_until_a_second_signal(patient: ServerProcess) -> None:
    async with AsyncExitStack() as stack:
        # With workers, most likely one to each.
        connections = [await stack.enter_async_context(connect(patient.address)) for _ in range(8)]
        http_address = patient.http_address
        assert (await asyncio.to_thread(ask, http_address, "/readyz")).status == 200
        patient.send(signal.SIGTERM)
        for number, connection in enumerate(connections):
            await eventually(lambda each=connection: _is_stopping(each), "health says it")  # type: ignore[misc]
            result = await connection.record(customer_event(f"late-{number}"))
            assert result.outcome == v1.Outcome.OUTCOME_ACCEPTED
            assert (await _subscribe(connection)).WhichOneof("message")
        not_ready = await asyncio.to_thread(ask, http_address, "/readyz")
        assert (not_ready.status, "is stopping" in not_ready.text) == (503, True)
        assert (await asyncio.to_thread(ask, http_address, "/livez")).status == 200
        assert not patient.has_ended
        patient.send(signal.SIGINT)
        assert await asyncio.to_thread(patient.wait) == 0
    patient.start()
    async with connect(patient.address) as connection:
        assert await connection.stored_ids() == [f"late-{number}" for number in range(8)]


@pytest.mark.parametrize("workers", [1, 2])
def test_it_ends_by_itself(tmp_path: Path, workers: int) -> None:
    with _server(tmp_path, workers, seconds=0.5).start() as server:
        assert server.stop() == 0
        assert "calls are taken for 0.5 s" in server.messages


@NEEDS_PROC
async def test_a_worker_that_is_replaced_meanwhile_says_so_as_well(tmp_path: Path) -> None:
    with _server(tmp_path, 2, seconds=_SECONDS).start() as server:
        workers = Workers(server)
        server.send(signal.SIGTERM)
        await eventually(lambda: "calls are taken" in server.messages, "the server is stopping")
        killed = workers.pids
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        await until_gone(*killed)
        await eventually(lambda: workers.all_listen(2), "there are new workers")
        async with AsyncExitStack() as stack:
            for connection in (await workers.connect_to_each(stack)).values():
                assert await _is_stopping(connection)
                await connection.record(customer_event())
        server.send(signal.SIGTERM)
        assert await asyncio.to_thread(server.wait) == 0
