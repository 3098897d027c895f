"""A program that a test starts, and may kill, freeze and start again."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Protocol, Self

from tests.support.waiting import DEADLINE_SECONDS, wait_until

REPOSITORY = Path(__file__).parents[2]
_TAIL_CHARACTERS = 2000


class Process(Protocol):
    """What a test does with a process: `subprocess.Popen` has it."""

    @property
    def pid(self) -> int:
        """Its id."""

    def poll(self) -> int | None:
        """The exit status, or nothing while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Waits for its end."""

    def send_signal(self, number: int, /) -> None:
        """Sends a signal."""


class ChildProcess:
    """Runs a command in the root of the repository; its output goes to files, so it never waits for a reader.

    Leaving the context kills it.

    Args:
        command: what to run; subclasses may change it before each start.
        output: the files' path without their endings: `.out` is the output of the latest start, `.err` the
            messages of all.
        environment: what differs from this process's environment.
    """

    def __init__(
        self, *command: str | Path, output: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.command = command
        self.environment = dict(environment or {})
        self._output_file = output.with_name(f"{output.name}.out")
        self._messages_file = output.with_name(f"{output.name}.err")
        self._started: Process | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """The process id of the running program."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether a process was started and not ended by the test; it may be frozen, or have exited."""
        return self._started is not None

    @property
    def has_ended(self) -> bool:
        """Whether the process has exited."""
        return self._started is not None and self._started.poll() is not None

    @property
    def output(self) -> bytes:
        """The standard output of the latest start."""
        return self._output_file.read_bytes()

    @property
    def messages(self) -> str:
        """The standard error of all starts."""
        return self._messages_file.read_text(errors="replace")

    @property
    def last_messages(self) -> str:
        """The end of the messages."""
        return self.messages[-_TAIL_CHARACTERS:]

    def launch(self) -> None:
        """Starts the program and does not wait for it."""
        with self._output_file.open("wb") as output, self._messages_file.open("ab") as messages:
            self._started = self._start({**os.environ, **self.environment}, output, messages)

    def first_line(self) -> str:
        """Waits for the first line of the output; fails if the program exits before."""

        def has_line() -> bool:
            has_ended = self.has_ended
            assert b"\n" in self.output or not has_ended, f"it exited without a line: {self.last_messages}"
            return b"\n" in self.output

        wait_until(has_line, f"a line from {self.command}")
        return self.output.decode().splitlines()[0]

    def send(self, number: signal.Signals) -> None:
        """Sends a signal."""
        self._process.send_signal(number)

    def wait(self) -> int:
        """Waits until the program has exited; returns its status."""
        status = self._process.wait(DEADLINE_SECONDS)
        self._started = None
        return status

    def kill(self) -> None:
        """Kills the program: SIGKILL."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Stops the program: SIGTERM; returns its exit status."""
        return self._end(signal.SIGTERM)

    def _start(self, environment: Mapping[str, str], output: BinaryIO, messages: BinaryIO) -> Process:
        return subprocess.Popen(
            self.command,
            cwd=REPOSITORY,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=messages,
        )

    def _end(self, number: signal.Signals) -> int:
        if not self.is_running:
            return 0
        self.send(number)
        return self.wait()

    @property
    def _process(self) -> Process:
        assert self._started is not None, "the program does not run"
        return self._started
