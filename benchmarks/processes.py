"""Starts the measured servers, each in its own process."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_STOP_TIMEOUT_SECONDS = 60


@dataclass(frozen=True, slots=True)
class RunningServer:
    """Where a server listens, and its process."""

    address: str
    pid: int


@contextmanager
def engagement_server(data_dir: Path, *options: str) -> Iterator[RunningServer]:
    """The server as its users start it, over a folder; it stops gracefully behind the block."""
    command = ("-m", "engagement.cli", "serve", "--listen", "127.0.0.1:0", "--data", str(data_dir))
    with _listening(*command, *options) as server:
        yield server


@contextmanager
def echo_server() -> Iterator[RunningServer]:
    """A server that only sends back what it gets."""
    with _listening("-m", "benchmarks.echo_server") as server:
        yield server


@contextmanager
def _listening(*arguments: str) -> Iterator[RunningServer]:
    with subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            match = re.fullmatch(r"listening on (\S+)\n", line)
            if match is None:
                raise RuntimeError(f"{' '.join(arguments)} did not start: it printed {line!r}")
            yield RunningServer(match[1], process.pid)
        finally:
            process.terminate()
            try:
                process.wait(_STOP_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
