"""A stopping server answers the calls that it has, refuses new ones with a reason, and exits soon."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random

import grpc
import pytest
from grpc_health.v1 import health_pb2

from engagement import v1
from tests.support.connection import (
    ACCOUNT,
    Connection,
    UploadCall,
    connect,
    is_torn_write,
    upload_messages,
)
from tests.support.events import customer_event, customer_events
from tests.support.health import NOT_SERVING, SERVING, Watch, watch
from tests.support.ledger import Ledger
from tests.support.nats_cluster import NatsCluster
from tests.support.producers import Caller, run_until_unavailable
from tests.support.raw_http2 import HEADERS, RawHttp2
from tests.support.raw_upload import chunk
from tests.support.server_process import ServerProcess
from tests.support.waiting import DEADLINE_SECONDS, deadline, eventually

_SERVICES = ("", "engagement.v1.IngestService", "engagement.v1.EventService", "engagement.v1.ServerService")
_REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
_UPLOADS = 4
_MAX_UNACKED_CHUNKS = 8
_CHUNK_EVENTS = 20
_ERASED_EVENTS = 20_000
# A stop that waits for it fails the test.
_LONG_GRACE_SECONDS = 40.0


async def _status(watching: Watch) -> int:
    async with deadline("the health service said something"):
        response = await watching.read()
    assert isinstance(response, health_pb2.HealthCheckResponse)
    return response.status


async def _upload_until_closed(connection: Connection, upload_id: str, *, ledger: Ledger) -> int:
    """Sends chunks until the server closes the upload; returns their number, all acked.

    No more are in flight than the contract allows, so the server has the time to ack them.
    """
    call = connection.ingest.UploadEvents()
    closing, window = asyncio.Event(), asyncio.Semaphore(_MAX_UNACKED_CHUNKS)
    chunks: list[list[v1.Event]] = []

    async def send() -> None:
        opening, *_ = upload_messages(upload_id, [])
        await call.write(opening)
        while not closing.is_set():
            await window.acquire()
            chunks.append(ledger.draw(20))
            await call.write(chunk(len(chunks), *chunks[-1]))
        await call.done_writing()

    acked = 0
    async with deadline("the server closed the upload"), asyncio.TaskGroup() as group:
        group.create_task(send())
        async for message in call:
            if message.HasField("closing"):
                assert message.closing.reason == v1.UploadEventsResponse.Closing.REASON_DRAINING
                assert message.closing.reconnect_delay.ToMilliseconds() > 0
                closing.set()
            for _ in range(acked, message.ack.committed_through):
                window.release()
            acked = max(acked, message.ack.committed_through)
    assert closing.is_set()
    assert acked == len(chunks)
    for events in chunks:
        ledger.acknowledge_chunk(events)
    return acked


async def test_a_stop_under_load_loses_nothing_and_answers_every_call(server_process: ServerProcess) -> None:
    ledger = Ledger(Random(1))
    callers = [Caller(ledger, batch_events=1 + number % 3) for number in range(12)]
    async with connect(server_process.address) as connection:
        refused = [asyncio.create_task(run_until_unavailable(caller, connection)) for caller in callers]
        uploads = [
            asyncio.create_task(_upload_until_closed(connection, f"upload-{number}", ledger=ledger))
            for number in range(_UPLOADS)
        ]
        await connection.wait_until_stored(1000)
        status = await asyncio.to_thread(server_process.stop)
        committed = await asyncio.gather(*uploads)
        reasons = await asyncio.gather(*refused)
    assert status == 0
    # A caller that was late finds the connection closed.
    assert {"DRAINING"} <= set(reasons) <= {"DRAINING", ""}
    ledger.is_closed = True
    server_process.start()
    async with connect(server_process.address) as connection:
        await ledger.check(connection)
        async with deadline("the callers that were refused went on"):
            await asyncio.gather(*(caller.run(connection) for caller in callers))
        await ledger.check_complete(connection)
        for number, sequence in enumerate(committed):
            upload = await connection.upload_state(f"upload-{number}")
            assert upload.state == v1.Upload.STATE_OPEN
            assert upload.committed_through == sequence


@dataclass
class _LateUploads:
    """Clients that open uploads one after the other, each of a few chunks, until the server has gone."""

    connection: Connection
    name: str
    gone: asyncio.Event
    """Set once the server has exited."""
    acked: dict[str, int] = field(default_factory=dict)
    """Events of the chunks that were acked, by upload."""

    async def run(self) -> None:
        for number in count():
            if self.gone.is_set():
                return
            upload_id = f"{self.name}-{number}"
            chunks = [
                [_late_event(f"{upload_id}-{sequence}-{index}") for index in range(_CHUNK_EVENTS)]
                for sequence in range(3)
            ]
            call = self.connection.ingest.UploadEvents()
            writing = asyncio.create_task(self._write(call, upload_id, chunks))
            try:
                async for message in call:
                    acked = max(self.acked.get(upload_id, 0), message.ack.committed_through * _CHUNK_EVENTS)
                    self.acked[upload_id] = acked
            except grpc.aio.AioRpcError as error:
                if error.code() != grpc.StatusCode.UNAVAILABLE and not is_torn_write(error):
                    raise
            finally:
                writing.cancel()
                await asyncio.wait([writing])

    async def _write(self, call: UploadCall, upload_id: str, chunks: list[list[v1.Event]]) -> None:
        with suppress(grpc.aio.AioRpcError, grpc.aio.InternalError, asyncio.InvalidStateError):
            for message in upload_messages(upload_id, chunks):
                await call.write(message)
            await call.done_writing()


def _late_event(event_id: str) -> v1.Event:
    event = customer_event(event_id)
    event.consumer_id = "late"
    return event


@pytest.fixture(params=["one process", "two workers", "a replicated log"])
def busy(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServerProcess]:
    """A server of each kind, with a long grace period."""
    environment = {"ENGAGEMENT_STOP_GRACE_SECONDS": str(_LONG_GRACE_SECONDS)}
    with ExitStack() as running:
        if request.param == "two workers":
            environment["ENGAGEMENT_WORKERS"] = "2"
        elif request.param == "a replicated log":
            nats = running.enter_context(NatsCluster(tmp_path / "nats", size=1))
            environment |= {"ENGAGEMENT_LOG": nats.url, "ENGAGEMENT_LOG_REPLICAS": "1"}
        process = ServerProcess(tmp_path / "data", environment=environment, is_command=True)
        yield running.enter_context(process.start())


async def test_uploads_that_keep_coming_and_an_erasure_do_not_hold_up_a_stop(busy: ServerProcess) -> None:
    async with AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(connect(busy.address)) for _ in range(4)]
        for first in range(0, _ERASED_EVENTS, 500):
            await connections[0].record_batch(customer_events(500, start=first))
        gone = asyncio.Event()
        late = [
            _LateUploads(connection, f"late-{number}", gone) for number, connection in enumerate(connections)
        ]
        uploading = [asyncio.create_task(each.run()) for each in late]
        await eventually(lambda: all(any(each.acked.values()) for each in late), "uploads are acked")
        privacy = v1.PrivacyServiceStub(connections[0].channel)
        request = v1.EraseConsumerRequest(
            account_id=ACCOUNT, request_id="r", subjects=[v1.Subject(consumer_id="ada")]
        )
        erasing = asyncio.ensure_future(privacy.EraseConsumer(request))
        await _until_erasing(connections[0])
        began = time.monotonic()
        assert await asyncio.to_thread(busy.stop) == 0
        gone.set()
        assert time.monotonic() - began < _LONG_GRACE_SECONDS / 2
        async with deadline("the clients noticed"):
            await asyncio.wait([*uploading, erasing])
    busy.start()
    async with connect(busy.address) as connection:
        for each in late:
            for upload_id, events in each.acked.items():
                if events:
                    assert (await connection.upload_state(upload_id)).tally.accepted >= events
        async with deadline("the erasure was completed"):
            await _until_complete(connection)
        wanted = v1.EventFilter(consumer_ids=["ada"])
        assert [stored async for stored in connection.stored(wanted=wanted)] == []


async def _until_erasing(connection: Connection) -> None:
    """Waits until some events of the erasure are gone, and some are not."""
    privacy = v1.PrivacyServiceStub(connection.channel)
    request = v1.ListErasuresRequest(account_id=ACCOUNT)

    async def is_running() -> bool:
        erasures = (await privacy.ListErasures(request)).erasures
        return any(0 < each.erased_events < _ERASED_EVENTS for each in erasures)

    await eventually(is_running, "the erasure is under way")


async def _until_complete(connection: Connection) -> None:
    privacy = v1.PrivacyServiceStub(connection.channel)
    request = v1.EraseConsumerRequest(
        account_id=ACCOUNT, request_id="r", subjects=[v1.Subject(consumer_id="ada")]
    )
    erasure = (await privacy.EraseConsumer(request)).erasure
    assert erasure.HasField("complete_time")
    assert erasure.erased_events == _ERASED_EVENTS


async def test_health_tells_first_that_the_server_stops(server_process: ServerProcess) -> None:
    async with connect(server_process.address) as connection:
        # An upload that ignores the closing message keeps the server for a while.
        upload = connection.ingest.UploadEvents()
        await upload.write(next(upload_messages("upload", [])))
        await upload.read()
        watches = [watch(connection.channel, service) for service in _SERVICES]
        assert {await _status(each) for each in watches} == {SERVING}
        stopping = asyncio.create_task(asyncio.to_thread(server_process.stop))
        assert {await _status(each) for each in watches} == {NOT_SERVING}
        assert not stopping.done()
        assert await stopping == 0
        closing = await upload.read()
        assert isinstance(closing, v1.UploadEventsResponse)
        assert closing.HasField("closing")
        assert await upload.code() == grpc.StatusCode.OK


@pytest.fixture
def patient(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server whose stop takes longer than any deadline if something holds it up."""
    environment = {"ENGAGEMENT_STOP_GRACE_SECONDS": str(10 * DEADLINE_SECONDS)}
    with ServerProcess(tmp_path / "patient", environment=environment).start() as process:
        yield process


async def test_nothing_that_is_merely_open_holds_up_a_stop(patient: ServerProcess) -> None:
    async with connect(patient.address) as connection, connect(patient.address) as idle:
        await idle.channel.channel_ready()
        await connection.record(customer_event())
        await watch(connection.channel).read()
        upload = connection.ingest.UploadEvents()
        reflection: grpc.aio.StreamStreamCall[bytes, bytes]
        reflection = connection.channel.stream_stream(_REFLECTION)()
        await upload.wait_for_connection()
        await reflection.wait_for_connection()
        assert await asyncio.to_thread(patient.stop) == 0


async def test_a_client_that_reads_nothing_does_not_hold_up_a_stop(patient: ServerProcess) -> None:
    with RawHttp2(patient.address, window_bytes=0) as deaf:
        deaf.call("/grpc.health.v1.Health/Watch", health_pb2.HealthCheckRequest())
        # The server now writes to a client that does not read.
        assert any(frame.kind == HEADERS for frame in deaf.frames())
        async with connect(patient.address) as connection:
            assert await _status(watch(connection.channel)) == SERVING
        assert await asyncio.to_thread(patient.stop) == 0
