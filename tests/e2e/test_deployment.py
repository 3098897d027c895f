"""The files in deploy/ are valid, and work as far as that can be tried."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import nats
import pytest

from engagement import EngagementClient, v1
from engagement_server.config import Config
from engagement_server.log.nats.config import LogConfig
from engagement_server.node import Server
from tests.support.child_process import REPOSITORY
from tests.support.free_ports import free_ports
from tests.support.nats_certificates import NatsCertificates
from tests.support.nats_node import NatsNode, PortTakenError
from tests.support.server_process import ServerProcess
from tests.support.tls_files import TlsFiles
from tests.support.waiting import DEADLINE_SECONDS, deadline, eventually, wait_until

DEPLOY = REPOSITORY / "deploy"
NATS_CONF = (DEPLOY / "nats.conf").read_text()
SCRIPTS = Path(sysconfig.get_path("scripts"))
KUBERNETES_FILES = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
# The oldest is what kustomization.yaml names.
KUBERNETES_VERSIONS = ("1.31", "1.37")
START_ATTEMPTS = 5
SYSTEMD_ANALYZE = shutil.which("systemd-analyze")
MAX_EXPOSURE = 20
"""Of systemd's scale to 100, on which a service without any confinement has 96."""


def environment(*, name: str, store: Path, ports: tuple[int, int, int], routes: list[int]) -> dict[str, str]:
    """The environment variables of nats.conf."""
    client, cluster, monitor = (f"127.0.0.1:{port}" for port in ports)
    return {
        "NATS_NAME": name,
        "NATS_STORE": str(store),
        "NATS_CLIENTS_LISTEN": client,
        "NATS_ROUTES_LISTEN": cluster,
        "NATS_MONITOR_LISTEN": monitor,
        "NATS_ROUTES": "[" + ", ".join(f"nats://route:r1@127.0.0.1:{port}" for port in routes) + "]",
        "NATS_PASSWORD": "n1",
        "NATS_ADMIN_PASSWORD": "a1",
        "NATS_ROUTES_PASSWORD": "r1",
    }


def with_tls(certificates: NatsCertificates) -> str:
    """nats.conf with its TLS settings uncommented, and with other paths."""
    config = re.sub("^( *)#- ", r"\1", NATS_CONF, flags=re.MULTILINE)
    for name, path in (
        ("server.pem", certificates.server),
        ("server.key", certificates.server_key),
        ("ca.pem", certificates.authority),
    ):
        config = config.replace(f"/etc/nats/tls/{name}", str(path))
    assert "/etc/nats" not in config
    return config


def start_servers(folder: Path, config: str) -> list[NatsNode]:
    """Three servers that listen."""
    for attempt in range(START_ATTEMPTS):
        ports = free_ports(9)
        nodes = [
            NatsNode(
                name := f"nats-{n}",
                folder / f"{name}-{attempt}",
                client_port=ports[n],
                routes_port=ports[3 + n],
                monitor_port=ports[6 + n],
                config=config,
                environment=environment(
                    name=name,
                    store=folder / f"store-{n}-{attempt}",
                    ports=(ports[n], ports[3 + n], ports[6 + n]),
                    routes=ports[3:6],
                ),
            )
            for n in range(3)
        ]
        try:
            for node in nodes:
                node.launch()
            for node in nodes:
                node.wait_until_listening()
        except PortTakenError:
            for node in nodes:
                node.kill()
        else:
            return nodes
    raise AssertionError("no free ports")


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[tuple[list[NatsNode], NatsCertificates]]:
    """Servers of the log over TLS, which ask for certificates."""
    certificates = NatsCertificates.make(tmp_path / "tls")
    nodes = start_servers(tmp_path, with_tls(certificates))
    try:
        wait_until(lambda: all(node.is_healthy for node in nodes), "the servers have a leader")
        yield nodes, certificates
    finally:
        for node in nodes:
            node.kill()


