"""Each extra brings what its part needs; without the extra the part says how to install it."""

from __future__ import annotations

import signal
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.cli_process import TIMEOUT_SECONDS, Cli, event_line
from tests.support.server_process import ServerProcess

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
OURS = frozenset({"engagement", "engagement_server", "buf"})
CONSOLE_SCRIPT = "from engagement.cli import main; sys.exit(main())"
USE_OF_THE_CLIENT = """
import asyncio
from engagement import EngagementClient, Uploader, v1

def event(number):
    return v1.Event(event_id=f"e-{number}", customer_info=v1.CustomerInfo(balance="1"))

async def use(address):
    async with EngagementClient(address, account_id="acme") as client:
        await client.record_event(event(1))
        await Uploader(client).upload(event(number) for number in (2, 3))
        async for stored in client.follow(earliest=True, stop_at_tail=True):
            print(stored.event.event_id)

asyncio.run(use(sys.argv[1]))
"""
USE_OF_THE_RULES = """
from engagement import rules, v1
print(*[violation.rule for violation in rules.check_message(v1.Event(source="x" * 65))])
"""


def libraries_of(*extras: str) -> frozenset[str]:
    """The packages that an installation with these extras can import, by what the project declares."""
    declared: dict[str, list[str]] = PROJECT["optional-dependencies"]
    pending = [*PROJECT["dependencies"], *(each for extra in extras for each in declared[extra])]
    installed: set[str] = set()
    while pending:
        requirement = Requirement(pending.pop())
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        name = canonicalize_name(requirement.name)
        if name == PROJECT["name"]:
            pending += [each for extra in requirement.extras for each in declared[extra]]
        elif name not in installed:
            installed.add(name)
            pending += metadata.requires(name) or []
    return frozenset(
        package
        for package, distributions in metadata.packages_distributions().items()
        if any(canonicalize_name(each) in installed for each in distributions)
    )


def program(body: str, *extras: str) -> list[str]:
    """A command that runs the code and can import only what an installation with these extras has."""
    return [
        sys.executable,
        "-c",
        f"""
import sys

class Missing:
    allowed = {set(libraries_of(*extras) | OURS)} | sys.stdlib_module_names

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] not in cls.allowed:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing)
{body}""",
    ]


def run(cli: Cli, body: str, *arguments: str, extras: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*program(body, *extras), *arguments],
        cwd=cli.folder,
        env=cli.environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )


def hint(extra: str) -> str:
    return f"run pip install 'engagement-attributes[{extra}]', or pip install '.[{extra}]' in a checkout.\n"


def test_each_extra_includes_the_one_that_it_builds_on() -> None:
    sizes = [len(libraries_of(*extras)) for extras in ((), ("validate",), ("cli",), ("server",))]
    assert sizes == sorted(set(sizes))
    assert libraries_of() < libraries_of("validate") < libraries_of("cli") < libraries_of("server")


@pytest.mark.parametrize("extras", [(), ("validate",), ("cli",)], ids=" ".join)
def test_the_client_records_uploads_and_follows_without_the_server(
    extras: tuple[str, ...], server_process: ServerProcess, tmp_path: Path
) -> None:
    done = run(Cli(tmp_path), USE_OF_THE_CLIENT, server_process.address, extras=extras)
    assert (done.stdout, done.stderr) == ("e-1\ne-2\ne-3\n", "")


def test_rules_are_checked_with_validate(tmp_path: Path) -> None:
    done = run(Cli(tmp_path), USE_OF_THE_RULES, extras=("validate",))
    assert (done.stdout, done.stderr) == ("required string.max_len\n", "")


def test_rules_without_validate_name_the_extra(tmp_path: Path) -> None:
    done = run(Cli(tmp_path), USE_OF_THE_RULES, extras=())
    assert done.returncode == 1
    assert done.stderr.endswith(
        "ModuleNotFoundError: Checking events needs protovalidate, which is not installed: "
        + hint("validate")
    )


@pytest.mark.parametrize("extras", [(), ("validate",)], ids=" ".join)
def test_the_console_script_without_cli_names_the_extra(extras: tuple[str, ...], tmp_path: Path) -> None:
    done = run(Cli(tmp_path), CONSOLE_SCRIPT, "info", extras=extras)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == ("engagement: The command line needs click, which is not installed: " + hint("cli"))


def test_the_command_line_works_without_the_server(server_process: ServerProcess, tmp_path: Path) -> None:
    cli = Cli(tmp_path, server=server_process.address)
    cli.write("events.ndjson", event_line("1", eventId="e-1"))
    for command in (
        ["validate", "events.ndjson"],
        ["upload", "events.ndjson"],
        ["export", "e.csv"],
        ["validate", "e.csv"],
    ):
        done = run(cli, CONSOLE_SCRIPT, *command, extras=("cli",))
        assert done.returncode == 0, done.stderr
    shown = run(cli, CONSOLE_SCRIPT, "get", "e-1", extras=("cli",))
    assert shown.stdout.startswith("event id\te-1\n")
    helped = run(cli, CONSOLE_SCRIPT, "--help", extras=("cli",))
    assert "  serve  " in helped.stdout


def test_serve_without_server_names_the_extra(tmp_path: Path) -> None:
    done = run(Cli(tmp_path), CONSOLE_SCRIPT, "serve", extras=("cli",))
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines(keepends=True)
    assert line.startswith("engagement: The server needs ")
    assert line.endswith(f", which is not installed: {hint('server')}")
    assert list(tmp_path.iterdir()) == []


def test_serve_works_with_server(tmp_path: Path) -> None:
    command = [*program(CONSOLE_SCRIPT, "server"), "serve", "--listen", "127.0.0.1:0", "--data", "data"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("listening on 127.0.0.1:")
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT_SECONDS) == 0
