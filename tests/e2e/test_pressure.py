"""Beside rude neighbours no call is refused or held up, memory keeps its limit, and nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from itertools import count
from pathlib import Path

import pytest

from benchmarks.child import Parent
from benchmarks.events import EventSource
from benchmarks.load import chunk_message, time_upload
from benchmarks.pressure_ledger import Ledger
from benchmarks.pressure_load import Load
from benchmarks.pressure_neighbours import KINDS
from benchmarks.pressure_run import Neighbour
from benchmarks.pressure_singles import WITH_DELAY
from engagement import v1
from engagement_server.governor.memory import parse_size
from tests.support.connection import ACCOUNT, Connection, connect
from tests.support.events import customer_event
from tests.support.nats_cluster import NatsCluster
from tests.support.server_process import ServerProcess
from tests.support.waiting import deadline
from tests.support.worker_processes import NEEDS_PROC, Workers

_ROUNDS = 5
_CALL_SECONDS = 10
_LARGE_EVENTS = 200
_READ, _READ_EVENTS = "read", 5_000
_SUBJECT = {"consumer": "one", "customer": "the same"}
_MAX_CALLS, _OVERLOAD_FACTOR = 20, 4
_SINGLES = {"connections": 4, "account": "singles"}
_ENOUGH_CALLS = 100
_LARGE_MESSAGES = 40

BULK = Neighbour("upload", {"streams": 1, "event_bytes": 16 * 1024, "account": "bulk"})
CROWD = Neighbour("record-batches", {"callers": 8, "accounts": 1_000, "events": 5})
INVALID = Neighbour("invalid", {"streams": 2})
SEARCHES = Neighbour("search", {"callers": 16, "account": _READ})
PROFILES = Neighbour("profiles", {"callers": 8, "account": _READ, **_SUBJECT})
MESSAGES = Neighbour("large-messages", {"callers": 2, "account": _READ})
SUBSCRIPTIONS = Neighbour("subscriptions", {"subscriptions": 60, "connections": 4, "account": _READ})
UNREAD = Neighbour("unread-lists", {"lists": 30, "connections": 3, "account": _READ})
LOAD = Neighbour("closed-loop", {"callers": 4 * _MAX_CALLS, **_SINGLES})
OVERLOAD = Neighbour("closed-loop", {"callers": _OVERLOAD_FACTOR * 4 * _MAX_CALLS, **_SINGLES})
FLOODS = [
    Neighbour("flood", {"kind": kind, "a_second": 2_000}) for kind in ("RST_STREAM", "PING", "SETTINGS")
]


class InThisProcess(Parent):
    """Tells a load of the benchmarks when to begin and to end."""

    def __init__(self) -> None:
        self.has_prepared = asyncio.Event()
        self._told: asyncio.Queue[str] = asyncio.Queue()

    def tell(self, line: str) -> None:
        """Says the next line."""
        self._told.put_nowait(line)

    async def line(self) -> str:
        """See `Parent`."""
        return await self._told.get()

    def report(self, value: object) -> None:
        """See `Parent`."""
        self.has_prepared.set()


class Case:
    """A server under pressure, with a well-behaved caller on a connection of its own."""

    def __init__(self, server: ServerProcess, caller: Connection) -> None:
        self.ids: list[str] = []
        """Of the caller's events."""
        self._server = server
        self._caller = caller
        self._ledger = Ledger()

    @asynccontextmanager
    async def beside(self, *neighbours: Neighbour) -> AsyncIterator[Sequence[Load]]:
        """Runs loads while the block runs."""
        parents = [InThisProcess() for _ in neighbours]
        loads = [
            Load(self._server.address, dict(each.options), parent)
            for each, parent in zip(neighbours, parents, strict=True)
        ]
        async with asyncio.TaskGroup() as group, deadline("the neighbours have ended"):
            for neighbour, load in zip(neighbours, loads, strict=True):
                group.create_task(KINDS[neighbour.kind](load))  # type: ignore[arg-type]  # they are coroutines
            for parent in parents:
                await parent.has_prepared.wait()
                parent.tell("begin")
            yield loads
            for parent in parents:
                parent.tell("end")
        for load in loads:
            self._ledger.add(load.report())

    async def call(self) -> None:
        """Records, reads and lists as a well-behaved caller does, without retries."""
        caller, event_id = self._caller, f"event-{len(self.ids):06}"
        request = v1.RecordEventRequest(account_id=ACCOUNT, event=customer_event(event_id))
        await caller.ingest.RecordEvent(request, timeout=_CALL_SECONDS)
        self.ids.append(event_id)
        get = v1.GetEventRequest(account_id=ACCOUNT, event_id=event_id)
        await caller.events.GetEvent(get, timeout=_CALL_SECONDS)
        page = v1.ListEventsRequest(account_id=ACCOUNT, page_size=10, newest_first=True)
        response = await caller.events.ListEvents(page, timeout=_CALL_SECONDS)
        assert response.events[0].event.event_id == event_id

    async def call_until(self, *loads: Load, done: int = 1) -> None:
        """Calls some times, and until each load has got enough done."""
        for number in count():
            if number >= _ROUNDS and all(load.done >= done for load in loads):
                return
            await self.call()

    async def missing(self) -> int:
        """How many events that were acknowledged to anyone are not there."""
        assert await self._caller.stored_ids() == self.ids
        return await self._ledger.missing(self._caller.channel)


