"""A process that has imported the program and is forked for each start: imports are most of a start's work.

A fork is a process of its own with arguments, streams, signals and an exit status; only its command in /proc
is not that of the program. Forking is sound because this process has one thread and has not used gRPC.
"""

from __future__ import annotations

import gc
import importlib
import io
import json
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

NUMBER_BYTES = 8
"""The length of a number in messages."""
_IMPORTED = (
    "engagement_server.commands.serve",  # first, as it sets up what the others load
    "engagement.cli.program",
    "engagement_server.app",
    "engagement_server.log.nats.jetstream_log",
    "engagement_server.workers.parent",
)
_STREAMS = 3


def main() -> int:
    """Serves the requests of the process that has started it; in a fork, runs the program."""
    for module in _IMPORTED:
        importlib.import_module(module)
    # Collections would write to all objects, and so copy the pages that the forks share.
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=int(sys.argv[1])) as control:
        arguments = _serve(control)
    if arguments is None:
        return 0
    sys.argv[1:] = arguments
    from engagement.cli.entry import main as run  # noqa: PLC0415 - as the program does, when it begins

    return run()


def _serve(control: socket.socket) -> Sequence[str] | None:
    """Returns in each fork the arguments of the program, and here nothing once the requests have ended.

    The forks end with the process that sends requests, even if that is killed.

    A request is its length and JSON, and has the standard streams with it, and a socket on which the fork's
    process id and its exit status are sent.
    """
    woken, wakes = socket.socketpair()
    for end in (woken, wakes):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
    running: dict[int, socket.socket] = {}
    while True:
        ready, _, _ = select.select([control, woken], [], [])
        if woken in ready:
            woken.recv(4096)
            _report_ended(running)
        if control not in ready:
            continue
        length, received, _, _ = socket.recv_fds(control, NUMBER_BYTES, _STREAMS + 1)
        if not length:
            _kill(running)
            return None
        request = json.loads(control.recv(int.from_bytes(length), socket.MSG_WAITALL))
        *streams, status = received
        assert threading.active_count() == 1, "a fork would lack the other threads and keep their locks"
        if (pid := os.fork()) == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, interrupt)
            for end in (woken, wakes, *running.values()):
                end.close()
            os.close(status)
            _become(streams, request["folder"], request["environment"])
            return request["arguments"]  # type: ignore[no-any-return] # the sender's
        for stream in streams:
            os.close(stream)
        running[pid] = socket.socket(fileno=status)
        _report(running[pid], pid)


def _report_ended(running: dict[int, socket.socket]) -> None:
    """Sends the status of each fork that has ended."""
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        with running.pop(pid) as report:
            _report(report, os.waitstatus_to_exitcode(status))


def _kill(running: Iterable[int]) -> None:
    for pid in running:
        os.kill(pid, signal.SIGKILL)  # those that have ended are not reaped yet, so it is theirs


def _report(report: socket.socket, number: int) -> None:
    with suppress(BrokenPipeError):  # the test does not ask
        report.sendall(number.to_bytes(NUMBER_BYTES, signed=True))


def _become(streams: Sequence[int], folder: str, environment: Mapping[str, str]) -> None:
    """Takes over the standard streams, the folder and the environment of a new process."""
    for number, (name, stream) in enumerate(zip(("stdin", "stdout", "stderr"), streams, strict=True)):
        os.dup2(stream, number)
        os.close(stream)
        opened = _opened(number, like=getattr(sys, name))
        setattr(sys, name, opened)
        setattr(sys, f"__{name}__", opened)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)


def _opened(number: int, *, like: io.TextIOWrapper) -> io.TextIOWrapper:
    """A standard stream as the interpreter opens it; the one before has learnt what its file can."""
    is_unbuffered = like.write_through
    return io.TextIOWrapper(
        open(number, "wb" if number else "rb", 0 if is_unbuffered and number else -1, closefd=False),
        encoding=like.encoding,
        errors=like.errors,
        newline="\n",
        line_buffering=not is_unbuffered and (os.isatty(number) or number == sys.stderr.fileno()),
        write_through=is_unbuffered,
    )


if __name__ == "__main__":
    sys.exit(main())
