"""Several nodes over one NATS cluster, each in a process of its own, which tests may kill."""

from __future__ import annotations

import http.client
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from tests.support.free_ports import free_ports
from tests.support.nats_cluster import NatsCluster
from tests.support.server_process import ServerProcess


class ServerCluster:
    """Nodes that follow one log; their folders stay in `folder`.

    Args:
        folder: where each node keeps its store and its messages.
        nats: the running servers of the log.
        size: how many nodes.
        environment: further settings of all nodes.
    """

    def __init__(
        self,
        folder: Path,
        nats: NatsCluster,
        *,
        size: int = 3,
        environment: dict[str, str] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        settings = {
            "ENGAGEMENT_LOG": nats.url,
            "ENGAGEMENT_LOG_REPLICAS": str(len(nats.nodes)),
            **(environment or {}),
        }
        self.nodes = [
            ServerProcess(folder / f"node-{number}", f"127.0.0.1:{port}", environment=settings)
            for number, port in enumerate(free_ports(size))
        ]

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def addresses(self) -> list[str]:
        """The addresses of the nodes, in their order."""
        return [node.address for node in self.nodes]

    def start(self) -> Self:
        """Starts all nodes at once and waits until they take calls."""
        with ExitStack() as undo, ThreadPoolExecutor(len(self.nodes)) as threads:
            undo.callback(self.kill)
            list(threads.map(_start, self.nodes))
            undo.pop_all()
        return self

    def restart(self, number: int) -> None:
        """Kills a node, starts it again and waits until it takes calls."""
        self.nodes[number].kill()
        _start(self.nodes[number])

    def kill(self) -> None:
        """Kills all nodes at once."""
        for node in self.nodes:
            node.kill()


def target(addresses: Sequence[str]) -> str:
    """One gRPC target for several addresses."""
    return f"ipv4:{','.join(addresses)}"


def stream_leader(nats: NatsCluster) -> int | None:
    """The number of the server that leads the stream of the log, as reported by the first that knows one.

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
            if stream["name"] == "engagement-0of1" and leader:
                return nats.nodes.index(nats.node(leader))
    return None


def _start(node: ServerProcess) -> None:
    node.start()
    node.wait_until_serving()
