"""Limits of the transport: compressed messages and their unpacked size, pings, many open streams."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import pytest

from engagement import v1
from tests.support.connection import ACCOUNT, connect, upload_messages
from tests.support.events import customer_event
from tests.support.raw_http2 import GOAWAY, PING, WINDOW_UPDATE, Frame, RawHttp2
from tests.support.refused_call import expect_refused
from tests.support.server_process import ServerProcess

_MIB = 1024 * 1024
_BOMB_BYTES = 100 * _MIB
_BOMBS = 2
# Much less than one bomb.
_MOST_GROWTH_BYTES = 48 * _MIB
_OPEN_UPLOADS = 300
_PINGS = 20


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server for all tests that do not disturb it."""
    with ServerProcess(tmp_path_factory.mktemp("limits") / "data").start() as process:
        yield process


def _record(text_bytes: int) -> v1.RecordEventRequest:
    return v1.RecordEventRequest(account_id=ACCOUNT, event=customer_event(balance="x" * text_bytes))


def _large_record(text_bytes: int) -> v1.RecordEventRequest:
    """An event with two texts, whose answer is large enough to be packed."""
    event = customer_event(balance="x" * text_bytes)
    event.customer_info.role = "y" * text_bytes
    return v1.RecordEventRequest(account_id=ACCOUNT, event=event)


def test_packed_requests_are_read_and_large_answers_are_packed_on_request(
    lasting: ServerProcess,
) -> None:
    with RawHttp2(lasting.address) as connection:
        connection.call(
            "/engagement.v1.IngestService/RecordEvent",
            _large_record(50_000),
            headers={"grpc-encoding": "gzip"},
        )
        recorded = v1.RecordEventResponse.FromString(connection.answer().serialized)
    assert recorded.result.outcome == v1.Outcome.OUTCOME_ACCEPTED
    request = v1.GetEventRequest(account_id=ACCOUNT, cursor=recorded.result.cursor)
    answers = []
    for headers in ({}, {"grpc-accept-encoding": "gzip"}):
        with RawHttp2(lasting.address, window_bytes=_MIB) as connection:
            connection.send(Frame(WINDOW_UPDATE, 0, 0, _MIB.to_bytes(4, "big")))
            connection.call("/engagement.v1.EventService/GetEvent", request, headers=headers)
            answers.append(connection.answer())
    plain, packed = answers
    assert not plain.is_compressed
    assert packed.is_compressed
    assert len(packed.packed) < len(plain.packed) / 50
    assert packed.serialized == plain.serialized
    found = v1.GetEventResponse.FromString(plain.serialized).event.event
    assert found.customer_info.balance == "x" * 50_000


async def test_a_packed_message_counts_as_what_it_unpacks_to(lasting: ServerProcess) -> None:
    async with connect(lasting.address, compression=grpc.Compression.Gzip) as connection:
        stored = await connection.stored_ids()
        refused = await expect_refused(connection.ingest.RecordEvent(_record(8 * _MIB)))
        assert await connection.stored_ids() == stored
    assert refused.code == grpc.StatusCode.INVALID_ARGUMENT
    assert refused.reason == "BATCH_TOO_LARGE"
    assert int(refused.metadata["limit"]) == 8 * _MIB


@pytest.mark.skipif(sys.platform != "linux", reason="reads the memory of a process in /proc")
async def test_a_message_that_unpacks_to_more_than_all_limits_takes_no_memory(
    server_process: ServerProcess,
) -> None:
    async with connect(server_process.address, compression=grpc.Compression.Gzip) as connection:
        await connection.record(customer_event())
        before = _peak_memory_bytes(server_process)
        bomb = _record(_BOMB_BYTES)
        for _ in range(_BOMBS):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await connection.ingest.RecordEvent(bomb)
            assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert _peak_memory_bytes(server_process) - before < _MOST_GROWTH_BYTES
        assert await connection.stored_ids() == ["event"]


def test_a_client_that_pings_without_end_is_sent_away(lasting: ServerProcess) -> None:
    ping = Frame(PING, 0, 0, bytes(8))
    with RawHttp2(lasting.address) as connection:
        connection.send(*[ping] * _PINGS)
        with suppress(ConnectionResetError):
            goodbye = next(frame for frame in connection.frames() if frame.kind == GOAWAY)
    assert b"too_many_pings" in goodbye.payload


async def test_the_server_tells_how_often_a_client_may_ping(lasting: ServerProcess) -> None:
    async with connect(lasting.address) as connection:
        stub = v1.ServerServiceStub(connection.channel)
        limits = (await stub.GetServerInfo(v1.GetServerInfoRequest())).limits
    assert limits.min_keepalive_interval.ToSeconds() == 10


async def test_many_open_uploads_leave_room_for_a_call_and_end_with_the_server(
    lasting: ServerProcess,
) -> None:
    async with connect(lasting.address) as connection:
        uploads = [connection.ingest.UploadEvents() for _ in range(_OPEN_UPLOADS)]
        for number, upload in enumerate(uploads):
            await upload.write(next(upload_messages(f"upload-{number}", [])))
        for upload in uploads:
            opened = await upload.read()
            assert isinstance(opened, v1.UploadEventsResponse)
            assert opened.HasField("opened")
        result = await connection.record(customer_event("beside the uploads"))
        assert result.outcome == v1.Outcome.OUTCOME_ACCEPTED
        for upload in uploads:
            await upload.done_writing()
            assert await upload.read() is grpc.aio.EOF
            assert await upload.code() == grpc.StatusCode.OK


def _peak_memory_bytes(process: ServerProcess) -> int:
    status = Path(f"/proc/{process.pid}/status").read_text()
    match = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert match
    return int(match[1]) * 1024
