"""`engagement erase`, `erasures` and `lift` against a real server, in pipes and on a terminal."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli_process import TIMEOUT_SECONDS, Cli, event_line
from tests.support.server_process import ServerProcess


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    process = ServerProcess(tmp_path_factory.mktemp("erase") / "data").start()
    yield process
    process.kill()


@pytest.fixture
def cli(server: ServerProcess, request: pytest.FixtureRequest) -> Cli:
    """The command line for an account with seven events of one consumer, and one of another."""
    cli = Cli(server.data_dir.parent, server=server.address, account=request.node.name[5:64])
    events = [event_line("1", eventId=f"e-{number}", consumerId="c-1") for number in range(7)]
    name = f"{cli.account}.ndjson"
    cli.write(name, *events, event_line("1", eventId="other", consumerId="c-2"))
    assert cli.run("upload", name).status == 0
    return cli


def answer_on_terminal(cli: Cli, answer: str, *arguments: str) -> tuple[int, str, str]:
    """Exit status, output and messages of a command whose question gets an answer on a terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "engagement.cli", *arguments],
        cwd=cli.folder,
        env=cli.environment,
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        os.write(ours, f"{answer}\n".encode())
        stdout, stderr = process.communicate(timeout=TIMEOUT_SECONDS)
    os.close(ours)
    os.close(theirs)
    return process.returncode, stdout, stderr


def test_nothing_is_erased_where_nobody_can_be_asked(cli: Cli) -> None:
    done = cli.run("erase", "--consumer", "c-1")
    assert (done.status, done.stdout) == (2, "")
    assert "--yes" in done.stderr
    assert cli.count_stored() == 8


def test_people_see_what_would_go_and_decide(cli: Cli) -> None:
    status, stdout, stderr = answer_on_terminal(cli, "n", "erase", "--consumer", "c-1", "--suppress")
    assert (status, stdout, cli.count_stored()) == (1, "", 8)
    assert "7 events" in stderr
    assert "  e-4\n  and 2 more\n" in stderr
    assert "Later events" in stderr
    status, stdout, _ = answer_on_terminal(cli, "y", "erase", "--consumer", "c-1")
    assert (status, cli.count_stored()) == (0, 1)
    assert "erased\t7\n" in stdout


def test_the_same_request_again_is_the_same_erasure(cli: Cli) -> None:
    arguments = ("erase", "--consumer", "c-1", "--request-id", "ticket", "--yes", "--json")
    first, again = cli.run(*arguments), cli.run(*arguments)
    assert (first.status, first.json()) == (0, again.json())
    assert first.json()["erasedEvents"] == "7"
    assert first.stderr == "Request id: ticket\n"
    other = cli.run("erase", "--customer", "c-1", "--request-id", "ticket", "--yes")
    assert other.status == 2
    assert "'ticket' was used for another request" in other.stderr


def test_erasures_are_listed_and_shown(cli: Cli) -> None:
    erased = cli.run("erase", "--consumer", "c-1", "--yes", "--json").json()
    cli.run("erase", "--conversation", "v-1", "--yes", "--suppress")
    names, latest, first = cli.run("erasures").stdout.splitlines()
    assert names.split("\t")[0] == "erasure id"
    assert latest.split("\t")[3:6] == ["conversation id", "0", "yes"]
    assert first.split("\t")[3:6] == ["consumer id", "7", "no"]
    listed = [json.loads(line) for line in cli.run("erasures", "--json").stdout.splitlines()]
    assert listed[1] == erased
    assert cli.run("erasures", erased["erasureId"], "--json").json() == erased
    assert cli.run("erasures", "nothing").status == 1


def test_a_person_is_let_in_again(cli: Cli) -> None:
    erased = cli.run("erase", "--consumer", "c-1", "--yes", "--suppress", "--json").json()
    assert cli.run("lift", "--erasure", erased["erasureId"]).stdout == "The suppression is lifted.\n"
    assert cli.run("lift", "--consumer", "c-1").stdout == "Nothing was suppressed.\n"
    assert cli.run("lift", "--erasure", "nothing").status == 1


@pytest.mark.parametrize(
    "arguments", [("erase",), ("erase", "--consumer", "a", "--customer", "b"), ("lift",)]
)
def test_exactly_one_subject_is_named(arguments: tuple[str, ...]) -> None:
    done = Cli(Path()).run(*arguments)
    assert done.status == 2
    assert "Give exactly one of" in done.stderr