async def store_what_is_read(connection: Connection) -> None:
    """Stores events of one consumer and customer id, which searches look through as well."""
    chunks = []
    for sequence, events in enumerate(EventSource().take_chunks(_READ_EVENTS), 1):
        for event in events:
            event.consumer_id, event.customer_info.customer_id = _SUBJECT["consumer"], _SUBJECT["customer"]
        chunks.append(chunk_message(events, sequence=sequence))
    await time_upload(connection.channel, chunks, events=_READ_EVENTS, account_id=_READ)


async def call_beside_rude_neighbours(case: Case) -> None:
    async with case.beside(BULK, CROWD) as (bulk, crowd):
        await case.call_until(bulk, crowd)
        await case.call_until(bulk, done=_LARGE_EVENTS)
    assert not bulk.refused + crowd.refused
    async with case.beside(INVALID) as (invalid,):
        await case.call_until(invalid)
    assert not invalid.refused
    async with case.beside(SEARCHES, PROFILES) as costly:
        await case.call_until(*costly)
    assert not costly[0].refused + costly[1].refused
    async with case.beside(MESSAGES) as (messages,):
        await case.call_until(messages, done=_LARGE_MESSAGES)
    assert not messages.refused
    async with case.beside(SUBSCRIPTIONS, UNREAD, *FLOODS) as (_, _, *floods):
        await case.call_until(*floods)


async def call_beside_an_overload(case: Case) -> None:
    async with case.beside(OVERLOAD) as (over,):
        while min(over.done, over.refused.total()) < _ENOUGH_CALLS:
            await case.call()
    assert over.refused.keys() == {WITH_DELAY}
    assert not over.notes["unanswered"]
    async with case.beside(LOAD) as (after,):
        await case.call_until(after, done=_ENOUGH_CALLS)
    assert not after.refused


def peak_bytes(server: ServerProcess) -> int:
    """The peaks of all processes of a server, added."""
    return sum(map(_peak_bytes, (server.pid, *Workers(server).pids)))


def _peak_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (peak,) = (line for line in lines if line.startswith("VmHWM"))
    return int(peak.split()[1]) * 1024


@NEEDS_PROC
@pytest.mark.parametrize(
    ("max_memory", "options"),
    [
        pytest.param("256M", (), id="one process"),
        pytest.param("768M", ("--workers", "2"), id="two workers"),
        pytest.param("256M", ("--log-replicas", "1"), id="a replicated log"),
    ],
)
async def test_beside_rude_neighbours_no_call_is_refused_memory_keeps_its_limit_and_nothing_is_lost(
    tmp_path: Path, max_memory: str, options: tuple[str, ...]
) -> None:
    limit_bytes = parse_size(max_memory)
    assert limit_bytes is not None
    with ExitStack() as running:
        if "--log-replicas" in options:
            nats = running.enter_context(NatsCluster(tmp_path / "nats", size=1))
            options = (*options, "--log", nats.url)
        options = ("--max-memory", max_memory, "--max-calls-per-connection", str(_MAX_CALLS), *options)
        server = ServerProcess(tmp_path / "data", options=options)
        running.enter_context(server.start())
        async with connect(server.address) as caller:
            await store_what_is_read(caller)
            case = Case(server, caller)
            await call_beside_rude_neighbours(case)
            await call_beside_an_overload(case)
            assert peak_bytes(server) < limit_bytes
            assert await case.missing() == 0
        assert server.stop() == 0
        assert " ERROR " not in server.messages
