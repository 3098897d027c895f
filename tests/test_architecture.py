"""Imports point down only, and each library is known where it belongs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def test_the_layers_hold() -> None:
    lint_imports = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run(
        [lint_imports, "--no-cache"],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


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
        "print(*sorted({'nats', 'msgspec', 'prometheus_client', 'backports.zstd'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


@pytest.mark.parametrize("missing", ["nats", "backports", "prometheus_client"])
def test_a_server_without_the_extra_for_clusters_says_what_to_install(missing: str, tmp_path: Path) -> None:
    if missing == "backports" and sys.version_info >= (3, 14):
        missing = "nats"  # the standard library has it
    options = ["serve", "--data", str(tmp_path), "--log", "nats://127.0.0.1:1", "--metrics", "127.0.0.1:0"]
    script = (
        f"import sys; sys.modules[{missing!r}] = None; sys.argv[1:] = {options!r}\n"
        "from engagement.cli import main\n"
        "sys.exit(main())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'engagement-attributes[server,cluster]'" in done.stderr
    assert missing in done.stderr
    assert "Traceback" not in done.stderr
