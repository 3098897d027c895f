"""The log of a running server: a line for each call that fails or is slow, joined by ids."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest

from engagement import v1
from tests.support.connection import ACCOUNT, Connection, connect
from tests.support.events import bad_event, customer_event
from tests.support.log_lines import call_lines, log_lines
from tests.support.raw_upload import chunk, opening
from tests.support.refused_call import expect_refused
from tests.support.server_process import ServerProcess
from tests.support.waiting import eventually
from tests.support.worker_processes import NEEDS_PROC, Workers

StartServer = Callable[..., ServerProcess]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[StartServer]:
    """Starts the server of the test with options."""
    started: list[ServerProcess] = []

    def begin(*options: str) -> ServerProcess:
        server = ServerProcess(tmp_path / "data", options=options).start()
        started.append(server)
        return server

    yield begin
    for server in started:
        server.kill()


async def fail(connection: Connection, *, request_id: str = "") -> str:
    """Makes a call that is refused; returns the request id that the caller is told."""
    metadata = [("x-request-id", request_id)] if request_id else []
    call = connection.ingest.RecordEvent(
        v1.RecordEventRequest(account_id=ACCOUNT, event=bad_event()), metadata=metadata
    )
    await expect_refused(call)
    told = dict(await call.trailing_metadata())["x-request-id"]
    assert isinstance(told, str)
    return told


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_call_that_fails_is_found_by_its_request_id(start: StartServer, workers: str) -> None:
    server = start("--log-format", "json", "--workers", workers)
    async with connect(server.address) as connection:
        assert await fail(connection, request_id="my-request") == "my-request"
        made = await fail(connection)
        await connection.record(customer_event())
        await eventually(lambda: bool(call_lines(server, request_id=made)), "the lines are written")
    for request_id in ("my-request", made):
        (line,) = call_lines(server, request_id=request_id)
        assert line["seconds"] < 60
        assert line.get("worker") in ({None} if workers == "1" else {1, 2})
        del line["time"], line["seconds"], line["request_id"]
        line.pop("worker", None)
        assert line == {
            "level": "info",
            "logger": "engagement_server.calls",
            "message": "call failed",
            "method": "engagement.v1.IngestService/RecordEvent",
            "code": "INVALID_ARGUMENT",
            "reason": "FIELD_INVALID",
            "account": ACCOUNT,
        }
    assert server.stop() == 0
    assert not call_lines(server, code="OK")
    assert log_lines(server)[-1]["message"] == "stopping"


async def test_lines_of_text_say_the_same(start: StartServer) -> None:
    server = start("--workers", "2")
    async with connect(server.address) as connection:
        await fail(connection, request_id="my request")
        await eventually(lambda: "my request" in server.messages, "the line is written")
    (line,) = (line for line in server.messages.splitlines() if "my request" in line)
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO worker [12] engagement_server\.calls: call failed"
        r" method=engagement\.v1\.IngestService/RecordEvent code=INVALID_ARGUMENT reason=FIELD_INVALID"
        r' seconds=\S+ account=acme request_id="my request"',
        line,
    )


async def test_a_request_id_that_cannot_be_sent_back_is_replaced_in_the_line(start: StartServer) -> None:
    server = start("--log-format", "json")
    async with connect(server.address) as connection:
        told = await fail(connection, request_id="x" * 10_000)
        await eventually(lambda: bool(call_lines(server, request_id=told)), "the line is written")
    assert len(told) == 16
    assert len(max(server.messages.splitlines(), key=len)) < 1000


async def test_a_stream_that_fails_counts_its_messages(start: StartServer) -> None:
    server = start("--log-format", "json")
    async with connect(server.address) as connection:
        upload = connection.ingest.UploadEvents()
        await upload.write(opening(upload_id="upload"))
        await upload.write(chunk(7, customer_event()))
        with pytest.raises(grpc.aio.AioRpcError):
            _ = [message async for message in upload]
        await eventually(lambda: bool(call_lines(server)), "the line is written")
    (line,) = call_lines(server)
    assert (line["reason"], line["account"]) == ("SEQUENCE_GAP", ACCOUNT)
    assert (line["messages_received"], line["messages_sent"]) == (2, 1)


async def test_a_flood_of_failing_calls_is_summed(start: StartServer) -> None:
    server = start("--log-format", "json")
    async with connect(server.address) as connection:
        await asyncio.gather(*(fail(connection) for _ in range(300)))

        def are_counted() -> bool:
            return sum(int(line.get("more", 1)) for line in call_lines(server)) == 300

        await eventually(are_counted, "each call is in a line or in a sum")
    assert len(call_lines(server)) < 200
    sums = [line for line in call_lines(server) if "more" in line]
    assert all(line["message"].startswith(f"and {line['more']:,} more alike") for line in sums)
    assert all((line["reason"], line["account"]) == ("FIELD_INVALID", ACCOUNT) for line in sums)


async def test_slow_calls_are_logged_and_streams_are_not(start: StartServer) -> None:
    server = start("--log-format", "json", "--slow-call-seconds", "0")
    async with connect(server.address) as connection:
        await connection.upload([[customer_event()]])
        await connection.record(customer_event("other"))
        await eventually(lambda: bool(call_lines(server)), "the line is written")
    (line,) = call_lines(server)
    assert (line["message"], line["code"]) == ("slow call", "OK")
    assert line["method"].endswith("/RecordEvent")


async def test_at_debug_level_each_call_has_a_line(start: StartServer) -> None:
    server = start("--log-format", "json", "--log-level", "debug")
    async with connect(server.address) as connection:
        for number in range(30):
            await connection.record(customer_event(f"e{number}"))
        await connection.upload([[customer_event("uploaded")]])
        await eventually(lambda: len(call_lines(server, code="OK")) == 31, "the lines are written")
    assert {line["level"] for line in call_lines(server)} == {"debug"}


async def test_at_a_higher_level_calls_have_no_line(start: StartServer) -> None:
    server = start("--log-format", "json", "--log-level", "warning", "--slow-call-seconds", "0")
    async with connect(server.address) as connection:
        await fail(connection)
        await connection.record(customer_event())
    assert server.stop() == 0
    assert log_lines(server) == []


@NEEDS_PROC
async def test_lines_about_a_worker_that_dies_are_json_too(start: StartServer) -> None:
    server = start("--log-format", "json", "--workers", "2")
    workers = Workers(server)
    async with AsyncExitStack() as stack:
        by_pid = await workers.connect_to_each(stack)
        for connection in by_pid.values():
            await fail(connection)
        os.kill(next(iter(by_pid)), signal.SIGKILL)
        await eventually(
            lambda: any("exited with status" in line["message"] for line in log_lines(server)), "it is logged"
        )
    assert {line["worker"] for line in call_lines(server)} == {1, 2}


@pytest.mark.parametrize(("option", "value"), [("--log-format", "xml"), ("--log-level", "loud")])
def test_a_wrong_setting_ends_the_start_with_one_sentence(tmp_path: Path, option: str, value: str) -> None:
    with ServerProcess(tmp_path / "data", options=(option, value)) as server:
        server.launch()
        assert server.wait() == 2
    assert f"{option} must be" in server.messages
    assert "Traceback" not in server.messages
