"""A real server in a process of its own, which a test may stop, kill and start again."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

STOP_TIMEOUT_SECONDS = 20


@dataclass
class ServerProcess:
    """`engagement serve` over a data folder; it keeps its port when it is started again."""

    data_dir: Path
    address: str = "127.0.0.1:0"
    environment: dict[str, str] = field(default_factory=dict)
    _process: subprocess.Popen[str] | None = None

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> ServerProcess:
        """Starts the server and waits until it listens."""
        self.launch()
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        match = re.fullmatch(r"listening on (\S+)\n", line)
        assert match, f"the server did not start: {line!r}"
        self.address = match[1]
        return self

    def launch(self) -> None:
        """Starts the server and does not wait for it."""
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "engagement.cli",
                "serve",
                "--listen",
                self.address,
                "--data",
                str(self.data_dir),
            ],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **self.environment},
        )

    def kill(self) -> None:
        """Ends the server as a crash would: SIGKILL."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Stops the server gracefully; its exit status."""
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        process = self._process
        if process is None:
            return 0
        process.send_signal(number)
        status = process.wait(STOP_TIMEOUT_SECONDS)
        assert process.stdout is not None
        process.stdout.close()
        self._process = None
        return status
