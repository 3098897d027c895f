"""Fixtures of all tests: real servers over temporary folders; and the rules of a test run."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import hypothesis
import pytest

from engagement_server.config import Config
from engagement_server.node import Server
from tests.support.server_process import ServerProcess
from tests.support.small_disk import can_mount

# Servers that tests kill leave their folders behind.
os.environ.setdefault("ENGAGEMENT_RESERVE_MEGABYTES", "1")
# Only the tests of the management port pay for it.
os.environ.setdefault("ENGAGEMENT_HTTP", "off")
# How long an example takes depends on the machine.
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")

pytest_plugins = ["tests.support.run_rules"]
# Some containers and other systems than Linux allow no mounts; the end of the run says so.
collect_ignore = (
    []
    if can_mount()
    else ["e2e/test_full_disk.py", "e2e/test_full_disk_views.py", "e2e/test_unwritable_stores.py"]
)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Names the tests that this system cannot run."""
    for path in collect_ignore:
        terminalreporter.write_line(f"not run: tests/{path} mounts a small disk, which this system forbids")


def pytest_xdist_auto_num_workers() -> int:
    """Two more than there are processors: many tests wait for servers most of the time."""
    return (os.cpu_count() or 1) + 2


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begins a run in several processes with the slowest tests, so that they end together."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: item.get_closest_marker("timeout") is None)


def pytest_collection_finish() -> None:
    """Spares the thousands of collected tests from being looked through by every collection of garbage."""
    gc.collect()
    gc.freeze()


def pytest_configure() -> None:
    """Enables Ctrl-C for the commands under test: a background job may have inherited that it is ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def new_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a server that was started and stopped.

    The first start makes the store, and waits for the disk a dozen times.
    """
    folder = tmp_path_factory.mktemp("new-store") / "data"

    async def make() -> None:
        await (await Server.start(Config(listen="127.0.0.1:0", data=folder))).stop()

    asyncio.run(make())
    return folder


@pytest.fixture
async def server(tmp_path: Path, new_store: Path) -> AsyncIterator[Server]:
    """A server on a free port, in this process; its store is a copy of a new one."""
    shutil.copytree(new_store, tmp_path / "data")
    running = await Server.start(Config(listen="127.0.0.1:0", data=tmp_path / "data"))
    yield running
    await running.stop()


@pytest.fixture
def server_process(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server on a free port, in a process of its own."""
    with ServerProcess(tmp_path / "data").start() as process:
        yield process
