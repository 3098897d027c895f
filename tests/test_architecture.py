"""Imports point down only, each library has its room, and a room that is optional can be deleted."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.child_process import REPOSITORY
from tests.support.connection import connect
from tests.support.events import customer_event
from tests.support.missing_library import messages_without
from tests.support.server_process import ServerProcess
from tests.support.waiting import DEADLINE_SECONDS

_LAYERS = "Imports point down only"
_LIBRARIES = "Each library is known in one room"
_CLIENT = "Of the client the server uses the contract, its rules and its encoding"
_SERVER = "The client knows nothing of the server"


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A folder with a copy of the server and of the client, and of the rules for their imports."""
    folder = tmp_path / "packages"
    leave_out = shutil.ignore_patterns("__pycache__")
    for package in ("server/engagement_server", "clients/python/engagement", "clients/python/buf"):
        shutil.copytree(REPOSITORY / package, folder / Path(package).name, ignore=leave_out)
    shutil.copy(REPOSITORY / ".importlinter", folder)
    return folder


def _lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=folder,
        env={"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_SECONDS,
    )


def test_the_layers_hold(packages: Path) -> None:
    done = _lint_imports(packages)
    assert done.returncode == 0, done.stdout + done.stderr


class _Violation(NamedTuple):
    contract: str
    file: str
    imported: str = ""

    @property
    def told(self) -> str:
        """The linter's report of it."""
        module = self.file.removesuffix(".py").replace("/", ".")
        return f"{module} -> {self.imported} (l." if self.imported else f"- {module}\n"


@pytest.mark.parametrize(
    "violation",
    [
        _Violation(_LIBRARIES, "engagement_server/log/local.py", "apsw"),
        _Violation(_LIBRARIES, "engagement_server/partitions.py", "grpc"),
        _Violation(_LIBRARIES, "engagement_server/log/committer.py", "nats"),
        _Violation(_LIBRARIES, "engagement_server/app.py", "starlette"),
        _Violation(_LIBRARIES, "engagement_server/telemetry/spans.py", "opentelemetry"),
        _Violation(_LAYERS, "engagement_server/store/reader.py", "engagement_server.log.base"),
        _Violation(_LAYERS, "engagement_server/jobs/erasures.py", "engagement_server.streams.pace"),
        _Violation(_LAYERS, "engagement_server/novelty.py"),
        _Violation(_CLIENT, "engagement_server/model.py", "engagement.errors"),
        _Violation(_SERVER, "engagement/limits.py", "engagement_server.model"),
    ],
    ids=lambda violation: f"{Path(violation.file).stem} imports {violation.imported or 'nothing'}",
)
def test_each_rule_for_imports_finds_a_violation(violation: _Violation, packages: Path) -> None:
    with (packages / violation.file).open("a") as module:
        module.write(f"import {violation.imported}\n" if violation.imported else "")
    done = _lint_imports(packages)
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(rf"^{re.escape(violation.contract)} BROKEN", done.stdout, re.MULTILINE)
    assert violation.told in done.stdout


@pytest.mark.parametrize("rooms", [["workers"], ["log/nats"], ["workers", "log/nats"]], ids=" and ".join)
async def test_a_server_runs_without_the_rooms_that_it_does_not_need(
    rooms: list[str], packages: Path, tmp_path: Path
) -> None:
    for room in rooms:
        shutil.rmtree(packages / "engagement_server" / room)
    (packages / "engagement_server/__init__.py").write_text("import os\nos.write(2, b'the copy runs')\n")
    environment = {"PYTHONPATH": str(packages)}
    with ServerProcess(tmp_path / "data", environment=environment).start() as server:
        async with connect(server.address) as connection:
            await connection.record(customer_event("first"))
            assert await connection.stored_ids() == ["first"]
    assert "the copy runs" in server.messages


def test_unit_tests_start_no_process() -> None:
    forbidden = re.compile(r"subprocess|multiprocessing|tests\.support\.(\w+_process|nats_|replicated_)")
    for path in (REPOSITORY / "tests/unit").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if forbidden.match(name)], path


def test_one_machine_loads_nothing_of_the_replicated_log_or_of_workers() -> None:
    script = (
        "import asyncio, pathlib, sys, tempfile\n"
        "from engagement_server.node import Server\n"
        "from engagement_server.config import Config\n"
        "async def run(folder):\n"
        "    server = await Server.start(Config(listen='127.0.0.1:0', data=pathlib.Path(folder)))\n"
        "    await server.stop()\n"
        "with tempfile.TemporaryDirectory() as folder:\n"
        "    asyncio.run(run(folder))\n"
        "unwanted = {'nats', 'msgspec', 'prometheus_client', 'backports.zstd', 'starlette', 'uvicorn'}\n"
        "print(*sorted(unwanted & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


@pytest.mark.parametrize("missing", ["nats", "backports"])
def test_a_server_without_the_extra_for_clusters_says_what_to_install(missing: str, tmp_path: Path) -> None:
    if missing == "backports" and sys.version_info >= (3, 14):
        missing = "nats"  # the standard library has it
    messages = messages_without(missing, "serve", "--data", str(tmp_path), "--log", "nats://127.0.0.1:1")
    assert "pip install 'engagement-attributes[server,cluster]'" in messages
