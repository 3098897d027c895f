"""Servers of one and of several processes, with and without a replicated log, count the same."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest

from engagement import v1
from engagement_server.workers.counts import SEND_SECONDS
from tests.support.connection import Connection, connect
from tests.support.events import customer_event
from tests.support.management import Sample, ask, samples, value
from tests.support.mixed_calls import has_ended, make_calls
from tests.support.nats_cluster import NatsCluster
from tests.support.server_process import ServerProcess
from tests.support.waiting import eventually
from tests.support.worker_processes import NEEDS_PROC, Workers, until_gone

pytestmark = [NEEDS_PROC, pytest.mark.timeout(240)]
_WORKERS = 4
# How many commits there are is up to chance, and so is how many acks and events share a message.
_BY_CHANCE = (
    "engagement_commit_events_bucket",
    "engagement_commit_events_count",
    "engagement_commit_seconds",
)


def metrics(server: ServerProcess) -> dict[Sample, float]:
    return samples(ask(server.http_address, "/metrics").text)


async def measured(folder: Path, *, workers: int, log: str = "") -> tuple[Mapping[Sample, float], ...]:
    """What a server shows before and after the same calls."""
    options = ("--log", log, "--log-replicas", "1") if log else ()
    environment = {"ENGAGEMENT_HTTP": "127.0.0.1:0", "ENGAGEMENT_WORKERS": str(workers)}
    async with AsyncExitStack() as stack:
        server = stack.enter_context(
            ServerProcess(folder / f"{workers}{log[:4]}", environment=environment, options=options).start()
        )
        if workers == 1:
            connections = [await stack.enter_async_context(connect(server.address))]
        else:
            connections = list((await Workers(server).connect_to_each(stack)).values())
        assert len(connections) == workers
        before = metrics(server)
        await make_calls(connections)
        await eventually(lambda: has_ended(metrics(server)), "all calls are counted")
        return before, metrics(server)


def counters(shown: Mapping[Sample, float]) -> dict[Sample, float]:
    """What must be the same whatever the server is made of."""
    return {
        (name, labels): number
        for (name, labels), number in shown.items()
        if name.startswith(("grpc_server_", "engagement_"))
        and name.endswith(("_total", "_count", "_events_sum"))
        and not name.startswith((*_BY_CHANCE, "engagement_log_"))
        and not (name.endswith("msg_sent_total") and "_stream" in str(labels))
    }


async def test_all_kinds_of_servers_show_the_same_series_with_the_same_sums(tmp_path: Path) -> None:
    one = await measured(tmp_path, workers=1)
    many = await measured(tmp_path, workers=_WORKERS)
    with NatsCluster(tmp_path / "nats", size=1) as log:
        replicated = await measured(tmp_path, workers=1, log=log.url)
    with NatsCluster(tmp_path / "other", size=1) as log:
        many_replicated = await measured(tmp_path, workers=_WORKERS, log=log.url)
    expected = counters(one[1])
    assert len(expected) > 300
    assert value(one[1], "engagement_events_total") == 15
    for before, after in (one, many, replicated, many_replicated):
        new = {name for name, _ in after.keys() - before.keys()}
        assert new == {"engagement_rejections_total"}, "all others are there from the start"
        assert before.keys() <= after.keys()
        assert counters(after) == expected
    assert one[1].keys() == many[1].keys()
    assert replicated[1].keys() == many_replicated[1].keys()
    assert {name[:15] for name, _ in replicated[1].keys() - one[1].keys()} == {"engagement_log_"}
    assert one[1].keys() <= replicated[1].keys()


async def test_a_worker_that_is_killed_under_load_loses_what_it_had_yet_to_send(tmp_path: Path) -> None:
    environment = {"ENGAGEMENT_HTTP": "127.0.0.1:0", "ENGAGEMENT_WORKERS": "2"}
    async with AsyncExitStack() as stack:
        server = stack.enter_context(ServerProcess(tmp_path / "data", environment=environment).start())
        (victim, here), (_, there) = (await Workers(server).connect_to_each(stack)).items()
        answered: list[float] = []
        """When each call of the worker that will be killed had its answer."""
        loading = [asyncio.create_task(each) for each in (look(here, answered), record(there))]
        seen: list[tuple[float, float]] = []
        """When its count was seen to have grown, and to how many."""

        def has_sent_often() -> bool:
            count = handled(server, "GetServerInfo")
            if count > (seen[-1][1] if seen else 0):
                seen.append((time.monotonic(), count))
            return len(seen) > 3

        await eventually(has_sent_often, "the worker has sent its counts several times")
        os.kill(victim, signal.SIGKILL)
        killed = time.monotonic()
        _, recorded = await asyncio.wait(loading, return_when=asyncio.FIRST_COMPLETED)
        await until_gone(victim)
        (recording,) = recorded
        recording.cancel()
        counted = handled(server, "GetServerInfo")
        assert seen[-1][1] <= counted <= len(answered) + 1
        # As often as it could send on this machine, it did; the pauses between two looks are its own.
        pause = max(late - early for (early, _), (late, _) in itertools.pairwise(seen))
        lost = answered[int(counted) :]
        assert not lost or killed - lost[0] <= SEND_SECONDS + pause
        assert value(metrics(server), "grpc_server_handled_total", grpc_method="RecordEvent") > 0


def handled(server: ServerProcess, method: str) -> float:
    return value(metrics(server), "grpc_server_handled_total", grpc_method=method)


async def look(connection: Connection, answered: list[float]) -> None:
    """Calls until the worker is gone."""
    stub = v1.ServerServiceStub(connection.channel)
    while True:
        try:
            await stub.GetServerInfo(v1.GetServerInfoRequest())
        except grpc.aio.AioRpcError:
            return
        answered.append(time.monotonic())


async def record(connection: Connection) -> None:
    """Records events, one after the other."""
    for number in itertools.count():
        await connection.record(customer_event(f"event-{number}"))
