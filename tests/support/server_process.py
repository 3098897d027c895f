"""`engagement serve` in a process of its own, and whether it takes calls."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Self

import grpc
from grpc_health.v1 import health_pb2

from tests.support.child_process import REPOSITORY, ChildProcess, Process
from tests.support.forked_process import start_forked
from tests.support.waiting import wait_until

_CALL_TIMEOUT_SECONDS = 5
_PROGRAM = (sys.executable, "-m", "engagement.cli")


class ServerProcess(ChildProcess):
    """A server over a data folder; it keeps its port and its folder when it is started again.

    Args:
        data_dir: its data folder.
        address: where it listens.
        environment: what differs from this process's environment.
        options: further options of `engagement serve`.
        is_command: whether the command itself is executed, rather than a fork that has imported it already.
    """

    def __init__(
        self,
        data_dir: Path,
        address: str = "127.0.0.1:0",
        *,
        environment: Mapping[str, str] | None = None,
        options: tuple[str, ...] = (),
        is_command: bool = False,
    ) -> None:
        super().__init__(output=data_dir, environment=environment)
        self.data_dir = data_dir
        self.address = address
        self._options = options
        self._is_command = is_command

    def launch(self) -> None:
        """Starts the server and does not wait for it."""
        places = ("--listen", self.address, "--data", str(self.data_dir))
        self.command = (*_PROGRAM, "serve", *places, *self._options)
        super().launch()

    def start(self) -> Self:
        """Starts the server and waits until it listens."""
        self.launch()
        try:
            match = re.fullmatch(r"listening on (\S+)", self.first_line())
            assert match, f"the server did not start: {self.output!r}"
        except BaseException:
            self.kill()
            raise
        self.address = match[1]
        return self

    def _start(self, environment: Mapping[str, str], output: BinaryIO, messages: BinaryIO) -> Process:
        program, arguments = self.command[: len(_PROGRAM)], self.command[len(_PROGRAM) :]
        if program == _PROGRAM and not self._is_command:
            with open(os.devnull, "rb") as nothing:
                streams = (nothing.fileno(), output.fileno(), messages.fileno())
                started = start_forked(
                    map(str, arguments), folder=REPOSITORY, environment=environment, streams=streams
                )
            if started is not None:
                return started
        return super()._start(environment, output, messages)

    @property
    def http_address(self) -> str:
        """HOST:PORT of the management port; the environment must turn it on."""
        return self._address_after(r"health and metrics on https?://")

    @property
    def mtls_address(self) -> str:
        """HOST:PORT of the listener for clients with certificates."""
        return self._address_after("clients with certificates on ")

    def _address_after(self, introduction: str) -> str:
        line = re.compile(rf"^{introduction}(\S+)\n", re.MULTILINE)
        wait_until(lambda: bool(line.search(self.output.decode())), f"the server says its {introduction!r}")
        match = line.search(self.output.decode())
        assert match, self.output
        return match[1]

    def wait(self) -> int:
        """Waits until the server has exited; returns its status. A failing test shows its last messages."""
        status = super().wait()
        sys.stderr.write(self.last_messages)
        return status

    def wait_until_serving(self) -> None:
        """Waits until the server says that it takes calls; fails if its process ends."""

        def does_serve() -> bool:
            assert not self.has_ended, f"the server ended: {self.last_messages}"
            return is_serving(self.address)

        wait_until(does_serve, f"{self.address} serves")


def is_serving(address: str, service: str = "") -> bool:
    """The answer of a server's health service, for all or for one service; false without an answer."""
    with grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            response = check(health_pb2.HealthCheckRequest(service=service), timeout=_CALL_TIMEOUT_SECONDS)
        except grpc.RpcError:
            return False
    return response.status == health_pb2.HealthCheckResponse.SERVING
