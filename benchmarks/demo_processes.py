"""The processes of the demo: a server of the log, if its program is installed, and one of ours over it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Final, NamedTuple

_START_SECONDS: Final = 60
_STOP_SECONDS: Final = 30
_POLL_SECONDS: Final = 0.05
_NATS_CONFIG: Final = """\
server_name: demo
listen: 127.0.0.1:-1
max_payload: 8MB
jetstream {{ store_dir: "{folder}/stream" }}
ports_file_dir: "{folder}"
"""


class DemoServer(NamedTuple):
    """Where the server of a demo listens."""

    address: str
    http_address: str
    has_log: bool
    """Whether it writes to a replicated log."""


@contextlib.contextmanager
def demo_server(folder: Path, *, http: str, retention_seconds: float) -> Iterator[DemoServer]:
    """A server with all that it needs in a folder. Raises RuntimeError if it does not start."""
    with contextlib.ExitStack() as ending:
        log = ending.enter_context(_log_server(folder / "log"))
        options = [
            *("--listen", "127.0.0.1:0", "--http", http, "--data", str(folder / "data")),
            *("--allow-short-retention", "--retention-days", f"{retention_seconds / 86_400:.9f}"),
            *(("--log", log, "--log-replicas", "1") if log else ()),
        ]
        command = [sys.executable, "-m", "engagement.cli", "serve", *options]
        messages = ending.enter_context((folder / "server.log").open("w+"))
        process = ending.enter_context(_running(command, output=subprocess.PIPE, messages=messages))
        assert process.stdout is not None
        found = re.findall(
            r"^(?:listening on|health and metrics on) (?:http://)?(\S+)$",
            process.stdout.readline() + process.stdout.readline(),
            re.MULTILINE,
        )
        if len(found) < 2:
            messages.seek(0)
            raise RuntimeError(f"the server did not start: {messages.read()}")
        yield DemoServer(found[0], found[1], has_log=bool(log))


@contextlib.contextmanager
def _log_server(folder: Path) -> Iterator[str]:
    """The URL of a server of the log; empty if there is no program for it."""
    program = shutil.which("nats-server") or shutil.which("nats-server", path=sysconfig.get_path("scripts"))
    if program is None:
        yield ""
        return
    folder.mkdir()
    config = folder / "nats.conf"
    config.write_text(_NATS_CONFIG.format(folder=folder))
    with _running([program, "-c", str(config)], output=subprocess.DEVNULL, messages=None) as process:
        ports = folder / f"{Path(program).name}_{process.pid}.ports"
        deadline = time.monotonic() + _START_SECONDS
        while not ports.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{program} did not start")
            time.sleep(_POLL_SECONDS)
        (url,) = json.loads(ports.read_text())["nats"]
        yield url


@contextlib.contextmanager
def _running(
    command: Sequence[str], *, output: int, messages: IO[str] | None
) -> Iterator[subprocess.Popen[str]]:
    """A process that ends with the block, and with this process."""
    leash = [sys.executable, "-m", "benchmarks.leash", str(os.getpid())]
    errors = subprocess.DEVNULL if messages is None else messages
    with subprocess.Popen(
        [*leash, *command],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=errors,
        text=True,
        start_new_session=True,  # Ctrl-C is for the demo alone, which ends them in order
    ) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
