"""Workers start, stop and fail together, as one server; also over a replicated log."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random

import nats
import pytest

from engagement import v1
from engagement.cli.failures import ExitStatus
from engagement_server.log.nats import entries, marks
from tests.support.connection import ACCOUNT, Connection, connect
from tests.support.events import customer_event
from tests.support.ledger import Ledger
from tests.support.nats_cluster import NatsCluster
from tests.support.producers import Caller, run_until_unavailable
from tests.support.server_process import ServerProcess
from tests.support.waiting import deadline, eventually
from tests.support.worker_processes import NEEDS_PROC, Workers, until_gone

pytestmark = NEEDS_PROC
_WORKERS = 2
Messages = AsyncIterator[v1.SubscribeEventsResponse]


def _process(data_dir: Path, *options: str) -> ServerProcess:
    """The command with workers, in which warnings are errors."""
    environment = {"ENGAGEMENT_WORKERS": str(_WORKERS), "PYTHONWARNINGS": "error"}
    return ServerProcess(data_dir, environment=environment, options=options, is_command=True)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with _process(tmp_path / "data").start() as process:
        yield process


async def _subscribe(connection: Connection, account_id: str = ACCOUNT) -> Messages:
    """A subscription that has started."""
    request = v1.SubscribeEventsRequest(account_id=account_id, earliest=True)
    messages = aiter(connection.events.SubscribeEvents(request))
    await anext(messages)
    return messages


async def _until_closed(messages: Messages) -> v1.SubscribeEventsResponse.Closing.Reason:
    async with deadline("the subscription was closed"):
        *_, last = [message async for message in messages]
    return last.closing.reason


async def test_a_stop_under_load_loses_nothing_and_answers_every_call(server: ServerProcess) -> None:
    ledger, workers = Ledger(Random(1)), Workers(server)
    pids = workers.pids
    callers = [Caller(ledger, batch_events=1 + number % 3) for number in range(12)]
    async with AsyncExitStack() as stack:
        connections = list((await workers.connect_to_each(stack)).values())
        refused = [
            asyncio.create_task(run_until_unavailable(caller, connections[number % _WORKERS]))
            for number, caller in enumerate(callers)
        ]
        closed = [
            asyncio.create_task(_until_closed(await _subscribe(connection))) for connection in connections
        ]
        await connections[0].wait_until_stored(500)
        assert await asyncio.to_thread(server.stop) == 0
        # A caller that was late finds the connection closed.
        assert {"DRAINING"} <= set(await asyncio.gather(*refused)) <= {"DRAINING", ""}
        assert set(await asyncio.gather(*closed)) == {v1.SubscribeEventsResponse.Closing.REASON_DRAINING}
    await until_gone(*pids)
    assert not (server.data_dir / "engagement.db-wal").exists()
    ledger.is_closed = True
    server.environment.clear()  # a single process serves the events that workers stored
    server.start()
    async with connect(server.address) as connection:
        await ledger.check(connection)
        async with deadline("the callers that were refused went on"):
            await asyncio.gather(*(caller.run(connection) for caller in callers))
        await ledger.check_complete(connection)


async def test_ctrl_c_on_a_terminal_reaches_all_processes_and_stops_them_gracefully(
    server: ServerProcess,
) -> None:
    workers = Workers(server)
    async with AsyncExitStack() as stack:
        connections = (await workers.connect_to_each(stack)).values()
        subscriptions = [await _subscribe(connection) for connection in connections]
        pids = workers.pids
        for pid in (*pids, server.pid):
            os.kill(pid, signal.SIGINT)
        reasons = [await _until_closed(subscription) for subscription in subscriptions]
        assert reasons == [v1.SubscribeEventsResponse.Closing.REASON_DRAINING] * _WORKERS
    assert await asyncio.to_thread(server.wait) == 0
    assert "Traceback" not in server.messages
    assert "Warning" not in server.messages
    await until_gone(*pids)


async def test_a_stop_while_the_workers_start_leaves_no_process(tmp_path: Path) -> None:
    with _process(tmp_path / "data") as server:
        server.launch()
        workers = Workers(server)
        await eventually(lambda: bool(workers.pids), "a worker starts")
        pids = workers.pids
        assert await asyncio.to_thread(server.stop) == 0
    await until_gone(*pids)


async def test_a_worker_that_ends_while_it_starts_ends_the_start(tmp_path: Path) -> None:
    with _process(tmp_path / "data") as server:
        server.launch()
        workers = Workers(server)
        await eventually(lambda: bool(workers.pids), "a worker starts")
        os.kill(workers.pids[0], signal.SIGKILL)
        assert await asyncio.to_thread(server.wait) == ExitStatus.FAILED
    assert "worker 1 exited with status -9 as it started" in server.messages


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsCluster]:
    with NatsCluster(tmp_path_factory.mktemp("nats"), size=1) as running:
        yield running


async def test_workers_share_the_partitions_of_a_replicated_log_and_fail_with_it(
    cluster: NatsCluster, tmp_path: Path
) -> None:
    options = ("--log", cluster.url, "--log-replicas", "1", "--partitions", "2")
    async with AsyncExitStack() as stack:
        server = stack.enter_context(_process(tmp_path / "data", *options).start())
        workers = Workers(server)
        first, second = (await workers.connect_to_each(stack)).values()
        await _use_both_partitions(first, second)
        pids = workers.pids
        await _break_log(cluster)
        assert await asyncio.to_thread(server.wait) == 1
    assert server.messages.splitlines()[-1].startswith("engagement: ")
    assert "Traceback" not in server.messages
    await until_gone(*pids)


async def _use_both_partitions(first: Connection, second: Connection) -> None:
    for account_id in ("acme", "beta"):
        messages = await _subscribe(second, account_id)
        recorded = await first.ingest.RecordEvent(
            v1.RecordEventRequest(account_id=account_id, event=customer_event())
        )
        listed = await second.events.ListEvents(v1.ListEventsRequest(account_id=account_id))
        assert [stored.cursor for stored in listed.events] == [recorded.result.cursor]
        async with deadline("the event came to a subscriber"):
            while not (message := await anext(messages)).batch.events:
                pass
        assert message.cursor == recorded.result.cursor
    info = await v1.ServerServiceStub(second.channel).GetServerInfo(v1.GetServerInfoRequest())
    assert [(partition.number, partition.current) for partition in info.partitions] == [(0, True), (1, True)]


async def _break_log(cluster: NatsCluster) -> None:
    """Publishes a message that is intact, but no commit."""
    client = await nats.connect(cluster.urls)
    stream = client.jetstream()
    subject = ((await stream.stream_info("engagement-0of2")).config.subjects or [""])[0]
    data = entries.COMMIT + b"nonsense"
    headers = {"Nats-Msg-Id": "somebody.1", marks.HEADER: marks.mark("somebody.1", data)}
    await stream.publish(subject, data, headers=headers)
    await client.close()
