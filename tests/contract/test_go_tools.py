"""Tools that operators have work with the server alone, without the protos: ghz and grpc-health-probe."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.child_process import REPOSITORY
from tests.support.connection import ACCOUNT, connect
from tests.support.document import read_blocks, run_blocks
from tests.support.go_tools import INSTALL_SECONDS, installed, is_go_there
from tests.support.server_process import ServerProcess
from tests.support.waiting import DEADLINE_SECONDS, wait_until

PAGE = REPOSITORY / "docs/tools.md"
_CALLS = 200
_NOT_SERVING = 4
pytestmark = [pytest.mark.toolchain, pytest.mark.timeout(8 * INSTALL_SECONDS)]


@pytest.fixture(autouse=True)
def _tools(monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts the tools on the path."""
    if not is_go_there():
        pytest.skip("ghz and grpc-health-probe need Go")
    folders = map(str, installed(PAGE))
    monkeypatch.setenv("PATH", os.pathsep.join([*folders, os.environ["PATH"]]))


@pytest.fixture(params=[1, 2], ids=["one process", "workers"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServerProcess]:
    options = ("--workers", str(request.param), "--lame-duck-seconds", str(10 * DEADLINE_SECONDS))
    with ServerProcess(tmp_path / "data", options=options).start() as process:
        yield process


def _ghz(address: str, method: str, data: object, *options: str) -> Any:
    """The report of a load test; the method is found by reflection."""
    done = subprocess.run(
        [
            "ghz",
            "--insecure",
            "--format",
            "json",
            "--call",
            method,
            "-d",
            json.dumps(data),
            *options,
            address,
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _probe(address: str, service: str = "") -> int:
    """The exit status of a probe."""
    command = ["grpc-health-probe", "-addr", address, "-service", service, "-connect-timeout", "20s"]
    done = subprocess.run(
        [*command, "-rpc-timeout", "20s"], capture_output=True, check=False, timeout=DEADLINE_SECONDS
    )
    return done.returncode


def test_what_the_page_shows_is_what_happens(server_process: ServerProcess, tmp_path: Path) -> None:
    run_blocks(read_blocks(PAGE), folder=tmp_path, address=server_process.address)


async def test_ghz_records_events_by_reflection_alone(server: ServerProcess) -> None:
    data = {"account_id": ACCOUNT, "event": {"event_id": "{{newUUID}}", "customer_info": {"balance": "1"}}}
    load = ("--total", str(_CALLS), "--concurrency", "8", "--connections", "4")
    for method in ("engagement.v1.IngestService.RecordEvent", "engagement.v1.IngestService/RecordEvent"):
        report = _ghz(server.address, method, data, *load)
        assert report["statusCodeDistribution"] == {"OK": _CALLS}
    async with connect(server.address) as connection:
        assert len(set(await connection.stored_ids())) == 2 * _CALLS


@pytest.mark.parametrize(
    ("method", "data"),
    [
        ("engagement.v1.ServerService.GetServerInfo", {}),
        ("engagement.v1.EventService.ListEvents", {"account_id": ACCOUNT, "page_size": 1}),
        ("grpc.health.v1.Health.Check", {"service": "engagement.v1.IngestService"}),
    ],
)
def test_ghz_finds_other_methods(server_process: ServerProcess, method: str, data: object) -> None:
    report = _ghz(server_process.address, method, data, "--total", "5", "--concurrency", "1")
    assert report["statusCodeDistribution"] == {"OK": 5}


def test_ghz_tells_why_calls_are_refused(server_process: ServerProcess) -> None:
    data = {"account_id": ACCOUNT, "event": {"event_id": "empty"}}
    method = "engagement.v1.IngestService.RecordEvent"
    report = _ghz(server_process.address, method, data, "--total", "5", "--concurrency", "1")
    assert report["statusCodeDistribution"] == {"InvalidArgument": 5}


def test_a_probe_notices_that_the_server_stops_while_it_takes_calls(server: ServerProcess) -> None:
    services = ("", "engagement.v1.IngestService", "engagement.v1.EventService", "expiry", "partition/0")
    assert {_probe(server.address, service) for service in services} == {0}
    server.send(signal.SIGTERM)
    wait_until(lambda: _probe(server.address) == _NOT_SERVING, "the probe says that the server stops")
    data = {"account_id": ACCOUNT, "event": {"customer_info": {"balance": "1"}}}
    method = "engagement.v1.IngestService.RecordEvent"
    report = _ghz(server.address, method, data, "--total", "5", "--concurrency", "1")
    assert report["statusCodeDistribution"] == {"OK": 5}
    wait_until(
        lambda: {_probe(server.address, service) for service in services} == {_NOT_SERVING},
        "all of them say so",
    )
    assert server.stop() == 0
