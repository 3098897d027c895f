"""Quotas hold for a node: its workers share them, and one that is killed gives up what it held."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from itertools import cycle
from pathlib import Path
from typing import Any

import grpc
import pytest

from engagement import v1
from tests.support.calls import some
from tests.support.connection import Connection
from tests.support.events import customer_events
from tests.support.known_callers import KnownCallers, principal, shown
from tests.support.raw_upload import RawUpload
from tests.support.refused_call import outcome_of
from tests.support.server_process import ServerProcess
from tests.support.waiting import eventually
from tests.support.worker_processes import NEEDS_PROC, Workers, until_gone

pytestmark = NEEDS_PROC
_WORKERS = 2
_BATCH, _RATE = 500, 9


@pytest.fixture
def callers(tmp_path: Path) -> KnownCallers:
    return KnownCallers(tmp_path / "access")


@pytest.fixture
def server(tmp_path: Path, callers: KnownCallers) -> Iterator[ServerProcess]:
    environment = {"ENGAGEMENT_WORKERS": str(_WORKERS), "PYTHONWARNINGS": "error"}
    with ServerProcess(
        tmp_path / "data", environment=environment, options=callers.options
    ).start() as process:
        yield process


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as entered:
        yield entered


async def grant(
    callers: KnownCallers, *connections: Connection, **quotas: Any
) -> tuple[tuple[str, str], ...]:
    """The metadata of a caller whom all workers know."""
    callers.grant(principal("crm", scopes=["ingest", "read"], **quotas))
    metadata = shown(callers.token("crm"), "acme")

    async def is_known() -> bool:
        for connection in connections:
            stub = v1.ServerServiceStub(connection.channel)
            try:
                identity = await stub.GetIdentity(v1.GetIdentityRequest(), metadata=metadata)
            except grpc.aio.AioRpcError:
                return False
            if not identity.HasField("quotas"):
                return False
        return True

    await eventually(is_known, "all workers know the quotas")
    return metadata


async def send(connection: Connection, metadata: tuple[tuple[str, str], ...], events: int) -> str:
    """How a batch of events ends."""
    return await outcome_of(connection.ingest.RecordEvents(some(*customer_events(events)), metadata=metadata))


@pytest.mark.parametrize("events", [_BATCH, 7])
async def test_workers_share_a_rate(
    server: ServerProcess, callers: KnownCallers, stack: AsyncExitStack, events: int
) -> None:
    connections = [*(await Workers(server).connect_to_each(stack)).values()]
    metadata = await grant(callers, *connections, events_per_second=_RATE)
    began = time.monotonic()
    let_in, refusals = 0, 0
    for connection in cycle(connections):
        outcome = await send(connection, metadata, events)
        assert outcome in ("OK", "QUOTA_EXCEEDED")
        let_in += events if outcome == "OK" else 0
        refusals += outcome != "OK"
        if refusals == 2 * _WORKERS:
            break
    # One worker may hold what it has to spare while the other one is refused.
    spare = _RATE
    assert _BATCH - spare <= let_in < _BATCH + _RATE * (time.monotonic() - began) + events


async def test_workers_share_the_rate_of_a_publishable_grant(
    server: ServerProcess, callers: KnownCallers, stack: AsyncExitStack
) -> None:
    connections = [*(await Workers(server).connect_to_each(stack)).values()]
    publishable = {"publishable": True, "sources": ["web"], "authenticated": False}
    callers.grant(principal("page", scopes=["ingest"], events_per_second=_RATE, **publishable))
    metadata = shown(callers.token("page"), "acme")

    async def is_known() -> bool:
        return {await send(each, metadata, 0) for each in connections} == {"FIELD_INVALID"}

    await eventually(is_known, "all workers know the page")
    began, outcomes = time.monotonic(), []
    for connection in (*connections, *connections):
        events = [v1.Event(customer_info=v1.CustomerInfo(balance="1")) for _ in range(_BATCH)]
        outcomes.append(await outcome_of(connection.ingest.RecordEvents(some(*events), metadata=metadata)))
    let_in = outcomes.count("OK") * _BATCH
    assert _BATCH <= let_in < _BATCH + _RATE * (time.monotonic() - began) + _BATCH


async def may_open(connection: Connection, metadata: tuple[tuple[str, str], ...]) -> bool:
    upload = RawUpload(connection.ingest, metadata=metadata)
    outcome = await outcome_of(upload.open())
    assert outcome in {"OK", "QUOTA_EXCEEDED"}
    upload.call.cancel()
    return outcome == "OK"


async def test_workers_share_streams_and_a_killed_one_gives_its_up(
    server: ServerProcess, callers: KnownCallers, stack: AsyncExitStack
) -> None:
    connections = await Workers(server).connect_to_each(stack)
    metadata = await grant(callers, *connections.values(), concurrent_streams=1)
    (victim, holding), (_, other) = connections.items()
    upload = RawUpload(holding.ingest, metadata=metadata)
    await upload.open()
    assert not await may_open(other, metadata)
    os.kill(victim, signal.SIGKILL)
    await until_gone(victim)
    await eventually(lambda: may_open(other, metadata), "the stream of the killed worker counts no more")
