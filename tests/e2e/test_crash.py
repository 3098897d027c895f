"""A server that is killed at any moment loses nothing that it acknowledged, and stores nothing twice."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from random import Random

import grpc
import pytest

from engagement import v1
from tests.support.cli_process import Cli, event_line, feed
from tests.support.connection import Connection, connect
from tests.support.events import customer_event, customer_events
from tests.support.ledger import Ledger
from tests.support.producers import Caller, Producer, UploadStream, run_until_unavailable
from tests.support.server_process import ServerProcess
from tests.support.store_file import open_store
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import DEADLINE_SECONDS, deadline, eventually

_KILLS = 25
_KILLED_STARTS = 4
_LONGEST_LIFE_SECONDS = 0.2
pytestmark = pytest.mark.timeout(5 * DEADLINE_SECONDS)
_WATCHES_FILES = pytest.mark.skipif(
    sys.platform != "linux", reason="sees in /proc when a process opens its store"
)


@pytest.fixture
def chance() -> Random:
    """Randomness that CRASH_SEED repeats."""
    seed = os.environ.get("CRASH_SEED") or str(time.time_ns())
    print(f"CRASH_SEED={seed}")
    return Random(seed)


async def _run_until_killed(
    producers: Sequence[Producer], connection: Connection, *, process: ServerProcess, life_seconds: float
) -> None:
    runs = [asyncio.create_task(run_until_unavailable(producer, connection)) for producer in producers]
    # The moment itself is under test; no condition can replace it.
    await asyncio.sleep(life_seconds)
    process.kill()
    await asyncio.gather(*runs)


async def test_kills_at_any_moment_lose_and_repeat_nothing(
    server_process: ServerProcess, chance: Random
) -> None:
    ledger = Ledger(chance)
    producers: list[Producer] = [
        *(Caller(ledger, batch_events=1) for _ in range(16)),
        *(Caller(ledger, batch_events=20) for _ in range(3)),
        *(UploadStream(ledger, name=f"upload-{number}") for number in range(4)),
    ]
    for _ in range(_KILLS):
        async with connect(server_process.address) as connection:
            await ledger.check(connection)
            life_seconds = chance.uniform(0, _LONGEST_LIFE_SECONDS)
            await _run_until_killed(producers, connection, process=server_process, life_seconds=life_seconds)
        server_process.start()
    ledger.is_closed = True
    async with connect(server_process.address) as connection:
        await ledger.check(connection)
        async with deadline("the interrupted producers went on"):
            await asyncio.gather(*(producer.run(connection) for producer in producers))
        await ledger.check_complete(connection)


async def test_what_was_committed_and_not_acked_before_a_kill_is_known_after_it(
    server_process: ServerProcess,
) -> None:
    single, *batch, uploaded = customer_events(4)
    async with TcpProxy(server_process.address) as proxy, connect(proxy.address) as connection:
        await connection.channel.channel_ready()
        proxy.hold_replies()
        unanswered = asyncio.gather(
            connection.record(single),
            connection.record_batch(batch),
            connection.upload([[uploaded]]),
            return_exceptions=True,
        )
        async with connect(server_process.address) as observer:
            await observer.wait_until_stored(4)
            cursors = {stored.event.event_id: stored.cursor async for stored in observer.stored()}
        server_process.kill()
        proxy.cut()
        async with deadline("the calls failed after the kill"):
            assert all(isinstance(outcome, grpc.aio.AioRpcError) for outcome in await unanswered)
    server_process.start()
    async with connect(server_process.address) as connection:
        results = [await connection.record(single), *await connection.record_batch(batch)]
        opened, *_, finished = await connection.upload([[uploaded]])
        assert await connection.stored_ids() == list(cursors)
    for result in results:
        assert result.outcome == v1.Outcome.OUTCOME_DUPLICATE
        assert result.cursor == cursors[result.event_id]
    assert opened.opened.committed_through == 1
    assert finished.finished.upload.tally == v1.Tally(accepted=1)


async def test_what_was_received_and_not_committed_before_a_kill_is_not_there_after_it(
    server_process: ServerProcess,
) -> None:
    single, *batch, uploaded = customer_events(4)
    async with connect(server_process.address) as connection:
        first = await connection.record(customer_event("first"))
        with closing(open_store(server_process.data_dir)) as holder:
            # The write lock keeps the server from committing.
            holder.execute("BEGIN IMMEDIATE")
            unanswered = asyncio.gather(
                connection.record(single),
                connection.record_batch(batch),
                connection.upload([[uploaded]]),
                return_exceptions=True,
            )
            assert await connection.stored_ids() == ["first"]
            server_process.kill()
        async with deadline("the calls failed after the kill"):
            assert all(isinstance(outcome, grpc.aio.AioRpcError) for outcome in await unanswered)
    server_process.start()
    async with connect(server_process.address) as connection:
        assert await connection.stored_ids() == ["first"]
        results = [await connection.record(single), *await connection.record_batch(batch)]
        opened, *_ = await connection.upload([[uploaded]])
        repeated = await connection.record(customer_event("first"))
        assert len(await connection.stored_ids()) == 5
    assert {result.outcome for result in results} == {v1.Outcome.OUTCOME_ACCEPTED}
    assert opened.opened.committed_through == 0
    assert repeated.cursor == first.cursor


@_WATCHES_FILES
async def test_a_kill_in_the_first_start_leaves_a_folder_that_starts(tmp_path: Path, chance: Random) -> None:
    for number in range(_KILLED_STARTS):
        with ServerProcess(tmp_path / f"data-{number}", is_command=True) as process:
            await _kill_start(process, chance)
            process.start()
            async with connect(process.address) as connection:
                result = await connection.record(customer_event())
        assert result.outcome == v1.Outcome.OUTCOME_ACCEPTED


@_WATCHES_FILES
async def test_kills_in_the_middle_of_a_recovery_lose_nothing(
    server_process: ServerProcess, chance: Random
) -> None:
    events = customer_events(500 * _KILLED_STARTS)
    for number in range(_KILLED_STARTS):
        async with connect(server_process.address) as connection:
            await connection.record_batch(events[500 * number : 500 * (number + 1)])
        server_process.kill()
        await _kill_start(server_process, chance)
        server_process.start()
    async with connect(server_process.address) as connection:
        assert await connection.stored_ids() == [event.event_id for event in events]


async def test_a_client_that_is_killed_in_an_upload_goes_on_in_another_process(
    server_process: ServerProcess, tmp_path: Path
) -> None:
    cli = Cli(tmp_path, server=server_process.address)
    lines = [event_line(str(number), eventId=f"event-{number:06}") for number in range(5000)]
    with cli.start("upload", "-", "--upload-id", "u-1") as killed:
        feed(killed, *lines[:3000])
        async with connect(server_process.address) as connection:
            await connection.wait_until_stored(1000)
            killed.kill()
    cli.write("stdin", *lines)
    resumed = cli.run_process("upload", "stdin", "--upload-id", "u-1", "--json")
    assert resumed.status == 0, resumed.stderr
    async with connect(server_process.address) as connection:
        upload = await connection.upload_state("u-1")
        assert await connection.stored_ids() == [f"event-{number:06}" for number in range(5000)]
    assert upload.state == v1.Upload.STATE_FINISHED
    assert upload.tally == v1.Tally(accepted=5000)


async def _kill_start(process: ServerProcess, chance: Random) -> None:
    """Kills a server within the few milliseconds in which it opens its store."""
    process.launch()
    await eventually(
        lambda: any("engagement.db" in name for name in _open_files(process.pid)), "it opens its store"
    )
    await asyncio.sleep(chance.uniform(0, 0.02))
    process.kill()


def _open_files(pid: int) -> Iterator[str]:
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            yield os.readlink(file)
