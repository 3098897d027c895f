"""Starts the measured servers, each in its own process."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_STOP_TIMEOUT_SECONDS = 60


@dataclass(frozen=True, slots=True)
class RunningServer:
    """Where a server listens, and its process."""

    address: str
    pid: int


@contextmanager
def engagement_server(data_dir: Path, *options: str, log_file: Path | None = None) -> Iterator[RunningServer]:
    """The server as its users start it, over a folder; it stops gracefully behind the block.

    Its messages go to the standard error of this process, or to a file.
    """
    command = ("-m", "engagement.cli", "serve", "--listen", "127.0.0.1:0", "--data", str(data_dir))
    with contextlib.ExitStack() as stack:
        messages = None if log_file is None else stack.enter_context(log_file.open("w"))
        yield stack.enter_context(_listening(*command, *options, messages=messages))


@contextmanager
def echo_server() -> Iterator[RunningServer]:
    """A server that only sends back what it gets."""
    with _listening("-m", "benchmarks.echo_server") as server:
        yield server


@contextmanager
def _listening(*arguments: str, messages: IO[str] | None = None) -> Iterator[RunningServer]:
    with subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=messages, text=True
    ) as process:
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
