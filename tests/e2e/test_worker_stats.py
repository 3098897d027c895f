"""With workers, any of them gives the stats of all, and so does the management port."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from google.protobuf import json_format

from engagement import v1
from tests.support.connection import ACCOUNT, Connection, connect
from tests.support.events import bad_event, customer_event, customer_events
from tests.support.management import ask
from tests.support.raw_subscription import RawSubscription, subscribing
from tests.support.raw_upload import RawUpload
from tests.support.refused_call import expect_refused
from tests.support.server_process import ServerProcess
from tests.support.waiting import eventually
from tests.support.worker_processes import NEEDS_PROC, Workers, until_gone

pytestmark = NEEDS_PROC
Stats = v1.GetServerStatsResponse
_WORKERS = 2


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    environment = {
        "ENGAGEMENT_WORKERS": str(_WORKERS),
        "ENGAGEMENT_HTTP": "127.0.0.1:0",
        "PYTHONWARNINGS": "error",
    }
    with ServerProcess(tmp_path / "data", environment=environment).start() as process:
        yield process


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """Closes what it has entered after the test."""
    async with AsyncExitStack() as entered:
        yield entered


async def stats_of(connection: Connection) -> Stats:
    return await v1.ServerServiceStub(connection.channel).GetServerStats(v1.GetServerStatsRequest())


def stats_over_http(server: ServerProcess) -> Stats:
    answer = ask(server.http_address, "/stats.json")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    return json_format.Parse(answer.text, Stats())


async def test_each_worker_and_the_management_port_give_the_same(
    server: ServerProcess, stack: AsyncExitStack
) -> None:
    here, there = (await Workers(server).connect_to_each(stack)).values()
    await here.record_batch(customer_events(3))
    await there.record(customer_event("there"))
    for connection in (here, there):
        event = bad_event()
        event.source = "<script>"
        await expect_refused(connection.record(event))
    follower = RawSubscription(here.events, subscribing())
    await follower.read_until("caught_up")
    upload = RawUpload(there.ingest)
    await upload.open()

    async def is_complete() -> bool:
        found = await stats_of(here)
        streams = (found.open_subscriptions, found.open_uploads)
        events = sum(sample.accepted_events for sample in found.samples)
        return (events, found.rejected_events, *streams) == (4, 2, 1, 1)

    await eventually(is_complete, "what both workers did is told")

    async def agree() -> bool:
        one, other, page = await stats_of(here), await stats_of(there), stats_over_http(server)
        return one == other == page

    await eventually(agree, "all give the same")
    found = await stats_of(there)
    (rule,) = found.rejected_rules
    assert (rule.account_id, rule.source, rule.events) == (ACCOUNT, "<script>", 2)
    assert [(each.account_id, each.lag_events) for each in found.subscriptions] == [(ACCOUNT, 0)]
    assert found.partitions[0].stored_events == 4
    assert [(each.reason, each.calls) for each in found.failed_calls] == [("FIELD_INVALID", 2)]
    follower.call.cancel()
    upload.call.cancel()


async def test_the_streams_of_a_worker_that_is_killed_vanish_and_its_counts_stay(
    server: ServerProcess, stack: AsyncExitStack
) -> None:
    (victim, here), (_, there) = (await Workers(server).connect_to_each(stack)).items()
    await here.record_batch(customer_events(3))
    lost = RawSubscription(here.events, subscribing())
    await lost.read_until("caught_up")
    kept = RawSubscription(there.events, subscribing())
    await kept.read_until("caught_up")

    async def are_told() -> bool:
        found = await stats_of(there)
        accepted = sum(sample.accepted_events for sample in found.samples)
        return found.open_subscriptions == len(found.subscriptions) == 2 and accepted == 3

    await eventually(are_told, "both streams are told")
    os.kill(victim, signal.SIGKILL)
    await until_gone(victim)

    async def has_vanished() -> bool:
        found = await stats_of(there)
        return found.open_subscriptions == len(found.subscriptions) == 1

    await eventually(has_vanished, "the stream of the killed worker has vanished")
    assert sum(sample.accepted_events for sample in (await stats_of(there)).samples) == 3
    kept.call.cancel()


async def test_a_server_of_one_process_gives_the_same_over_http(tmp_path: Path) -> None:
    environment = {"ENGAGEMENT_WORKERS": "1", "ENGAGEMENT_HTTP": "127.0.0.1:0"}
    with ServerProcess(tmp_path / "data", environment=environment).start() as server:
        async with connect(server.address) as connection:
            await connection.record(customer_event())

            async def is_told() -> bool:
                one, page = await stats_of(connection), stats_over_http(server)
                return one == page and one.partitions[0].stored_events == 1

            await eventually(is_told, "both give the same")
