"""A service manager hears when the server is ready, when it stops, and that it is alive meanwhile."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.server_process import ServerProcess
from tests.support.waiting import DEADLINE_SECONDS


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(DEADLINE_SECONDS)
        yield listening


def hear(manager: socket.socket, wanted: str) -> list[str]:
    """What the manager hears until a message begins as wanted."""
    heard: list[str] = []
    while not heard or not heard[-1].startswith(wanted):
        heard.append(manager.recv(4096).decode())
    return heard


@pytest.mark.parametrize("workers", ["1", "2"])
def test_it_hears_of_the_start_and_of_the_stop(tmp_path: Path, manager: socket.socket, workers: str) -> None:
    environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "ENGAGEMENT_WORKERS": workers}
    with ServerProcess(tmp_path / "data", environment=environment) as server:
        server.launch()
        *starting, ready = hear(manager, "READY=1")
        assert set(starting) <= {"EXTEND_TIMEOUT_USEC=60000000"}
        assert ready == f"READY=1\nSTATUS=takes calls on {server.first_line().removeprefix('listening on ')}"
        assert server.stop() == 0
        assert hear(manager, "STOPPING=1")[-1] == "STOPPING=1\nSTATUS=stops"


def test_it_hears_that_a_start_goes_on_for_as_long_as_it_takes(
    tmp_path: Path, manager: socket.socket
) -> None:
    with ServerProcess(
        tmp_path / "data",
        environment={"NOTIFY_SOCKET": str(tmp_path / "notify")},
        options=("--log", "nats://127.0.0.1:1"),  # never there
    ) as server:
        server.launch()
        for _ in range(2):
            assert hear(manager, "EXTEND") == ["EXTEND_TIMEOUT_USEC=60000000"]
        assert server.stop() == 0


def test_a_manager_that_is_gone_stops_nothing(tmp_path: Path) -> None:
    for address in (str(tmp_path / "gone"), "@gone", "x" * 200):
        with ServerProcess(tmp_path / "data", environment={"NOTIFY_SOCKET": address}) as server:
            server.start()
            assert server.stop() == 0
            assert "failed" not in server.messages
