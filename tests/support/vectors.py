"""The cases that clients of all languages share, and the scripted server that plays the conversations."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VECTORS = Path(__file__).parents[2] / "clients/vectors"
_STOP_TIMEOUT_SECONDS = 20

Json = Any  # what json.loads gives


def cases(file_name: str) -> list[Json]:
    """All cases of a file."""
    found: list[Json] = json.loads((VECTORS / file_name).read_text())["cases"]
    return found


def name_of(case: Json) -> str:
    """How a test run names a case."""
    return str(case["name"])


@dataclass(frozen=True, slots=True)
class ScriptedServer:
    """Where the scripted server listens."""

    address: str
    tls_address: str
    ca_file: Path


@contextmanager
def scripted_server() -> Iterator[ScriptedServer]:
    """The scripted server in a process of its own, as clients of other languages meet it."""
    command = [sys.executable, "-m", "clients.vectors.scripted_server"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=VECTORS.parents[1]) as process:
        try:
            assert process.stdout is not None
            addresses = json.loads(process.stdout.readline())
            yield ScriptedServer(addresses["address"], addresses["tls_address"], Path(addresses["ca_file"]))
        finally:
            process.terminate()
            process.wait(_STOP_TIMEOUT_SECONDS)
