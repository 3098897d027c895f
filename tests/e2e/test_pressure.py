"""Beside an upload and a crowd of accounts no call is refused, memory keeps its limit, nothing is lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from engagement import EngagementClient, Uploader, v1
from engagement_server.governor.memory import parse_size
from tests.support.connection import ACCOUNT, Connection, connect
from tests.support.events import customer_event
from tests.support.nats_cluster import NatsCluster
from tests.support.server_process import ServerProcess
from tests.support.worker_processes import NEEDS_PROC, Workers

if TYPE_CHECKING:
    from engagement.v1.ingest_service_pb2_grpc import IngestServiceAsyncStub

BULK_ACCOUNT = "bulk"
_ROUNDS = 10
_MIN_LARGE_EVENTS = 1_000
_WORDS = [f"word{number:x}" for number in range(4_000)]
_WORDS_AN_EVENT = 2_200
_SEED = 20240229
_CROWD_CALLERS = 8
_CROWD_EVENTS = 5


class Crowd:
    """Callers on one connection that name another account with every call."""

    def __init__(self, ingest: IngestServiceAsyncStub) -> None:
        self.accounts: list[str] = []
        """Those whose events were acknowledged."""
        self._ingest = ingest
        self._numbers = count()
        self._is_over = False

    @asynccontextmanager
    async def calling(self) -> AsyncIterator[None]:
        """Calls until the block ends; fails if a call is refused."""
        async with asyncio.TaskGroup() as group:
            for _ in range(_CROWD_CALLERS):
                group.create_task(self._call())
            try:
                yield
            finally:
                self._is_over = True

    async def _call(self) -> None:
        while not self._is_over:
            account_id = f"crowd-{next(self._numbers)}"
            events = [customer_event(f"event-{number}") for number in range(_CROWD_EVENTS)]
            await self._ingest.RecordEvents(v1.RecordEventsRequest(account_id=account_id, events=events))
            self.accounts.append(account_id)


async def call_each(connection: Connection, number: int) -> str:
    """Records, reads and lists as a well-behaved caller does; returns the id of the event."""
    event_id = f"event-{number:06}"
    await connection.record(customer_event(event_id))
    await connection.events.GetEvent(v1.GetEventRequest(account_id=ACCOUNT, event_id=event_id))
    page = v1.ListEventsRequest(account_id=ACCOUNT, page_size=10, newest_first=True)
    response = await connection.events.ListEvents(page)
    assert response.events[0].event.event_id == event_id
    return event_id


class LargeUpload:
    """An upload of events of 16 KB, at least so many and until its block ends."""

    def __init__(self, address: str) -> None:
        self.sent = 0
        self._address = address
        self._words = random.Random(_SEED)
        self._is_over = False

    @asynccontextmanager
    async def sending(self) -> AsyncIterator[None]:
        """Uploads; at the end of the block all events are acknowledged as accepted."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._upload())
            try:
                yield
            finally:
                self._is_over = True

    async def _upload(self) -> None:
        async with EngagementClient(self._address, account_id=BULK_ACCOUNT) as client:
            summary = await Uploader(client).upload(self._source())
        assert summary.tally.accepted == self.sent

    async def _source(self) -> AsyncIterator[v1.Event]:
        while self.sent < _MIN_LARGE_EVENTS or not self._is_over:
            self.sent += 1
            text = " ".join(self._words.choices(_WORDS, k=_WORDS_AN_EVENT))
            yield customer_event(f"large-{self.sent:06}", balance=text)


async def stored_events(connection: Connection, account_id: str) -> int:
    """How many events an account has."""
    request = v1.ListEventsRequest(
        account_id=account_id, page_size=1000, read_mask=FieldMask(paths=["event.event_id"])
    )
    events = 0
    while True:
        response = await connection.events.ListEvents(request)
        events += len(response.events)
        if not response.next_page_token:
            return events
        request.page_token = response.next_page_token


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
async def test_beside_a_bulk_upload_and_a_crowd_no_call_is_refused_and_memory_keeps_its_limit(
    tmp_path: Path, max_memory: str, options: tuple[str, ...]
) -> None:
    limit_bytes = parse_size(max_memory)
    assert limit_bytes is not None
    with ExitStack() as running:
        if "--log-replicas" in options:
            nats = running.enter_context(NatsCluster(tmp_path / "nats", size=1))
            options = (*options, "--log", nats.url)
        server = ServerProcess(tmp_path / "data", options=("--max-memory", max_memory, *options))
        running.enter_context(server.start())
        async with connect(server.address) as caller, connect(server.address) as others:
            crowd, upload = Crowd(others.ingest), LargeUpload(server.address)
            async with upload.sending(), crowd.calling():
                ids = [await call_each(caller, number) for number in range(_ROUNDS)]
            assert peak_bytes(server) < limit_bytes

            assert await caller.stored_ids() == ids
            assert await stored_events(caller, BULK_ACCOUNT) == upload.sent
            counts = [await stored_events(caller, account_id) for account_id in crowd.accounts]
            assert counts == [_CROWD_EVENTS] * len(crowd.accounts)
        assert server.stop() == 0