async def test_a_node_may_do_what_it_has_to_at_three_servers_with_tls(
    servers: tuple[list[NatsNode], NatsCertificates], tmp_path: Path
) -> None:
    nodes, certificates = servers
    ports = [node.client_port for node in nodes]
    server = await Server.start(
        Config(listen="127.0.0.1:0", data=tmp_path / "data"),
        LogConfig(
            log=",".join(f"tls://engagement:n1@127.0.0.1:{port}" for port in ports),
            log_tls_ca=certificates.authority,
            log_tls_cert=certificates.client,
            log_tls_key=certificates.client_key,
        ),
    )
    operator = await nats.connect(
        f"tls://operator:a1@127.0.0.1:{ports[0]}", tls=certificates.context(), allow_reconnect=False
    )
    try:
        async with EngagementClient(server.address, account_id="demo") as client:
            result = await client.record_event(v1.Event(customer_info=v1.CustomerInfo(role="buyer")))
            assert result.outcome == v1.Outcome.OUTCOME_ACCEPTED
        streams = operator.jetstream()
        log = await streams.stream_info("engagement-0of1")
        assert log.config.num_replicas == 3
        # The permissions include those for snapshots.
        await eventually(lambda: _has_snapshot(streams), "a snapshot is taken")
    finally:
        await operator.close()
        await server.stop()


async def _has_snapshot(streams: nats.js.JetStreamContext) -> bool:
    found = {info.config.name for info in await streams.streams_info() if info.state.messages > 1}
    return "OBJ_engagement-0of1-snapshots" in found


def test_nats_reads_the_configuration(tmp_path: Path) -> None:
    given = environment(name="nats-1", store=tmp_path, ports=(4222, 6222, 8222), routes=[6222])
    subprocess.run(
        [SCRIPTS / "nats-server", "-t", "-c", DEPLOY / "nats.conf"],
        env=os.environ | given,
        check=True,
        capture_output=True,
        timeout=DEADLINE_SECONDS,
    )
    assert given.keys() == set(re.findall(r"(?<=: )\$(\w+)", NATS_CONF))


def test_the_compose_file_is_one() -> None:
    check("check-jsonschema", "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml")


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
def test_kubernetes_knows_all_resources(version: str) -> None:
    check("kubernetes-validate", "--strict", "--kubernetes-version", version, *KUBERNETES_FILES)


@pytest.mark.skipif(SYSTEMD_ANALYZE is None, reason="needs systemd-analyze")
def test_systemd_knows_all_of_the_unit_and_finds_it_confined(tmp_path: Path) -> None:
    unit = tmp_path / "engagement.service"
    text = (DEPLOY / "engagement.service").read_text()
    # It must be there to be checked.
    unit.write_text(text.replace("/opt/engagement/current/bin/engagement", str(SCRIPTS / "engagement")))
    assert unit.read_text() != text
    for arguments in (["verify"], ["security", "--offline=true", f"--threshold={MAX_EXPOSURE}"]):
        done = subprocess.run(
            [SYSTEMD_ANALYZE or "", *arguments, unit],
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE_SECONDS,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "engagement.service:" not in done.stderr


def check(tool: str, *arguments: str | Path) -> None:
    """Runs a validator with built-in schemas."""
    done = subprocess.run(
        [SCRIPTS / tool, *arguments], capture_output=True, text=True, check=False, timeout=DEADLINE_SECONDS
    )
    assert done.returncode == 0, done.stdout + done.stderr


async def test_a_container_tells_whether_its_server_takes_calls(tmp_path: Path) -> None:
    async def status(address: str) -> int:
        process = await asyncio.create_subprocess_exec(sys.executable, DEPLOY / "is_serving.py", address)
        async with deadline("the probe ended"):
            return await process.wait()

    (unused,) = free_ports(1)
    encrypted = ("--http", "0.0.0.0:0", *TlsFiles(tmp_path / "secret").options, "--insecure-no-auth")
    for options in (("--http", "127.0.0.1:0"), encrypted):
        with ServerProcess(tmp_path / "data", options=options).start() as server:
            port = server.http_address.rpartition(":")[2]
            assert await status(f"127.0.0.1:{port}") == 0
    assert await status(f"127.0.0.1:{unused}") == 1
