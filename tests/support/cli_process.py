"""The command line as people run it: with arguments, files and pipes."""

from __future__ import annotations

import glob
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from engagement.cli.program import main
from tests.support.forked_process import run_forked
from tests.support.waiting import DEADLINE_SECONDS

TIMEOUT_SECONDS = DEADLINE_SECONDS


@dataclass(frozen=True)
class Cli:
    """`engagement` in a folder, for an account of a server."""

    folder: Path
    server: str = "127.0.0.1:1"
    account: str = "acme"
    settings: dict[str, str] = field(default_factory=dict)
    """Further variables of the environment."""

    @property
    def environment(self) -> dict[str, str]:
        """The process's environment; warnings are errors there too."""
        return {
            **os.environ,
            "ENGAGEMENT_SERVER": self.server,
            "ENGAGEMENT_ACCOUNT": self.account,
            # Not the profiles of whoever runs the tests.
            "XDG_CONFIG_HOME": str(self.folder / "configuration"),
            "PYTHONWARNINGS": "error",
            **self.settings,
        }

    @contextmanager
    def start(self, *arguments: str, stdout: int = subprocess.PIPE) -> Iterator[subprocess.Popen[bytes]]:
        """A running command with pipes; it is killed at the end of the context."""
        with subprocess.Popen(
            [sys.executable, "-m", "engagement.cli", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=subprocess.PIPE,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def run(self, *arguments: str, stdin: bytes = b"") -> Result:
        """Runs a command to its end: in this process, which is faster, unless it has input or settings.

        Commands run an event loop of their own, so a coroutine needs `run_process`.
        """
        if stdin or self.settings:
            return self.run_process(*arguments, stdin=stdin)
        with chdir(self.folder), CliRunner().isolation(env=self.environment) as (stdout, stderr, *_):
            status = main(arguments)
            sys.stdout.flush()
            sys.stderr.flush()
            return Result(status, stdout.getvalue().decode(), stderr.getvalue().decode())

    def run_process(self, *arguments: str, stdin: bytes = b"") -> Result:
        """Runs a command to its end, in a process; `start` has an interpreter of its own."""
        forked = run_forked(
            arguments, folder=self.folder, environment=self.environment, stdin=stdin, timeout=TIMEOUT_SECONDS
        )
        if forked is not None:
            status, output, messages = forked
            return Result(status, output.decode(), messages.decode())
        with self.start(*arguments) as process:
            stdout, stderr = process.communicate(stdin, timeout=TIMEOUT_SECONDS)
        return Result(process.returncode, stdout.decode(), stderr.decode())

    def count_stored(self) -> int:
        """The number of the account's events."""
        listed = self.run("list", "--json")
        assert listed.status == 0, listed.stderr
        return listed.stdout.count("\n")

    def write(self, name: str, *lines: str) -> Path:
        """A file in the folder."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines))
        return path

    def rejections(self, name: str) -> list[dict[str, Any]]:
        """The contents of the latest report of rejections beside a file."""
        return [json.loads(line) for line in self.reports(name)[-1].read_text().splitlines()]

    def reports(self, name: str) -> list[Path]:
        """The reports of rejections beside a file, in the order in which they were written."""
        found = self.folder.glob(f"{glob.escape(name)}.*.rejected.ndjson")
        return sorted(found, key=lambda path: path.stat().st_mtime_ns)


@dataclass(frozen=True)
class Result:
    """The outcome of a command."""

    status: int
    stdout: str
    stderr: str

    def json(self) -> Any:
        """The standard output as one JSON value."""
        return json.loads(self.stdout)


def feed(process: subprocess.Popen[bytes], *lines: str) -> None:
    """Writes lines to a command that waits for more."""
    assert process.stdin is not None
    process.stdin.write("".join(f"{line}\n" for line in lines).encode())
    process.stdin.flush()


def read_line(process: subprocess.Popen[bytes]) -> bytes:
    """Waits for a line of a command, which is killed at the deadline."""
    assert process.stdout is not None
    limit = threading.Timer(DEADLINE_SECONDS, process.kill)
    limit.start()
    try:
        line = process.stdout.readline()
    finally:
        limit.cancel()
    assert line, "the command ended without a line, or was killed because it wrote none"
    return line


def event_line(balance: str, **fields: object) -> str:
    """One event in proto-JSON."""
    return json.dumps({"customerInfo": {"balance": balance}, **fields})
