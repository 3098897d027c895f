"""A real NATS cluster on this machine, whose servers can be killed, frozen and cut off from each other."""

from __future__ import annotations

import asyncio
import http.client
import itertools
import json
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import nats.errors
from nats.aio.client import Client
from nats.js.api import StorageType, StreamConfig

from tests.support.free_ports import free_ports
from tests.support.nats_certificates import NatsCertificates
from tests.support.nats_links import Links
from tests.support.nats_node import CONNECTIONS_PER_NEIGHBOUR, NatsNode, PortTakenError
from tests.support.tcp_proxy import Flow, TcpProxy
from tests.support.waiting import wait_until

START_ATTEMPTS = 10
NOWHERE = "127.0.0.1:1"
PORTS_PER_NODE = 3
PROBE_TIMEOUT_SECONDS = 1


class NatsCluster:
    """Servers with JetStream on free ports of 127.0.0.1; their files stay in `folder`.

    Guarantees: after `start` and `wait_until_healthy` a stream with `size` replicas can be created.
    A node keeps its name, ports and files when it is started again, and so does the whole cluster.

    Args:
        folder: a folder of its own, empty or that of an earlier cluster of the same size.
        size: servers; one alone is ready in a tenth of the time.
        sync_always: whether a write is on the disk before it is acknowledged, as only a machine that crashes
            would show.
        max_payload_bytes: the largest message; the server's own default is 1 MiB.
        verifies_clients: clients must speak TLS and show a certificate; see `certificates`.
        cuttable: `cut` works; the servers' traffic takes a hop through this process.
        settings: further lines for each server's configuration.
    """

    def __init__(
        self,
        folder: Path,
        *,
        size: int = 3,
        sync_always: bool = False,
        max_payload_bytes: int = 8 * 1024 * 1024,
        verifies_clients: bool = False,
        cuttable: bool = False,
        settings: str = "",
    ) -> None:
        # Servers identify each other by name: unique, and the same over the same folder.
        self.name = f"cluster-{zlib.crc32(bytes(folder.absolute())):08x}"
        self.nodes = [NatsNode(f"{self.name}-{n}", folder / f"node-{n}") for n in range(size)]
        self.certificates = NatsCertificates.make(folder / "tls") if verifies_clients else None
        self._sync_always = sync_always
        self._max_payload_bytes = max_payload_bytes
        self._cuttable = cuttable
        self._settings = settings
        self._links: Links | None = None
        self._route_links: dict[tuple[int, int], TcpProxy] = {}
        self._cuts: dict[int, Flow] = {}
        self._is_configured = False
        self._threads = ThreadPoolExecutor(1)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def urls(self) -> list[str]:
        """The servers' URLs for clients."""
        return [node.url for node in self.nodes]

    @property
    def url(self) -> str:
        """The same, separated by commas."""
        return ",".join(self.urls)

    def node(self, name: str) -> NatsNode:
        """The server with this name, which descriptions of streams contain."""
        return next(node for node in self.nodes if node.name == name)

    def start(self) -> Self:
        """Starts all servers and waits until JetStream takes calls."""
        for _ in range(START_ATTEMPTS):
            if not self._is_configured:
                self._configure()
            try:
                self._launch()
            except BaseException as error:
                self.stop()
                if not isinstance(error, PortTakenError):
                    raise
            else:
                return self
        raise AssertionError("no free ports")

    def kill(self) -> None:
        """Kills all servers at once; `start` starts them again with the same ports and files."""
        for node in self.nodes:
            node.kill()

    def stop(self) -> None:
        """Kills all servers and gives the ports back; the files stay."""
        self.kill()
        self._cuts.clear()
        if self._links is not None:
            self._links.close()
            self._links = None
        self._is_configured = False

    def wait_until_healthy(self) -> None:
        """Waits until the servers that run and are not cut off see each other and follow one leader."""
        wait_until(self._is_healthy, "the cluster is healthy")

    def cut(self, number: int, *, silently: bool = False) -> None:
        """Cuts one server off from all others.

        Connections are reset; if `silently`, they stay and carry nothing, as when packets are lost.
        """
        assert self._cuttable, "the cluster was not made cuttable"
        self._cuts[number] = Flow.FROZEN if silently else Flow.BROKEN
        self._set_flows()

    def heal(self, number: int) -> None:
        """Undoes a cut; servers find each other again within seconds."""
        assert self._cuttable, "the cluster was not made cuttable"
        del self._cuts[number]
        self._set_flows()

    def _launch(self) -> None:
        self._set_flows(Flow.FROZEN)
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            node.wait_until_listening()
        self._set_flows()
        self.wait_until_healthy()

    def _set_flows(self, uncut: Flow = Flow.OPEN) -> None:
        for (source, target), link in self._route_links.items():
            assert self._links is not None
            # Two servers that call each other at once both hang up for a second; so one is never answered.
            flow = uncut if source > target else Flow.FROZEN
            self._links.set_flow(link, self._cuts.get(source) or self._cuts.get(target) or flow)

    def _configure(self) -> None:
        ports = iter(free_ports(PORTS_PER_NODE * len(self.nodes)))
        for node in self.nodes:
            node.client_port = next(ports)
            node.monitor_port = next(ports)
            node.routes_port = next(ports) if len(self.nodes) > 1 else 0
        if self._cuttable:
            self._open_links()
        for number, node in enumerate(self.nodes):
            node.url = f"{'tls' if self.certificates else 'nats'}://127.0.0.1:{node.client_port}"
            node.config = self._config(number)
        self._is_configured = True

    def _open_links(self) -> None:
        self._links = links = Links()
        self._route_links = {
            (source, target): links.add(target_port=self.nodes[target].routes_port)
            for source, target in itertools.permutations(range(len(self.nodes)), 2)
        }

    def _config(self, number: int) -> str:
        node = self.nodes[number]
        jetstream: dict[str, object] = {"store_dir": str(node.folder / "store")}
        if self._sync_always:
            jetstream["sync_interval"] = "always"
        config: dict[str, object] = {
            "server_name": node.name,
            "listen": f"127.0.0.1:{node.client_port}",
            "http": f"127.0.0.1:{node.monitor_port}",
            "max_payload": self._max_payload_bytes,
            "jetstream": jetstream,
        }
        if len(self.nodes) > 1:
            config["cluster"] = self._cluster_config(number)
        if self.certificates is not None:
            config["tls"] = {
                "cert_file": str(self.certificates.server),
                "key_file": str(self.certificates.server_key),
                "ca_file": str(self.certificates.authority),
                "verify": True,
            }
        # The server accepts JSON; further lines go before the closing brace.
        return json.dumps(config, indent=2).removesuffix("}") + f"{self._settings}\n}}\n"

    def _cluster_config(self, number: int) -> dict[str, object]:
        cluster: dict[str, object] = {
            "name": self.name,
            "listen": f"127.0.0.1:{self.nodes[number].routes_port}",
            # Clients know only the servers that they were given.
            "no_advertise": True,
            "routes": [
                f"nats://127.0.0.1:{self._route_port(number, target)}"
                for target in range(len(self.nodes))
                if target != number
            ],
        }
        if self._cuttable:
            # Servers advertise each other, and would route around a cut.
            cluster["advertise"] = NOWHERE
        return cluster

    def _route_port(self, source: int, target: int) -> int:
        if self._cuttable:
            return self._route_links[source, target].port
        return self.nodes[target].routes_port

    def _is_healthy(self) -> bool:
        nodes = [node for n, node in enumerate(self.nodes) if node.is_running and n not in self._cuts]
        is_alone = len(self.nodes) == 1
        if not is_alone and not self._has_leader(nodes):
            return False
        # Checked last: a server logs each negative answer.
        if not all(node.is_healthy for node in nodes):
            return False
        if is_alone or len(nodes) < len(self.nodes):
            return True
        # In a thread, because the caller may run an event loop.
        return self._threads.submit(asyncio.run, self._takes_calls()).result()

    async def _takes_calls(self) -> bool:
        """Whether a stream can be created: a leader refuses until it has heard from every server."""
        stream = StreamConfig(name="probe", num_replicas=len(self.nodes), storage=StorageType.MEMORY)
        client = Client()
        try:
            await client.connect([self.urls[0]], allow_reconnect=False, max_reconnect_attempts=1)
            jetstream = client.jetstream(timeout=PROBE_TIMEOUT_SECONDS)
            await jetstream.add_stream(stream)
            await jetstream.delete_stream("probe")
        except (nats.errors.Error, OSError):
            return False
        else:
            return True
        finally:
            await client.close()

    @staticmethod
    def _has_leader(nodes: Sequence[NatsNode]) -> bool:
        names = {node.name for node in nodes}
        try:
            # With fewer connections, messages of some accounts would be lost.
            if not all(
                node.neighbours[name] >= CONNECTIONS_PER_NEIGHBOUR
                for node in nodes
                for name in names - {node.name}
            ):
                return False
            views = [node.monitor("/jsz")["meta_cluster"] for node in nodes]
        except (OSError, http.client.HTTPException):
            return False
        # Only the leader describes the others.
        current = {
            replica["name"]
            for view in views
            for replica in view.get("replicas", ())
            if replica["current"] and not replica.get("offline")
        }
        leaders = {view.get("leader") for view in views}
        return len(leaders) == 1 and leaders <= names and names - leaders <= current
