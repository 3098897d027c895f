"""One real NATS server in a process of its own, which a test may kill, freeze and start again."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sysconfig
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

START_TIMEOUT_SECONDS = 30
STOP_TIMEOUT_SECONDS = 20
CALL_TIMEOUT_SECONDS = 5
POLL_SECONDS = 0.02
CONNECTIONS_PER_NEIGHBOUR = 4
LOG_TAIL_CHARACTERS = 2000


class NodeExitedError(Exception):
    """A server ended by itself; the text is the end of its log."""


class PortTakenError(NodeExitedError):
    """A server ended because somebody else listens on a port of its own."""


def wait_until(condition: Callable[[], bool], *, what: str, timeout_seconds: float) -> None:
    """Waits for a condition; TimeoutError names what did not come."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout_seconds} seconds: {what}")
        time.sleep(POLL_SECONDS)


@dataclass
class NatsNode:
    """A `nats-server` with its own folder; it keeps its ports when it is started again."""

    name: str
    folder: Path
    client_port: int = 0
    monitor_port: int = 0
    routes_port: int = 0
    """Zero for a server that is alone."""
    url: str = ""
    """Where clients connect: the server, or the link before it."""
    config: str = ""
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether there is a process, be it paused."""
        return self._process is not None

    @property
    def store_dir(self) -> Path:
        """Where JetStream keeps its files."""
        return self.folder / "store"

    @property
    def log(self) -> str:
        """What the server wrote since its folder was made."""
        return (self.folder / "log").read_text(errors="replace")

    def launch(self) -> None:
        """Starts the server and does not wait for it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "server.conf"
        config.write_text(self.config)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [Path(sysconfig.get_path("scripts")) / "nats-server", "-c", config], stdout=log, stderr=log
            )

    def wait_until_listening(self) -> None:
        """Waits until clients can connect; JetStream may still look for its leader."""
        wait_until(self._is_listening, what=f"{self.name} listens", timeout_seconds=START_TIMEOUT_SECONDS)

    def restart(self) -> None:
        """Starts the server again where it was, and waits until clients can connect."""
        self.kill()
        self.launch()
        self.wait_until_listening()

    def kill(self) -> None:
        """Ends the server as a crash would: SIGKILL."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Stops the server gracefully."""
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        """Freezes the server: its connections stay, and nothing moves."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Lets a frozen server go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    # The server's JSON, whose shape the caller knows.
    def monitor(self, path: str) -> dict[str, Any]:
        """What the server says about itself: `/jsz`, `/routez`, `/varz`; OSError where it does not answer."""
        return self._get(path)[1]

    @property
    def is_healthy(self) -> bool:
        """Whether the server says that its JetStream has a leader and is not behind."""
        try:
            return self._get("/healthz")[0] == http.client.OK
        except (OSError, http.client.HTTPException):
            return False

    @property
    def neighbours(self) -> Counter[str]:
        """How many connections there are to each other server, by name; see `CONNECTIONS_PER_NEIGHBOUR`."""
        return Counter(route["remote_name"] for route in self.monitor("/routez")["routes"])

    def _get(self, path: str) -> tuple[int, dict[str, Any]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.monitor_port, timeout=CALL_TIMEOUT_SECONDS)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def _is_listening(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            self._process = None
            tail = self.log[-LOG_TAIL_CHARACTERS:]
            raise (PortTakenError if "address already in use" in tail else NodeExitedError)(tail)
        try:
            # Clients are let in first.
            if self.routes_port:
                self._connect(self.routes_port).close()
            with self._connect(self.client_port) as connection, connection.makefile("rb") as lines:
                greeting = lines.readline()
        except OSError:
            return False
        # Not somebody else who took the port.
        return f'"server_name":"{self.name}"'.encode() in greeting

    @staticmethod
    def _connect(port: int) -> socket.socket:
        return socket.create_connection(("127.0.0.1", port), timeout=CALL_TIMEOUT_SECONDS)

    def _end(self, number: signal.Signals) -> None:
        process = self._process
        if process is None:
            return
        process.send_signal(number)
        process.wait(STOP_TIMEOUT_SECONDS)
        self._process = None
