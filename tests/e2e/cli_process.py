"""The command line as people run it: a process with arguments, files and pipes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TIMEOUT_SECONDS = 20


@dataclass(frozen=True)
class Cli:
    """`engagement` in a folder, for an account of a server."""

    folder: Path
    server: str = "127.0.0.1:1"
    account: str = "acme"

    @property
    def environment(self) -> dict[str, str]:
        """The process's environment; warnings are errors there too."""
        return {
            **os.environ,
            "ENGAGEMENT_SERVER": self.server,
            "ENGAGEMENT_ACCOUNT": self.account,
            "PYTHONWARNINGS": "error",
        }

    def start(self, *arguments: str, stdout: int = subprocess.PIPE) -> subprocess.Popen[bytes]:
        """Starts a command with pipes."""
        return subprocess.Popen(
            [sys.executable, "-m", "engagement.cli", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=subprocess.PIPE,
        )

    def run(self, *arguments: str, stdin: bytes = b"") -> Result:
        """Runs a command to its end."""
        with self.start(*arguments) as process:
            stdout, stderr = process.communicate(stdin, timeout=TIMEOUT_SECONDS)
        return Result(process.returncode, stdout.decode(), stderr.decode())

    def write(self, name: str, *lines: str) -> Path:
        """A file in the folder."""
        path = self.folder / name
        path.write_text("".join(f"{line}\n" for line in lines))
        return path

    def rejections(self, name: str) -> list[dict[str, Any]]:
        """What the report of rejections beside a file holds."""
        text = (self.folder / f"{name}.rejected.ndjson").read_text()
        return [json.loads(line) for line in text.splitlines()]


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    status: int
    stdout: str
    stderr: str

    def json(self) -> Any:
        """The standard output as one JSON value."""
        return json.loads(self.stdout)


def event_line(balance: str, **fields: object) -> str:
    """One event in proto-JSON."""
    return json.dumps({"customerInfo": {"balance": balance}, **fields})
