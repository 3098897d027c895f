"""Several of our nodes over one NATS cluster, each in a process of its own, which tests may kill."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc
from grpc_health.v1 import health_pb2

from tests.support.free_ports import free_ports
from tests.support.nats_cluster import NatsCluster
from tests.support.nats_node import wait_until
from tests.support.server_process import ServerProcess

SERVING_TIMEOUT_SECONDS = 60
CALL_TIMEOUT_SECONDS = 5
_MESSAGES_TAIL_CHARACTERS = 2000


@dataclass
class ClusterNode(ServerProcess):
    """`engagement serve` over a replicated log; what it writes on stderr stays in a file.

    It keeps its port and its folder when it is started again.
    """

    messages: Path = Path()
    """What all its processes wrote, one after the other."""

    def launch(self) -> None:
        """Starts the node and does not wait for it."""
        with self.messages.open("ab") as messages:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "engagement.cli", "serve"],
                stdout=subprocess.PIPE,
                stderr=messages,
                text=True,
                env={
                    **os.environ,
                    **self.environment,
                    "ENGAGEMENT_LISTEN": self.address,
                    "ENGAGEMENT_DATA": str(self.data_dir),
                },
            )

    @property
    def is_running(self) -> bool:
        """Whether there is a process that was not killed, be it one that ended by itself."""
        return self._process is not None

    @property
    def has_ended(self) -> bool:
        """Whether the process ended by itself."""
        return self._process is not None and self._process.poll() is not None

    def wait_until_serving(self) -> None:
        """Waits until the node says that it takes calls; fails where its process ends."""

        def does_serve() -> bool:
            assert not self.has_ended, f"the node ended: {self.last_messages}"
            return is_serving(self.address)

        wait_until(does_serve, what=f"{self.address} serves", timeout_seconds=SERVING_TIMEOUT_SECONDS)

    @property
    def last_messages(self) -> str:
        """The end of what it wrote."""
        return self.messages.read_text(errors="replace")[-_MESSAGES_TAIL_CHARACTERS:]


class ServerCluster:
    """Nodes that follow one log; their folders stay in `folder`.

    Args:
        folder: where each node has its store and its messages.
        nats: the servers of the log, which run.
        size: how many nodes.
        name: of the log; clusters with the same name over the same servers are one.
        environment: further settings of all nodes.
    """

    def __init__(
        self,
        folder: Path,
        nats: NatsCluster,
        *,
        size: int = 3,
        name: str = "engagement",
        environment: dict[str, str] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        settings = {
            "ENGAGEMENT_LOG": nats.url,
            "ENGAGEMENT_LOG_NAME": name,
            "ENGAGEMENT_LOG_REPLICAS": str(len(nats.nodes)),
            **(environment or {}),
        }
        self.nodes = [
            ClusterNode(
                folder / f"node-{number}",
                address=f"127.0.0.1:{port}",
                environment=settings,
                messages=folder / f"node-{number}.messages",
            )
            for number, port in enumerate(free_ports(size))
        ]

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()

    @property
    def addresses(self) -> list[str]:
        """Of the nodes, in their order."""
        return [node.address for node in self.nodes]

    @property
    def target(self) -> str:
        """All addresses in one target: a client goes on to the next where one is gone."""
        return target(self.addresses)

    def start(self) -> Self:
        """Starts all nodes at once and waits until they take calls."""
        try:
            with ThreadPoolExecutor(len(self.nodes)) as threads:
                list(threads.map(_start, self.nodes))
        except BaseException:
            self.kill()
            raise
        return self

    def restart(self, number: int) -> float:
        """Kills a node, starts it again and waits until it takes calls; how many seconds the start took."""
        self.nodes[number].kill()
        began = time.monotonic()
        _start(self.nodes[number])
        return time.monotonic() - began

    def kill(self) -> None:
        """Kills all nodes at once."""
        for node in self.nodes:
            node.kill()


def is_serving(address: str) -> bool:
    """What the health service of a node says; false where nobody answers."""
    with grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            response = check(health_pb2.HealthCheckRequest(), timeout=CALL_TIMEOUT_SECONDS)
        except grpc.RpcError:
            return False
    return response.status == health_pb2.HealthCheckResponse.SERVING


def target(addresses: Sequence[str]) -> str:
    """One gRPC target for several addresses."""
    return f"ipv4:{','.join(addresses)}"


def stream_leader(nats: NatsCluster, *, log_name: str = "engagement") -> int | None:
    """The number of the server that leads the stream of a log, by the word of those that run; None: nobody.

    A server that is cut off may still believe that it leads: ask before.
    """
    for node in nats.nodes:
        if not node.is_running:
            continue
        try:
            accounts = node.monitor("/jsz?streams=true").get("account_details", [])
        except (OSError, http.client.HTTPException):
            continue
        for stream in (stream for account in accounts for stream in account.get("stream_detail", [])):
            leader = stream.get("cluster", {}).get("leader")
            if stream["name"] == f"{log_name}-0of1" and leader:
                return nats.nodes.index(nats.node(leader))
    return None


def _start(node: ClusterNode) -> None:
    node.start()
    node.wait_until_serving()
