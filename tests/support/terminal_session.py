"""A program on a terminal of its own: types keys, reads what is shown, resizes it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import shlex
import signal
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tests.support.waiting import DEADLINE_SECONDS, wait_until

CONTROL_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_CHUNK_BYTES = 65_536


def _obey_hangup() -> None:
    """Ends with its terminal, as programs do unless nohup has started the tests."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


class TerminalSession:
    """Runs a command as the foreground of a new terminal, which it controls; leaving the context kills it.

    Args:
        command: the program and its arguments.
        folder: where it runs.
        environment: all of its environment.
        columns: width of the terminal.
        lines: height of the terminal.
    """

    def __init__(
        self,
        *command: str,
        folder: Path,
        environment: Mapping[str, str],
        columns: int = 100,
        lines: int = 30,
    ) -> None:
        self._ours, self._theirs = pty.openpty()
        self._shown = b""
        self.resize(columns=columns, lines=lines)
        self.modes = self.read_modes()
        terminal = shlex.quote(os.ttyname(self._theirs))
        # Whoever runs the tests may have told their own width. A leader of a session that opens a terminal
        # controls it.
        inherited = {name: value for name, value in environment.items() if name not in {"COLUMNS", "LINES"}}
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", f"exec {shlex.join(command)} <{terminal} >{terminal} 2>&1"],
            cwd=folder,
            env={"TERM": "xterm", **inherited, "PS1": "$ "},
            start_new_session=True,
            preexec_fn=_obey_hangup,  # noqa: PLW1509  # it takes no lock
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)
        os.close(self._theirs)

    @property
    def shown(self) -> str:
        """All that was written so far."""
        while select.select([self._ours], [], [], 0)[0]:
            self._shown += os.read(self._ours, _CHUNK_BYTES)
        return self._shown.decode(errors="replace")

    @property
    def plain(self) -> str:
        """All that was written so far, without control sequences."""
        return CONTROL_SEQUENCE.sub("", self.shown)

    def discard(self) -> None:
        """Leaves out of `shown` what was written so far."""
        assert self.shown is not None
        self._shown = b""

    def wait_for(self, pattern: str) -> None:
        """Waits until something that matches is shown."""
        try:
            wait_until(lambda: re.search(pattern, self.plain) is not None, f"{pattern} is shown")
        except TimeoutError as error:
            raise TimeoutError(f"{error}; the end of what is: {self.shown[-4000:]!r}") from None

    def type(self, keys: str) -> None:
        """Types keys, which the terminal may turn into signals."""
        os.write(self._ours, keys.encode())

    def resize(self, *, columns: int, lines: int) -> None:
        """Gives the terminal another size, of which its program is told."""
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def read_modes(self) -> Sequence[Any]:  # Any: as termios has them
        """The modes of the terminal now, such as whether it echoes."""
        return termios.tcgetattr(self._theirs)

    def wait(self) -> int:
        """Waits for the end of the program; returns its status, that of a signal below 0."""

        def has_ended() -> bool:
            assert self.shown is not None  # a full terminal would hold it up
            return self.process.poll() is not None

        wait_until(has_ended, "the program ends", seconds=DEADLINE_SECONDS)
        return self.process.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Sends the program a signal."""
        self.process.send_signal(number)
