"""Processes of the program that are forked from one that has imported it; see `fork_server`."""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path

from tests.support import fork_server
from tests.support.shifted_clock import shifting_path

_REPOSITORY = Path(__file__).parents[2]
# They take effect when the interpreter starts or when a library is imported.
_EARLY_VARIABLES = ("PYTHON", "LD_", "LC_", "LANG", "TZ", "GRPC_", "MALLOC_", "PROTOCOL_BUFFERS_")


class ForkedProcess:
    """A process of the program, with the methods of `subprocess.Popen` that tests use."""

    def __init__(self, arguments: Sequence[str], status: socket.socket) -> None:
        self.args = arguments
        self._status = status
        self.pid = self._receive()
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit status, or nothing while it runs."""
        if self.returncode is None:
            self._status.setblocking(False)
            try:
                self._end()
            except BlockingIOError:
                return None
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Waits for its end; returns the exit status, negative for a signal. Raises TimeoutExpired."""
        if self.returncode is None:
            self._status.settimeout(timeout)
            try:
                self._end()
            except TimeoutError:
                assert timeout is not None
                raise subprocess.TimeoutExpired(list(self.args), timeout) from None
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Sends a signal unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):  # the fork server has just seen it end
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Kills it: SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _end(self) -> None:
        self.returncode = self._receive()
        self._status.close()

    def _receive(self) -> int:
        number = self._status.recv(fork_server.NUMBER_BYTES, socket.MSG_WAITALL)
        assert number, "the fork server has ended"
        return int.from_bytes(number, signed=True)


def start_forked(
    arguments: Iterable[str], *, folder: Path, environment: Mapping[str, str], streams: tuple[int, int, int]
) -> ForkedProcess | None:
    """Starts `engagement` with these standard streams; nothing if that needs an interpreter of its own."""
    known = [{}, {"PYTHONWARNINGS": "error"}, {"PYTHONPATH": shifting_path()}]
    early = _early(environment)
    if early not in [_early({**os.environ, **variables}) for variables in known]:
        return None
    return _server(early).start(list(arguments), folder=folder, environment=environment, streams=streams)


def run_forked(
    arguments: Iterable[str], *, folder: Path, environment: Mapping[str, str], stdin: bytes, timeout: float
) -> tuple[int, bytes, bytes] | None:
    """Runs `engagement` with pipes to its end: its exit status, output and messages; or nothing, as above."""
    with ExitStack() as at_end:
        ours, theirs = [], []
        with ExitStack() as given:
            for is_input in (True, False, False):
                reader, writer = os.pipe()
                mine, its = (writer, reader) if is_input else (reader, writer)
                ours.append(at_end.enter_context(os.fdopen(mine, "wb" if is_input else "rb")))
                theirs.append(its)
                given.callback(os.close, its)
            process = start_forked(
                arguments, folder=folder, environment=environment, streams=(theirs[0], theirs[1], theirs[2])
            )
        if process is None:
            return None
        at_end.callback(process.kill)
        # A command that does not end is killed, and its pipes with it.
        limit = threading.Timer(timeout, process.kill)
        limit.start()
        at_end.callback(limit.cancel)
        with ThreadPoolExecutor(2) as threads:
            reading = [threads.submit(stream.read) for stream in ours[1:]]
            with suppress(BrokenPipeError), ours[0] as writing:
                writing.write(stdin)
            stdout, stderr = (each.result() for each in reading)
        return process.wait(timeout), stdout, stderr


def _early(environment: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    return frozenset(each for each in environment.items() if each[0].startswith(_EARLY_VARIABLES))


class _ForkServer:
    """A fork server with these early variables; it ends with this process."""

    def __init__(self, early: frozenset[tuple[str, str]]) -> None:
        self._lock = threading.Lock()
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", fork_server.__name__, str(theirs.fileno())],
                cwd=_REPOSITORY,
                env={**os.environ, **dict(early)},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        atexit.register(self._stop)

    def start(
        self,
        arguments: Sequence[str],
        *,
        folder: Path,
        environment: Mapping[str, str],
        streams: tuple[int, int, int],
    ) -> ForkedProcess:
        request = {"arguments": arguments, "folder": str(folder), "environment": dict(environment)}
        data = json.dumps(request).encode()
        ours, theirs = socket.socketpair()
        with theirs, self._lock:
            length = len(data).to_bytes(fork_server.NUMBER_BYTES)
            socket.send_fds(self._control, [length], [*streams, theirs.fileno()])
            self._control.sendall(data)
        return ForkedProcess(arguments, ours)

    def _stop(self) -> None:
        self._control.close()
        self._process.wait()


_server = cache(_ForkServer)
