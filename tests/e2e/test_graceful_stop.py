"""A stopping server answers the calls that it has, refuses new ones with a reason, and exits soon."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from random import Random

import grpc
import pytest
from grpc_health.v1 import health_pb2

from engagement import v1
from tests.support.connection import Connection, connect, upload_messages
from tests.support.events import customer_event
from tests.support.ledger import Ledger
from tests.support.producers import Caller, run_until_unavailable
from tests.support.raw_http2 import HEADERS, RawHttp2
from tests.support.raw_upload import chunk
from tests.support.server_process import ServerProcess
from tests.support.waiting import DEADLINE_SECONDS, deadline

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_SERVICES = ("", "engagement.v1.IngestService", "engagement.v1.EventService", "engagement.v1.ServerService")
_REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
_UPLOADS = 4
_MAX_UNACKED_CHUNKS = 8
Watch = grpc.aio.UnaryStreamCall[health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse]


def _watch(connection: Connection, service: str = "") -> Watch:
    watch: grpc.aio.UnaryStreamMultiCallable[health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse]
    watch = connection.channel.unary_stream(
        "/grpc.health.v1.Health/Watch",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    return watch(health_pb2.HealthCheckRequest(service=service))


async def _status(watch: Watch) -> int:
    async with deadline("the health service said something"):
        response = await watch.read()
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


async def test_health_tells_first_that_the_server_stops(server_process: ServerProcess) -> None:
    async with connect(server_process.address) as connection:
        # An upload that ignores the closing message keeps the server for a while.
        upload = connection.ingest.UploadEvents()
        await upload.write(next(upload_messages("upload", [])))
        await upload.read()
        watches = [_watch(connection, service) for service in _SERVICES]
        assert {await _status(watch) for watch in watches} == {_SERVING}
        stopping = asyncio.create_task(asyncio.to_thread(server_process.stop))
        assert {await _status(watch) for watch in watches} == {_NOT_SERVING}
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
        watch = _watch(connection)
        await watch.read()
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
            assert await _status(_watch(connection)) == _SERVING
        assert await asyncio.to_thread(patient.stop) == 0
