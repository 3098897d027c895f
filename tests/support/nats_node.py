"""One real NATS server in a process of its own, which a test may kill, freeze and start again."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import sysconfig
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.child_process import ChildProcess
from tests.support.waiting import wait_until

CONNECTIONS_PER_NEIGHBOUR = 4
_CALL_TIMEOUT_SECONDS = 20


class PortTakenError(Exception):
    """A server has exited because another program listens on one of its ports."""


class NatsNode(ChildProcess):
    """A `nats-server` with its own folder; it keeps its ports when it is started again.

    `routes_port` is zero for a server that is alone, `url` is where clients connect.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        *,
        client_port: int = 0,
        monitor_port: int = 0,
        routes_port: int = 0,
        config: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        config_file = folder / "server.conf"
        program = Path(sysconfig.get_path("scripts")) / "nats-server"
        super().__init__(program, "-c", config_file, output=folder / "log", environment=environment)
        self.name = name
        self.folder = folder
        self.client_port = client_port
        self.monitor_port = monitor_port
        self.routes_port = routes_port
        self.url = ""
        self.config = config
        self._config_file = config_file

    def launch(self) -> None:
        """Starts the server and does not wait for it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._config_file.write_text(self.config)
        super().launch()

    def wait_until_listening(self) -> None:
        """Waits until clients can connect; JetStream may still look for its leader."""
        wait_until(self._is_listening, f"{self.name} listens")

    def restart(self) -> None:
        """Kills and starts the server again, and waits until clients can connect."""
        self.kill()
        self.launch()
        self.wait_until_listening()

    def pause(self) -> None:
        """Freezes the server: its connections stay, and nothing moves."""
        self.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Resumes a frozen server."""
        self.send(signal.SIGCONT)

    # Any: the server's JSON, whose shape the caller knows.
    def monitor(self, path: str) -> dict[str, Any]:
        """A page of the server's monitoring: `/jsz`, `/routez`, `/varz`. Raises OSError without an answer."""
        return self._get(path)[1]

    @property
    def is_healthy(self) -> bool:
        """Whether the server reports that its JetStream has a leader and is not behind."""
        try:
            return self._get("/healthz")[0] == http.client.OK
        except (OSError, http.client.HTTPException):
            return False

    @property
    def neighbours(self) -> Counter[str]:
        """The number of connections to each other server, by name; see `CONNECTIONS_PER_NEIGHBOUR`."""
        return Counter(route["remote_name"] for route in self.monitor("/routez")["routes"])

    def _get(self, path: str) -> tuple[int, dict[str, Any]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.monitor_port, timeout=_CALL_TIMEOUT_SECONDS)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def _is_listening(self) -> bool:
        if self.has_ended:
            self.wait()
            assert "address already in use" in self.last_messages, f"{self.name} exited"
            raise PortTakenError(self.last_messages)
        try:
            # Clients are accepted first.
            if self.routes_port:
                self._connect(self.routes_port).close()
            with self._connect(self.client_port) as connection, connection.makefile("rb") as lines:
                greeting = lines.readline()
        except OSError:
            return False
        # Another program may have taken the port.
        return f'"server_name":"{self.name}"'.encode() in greeting

    @staticmethod
    def _connect(port: int) -> socket.socket:
        return socket.create_connection(("127.0.0.1", port), timeout=_CALL_TIMEOUT_SECONDS)
