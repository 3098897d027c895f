"""Starts the measured servers, each in its own process."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_STOP_TIMEOUT_SECONDS = 60
_PACKAGE_FOLDERS = ("server", "clients/python")


@dataclass(frozen=True, slots=True)
class RunningServer:
    """Where a server listens, and its process."""

    address: str
    pid: int


@contextmanager
def engagement_server(
    data_dir: Path, *options: str, log_file: Path | None = None, tree: Path | None = None
) -> Iterator[RunningServer]:
    """The server as its users start it, over a folder; it stops gracefully behind the block.

    Its messages go to the standard error of this process, or to a file. Its code is that of a tree if one is
    given, else that of this process.
    """
    command = ("-m", "engagement.cli", "serve", "--listen", "127.0.0.1:0", "--data", str(data_dir))
    with contextlib.ExitStack() as stack:
        messages = None if log_file is None else stack.enter_context(log_file.open("w"))
        yield stack.enter_context(_listening(*command, *options, messages=messages, tree=tree))


@contextmanager
def echo_server() -> Iterator[RunningServer]:
    """A server that only sends back what it gets."""
    with _listening("-m", "benchmarks.echo_server") as server:
        yield server


@contextmanager
def _listening(
    *arguments: str, messages: IO[str] | None = None, tree: Path | None = None
) -> Iterator[RunningServer]:
    with subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=messages,
        text=True,
        env=None if tree is None else _environment(tree),
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


def _environment(tree: Path) -> dict[str, str]:
    """That of this process, with the packages of a tree in front of the installed ones."""
    packages = os.pathsep.join(str(tree / folder) for folder in _PACKAGE_FOLDERS)
    return {**os.environ, "PYTHONPATH": packages}
