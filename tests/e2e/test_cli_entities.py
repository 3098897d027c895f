"""`engagement entities` against a real server."""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from engagement.cli.program import program
from tests.support.cli_process import TIMEOUT_SECONDS, Cli, Result, event_line
from tests.support.server_process import ServerProcess

_account_numbers = count()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    server = ServerProcess(tmp_path_factory.mktemp("entities") / "data").start()
    yield server
    server.kill()


@pytest.fixture
def cli(server: ServerProcess, tmp_path: Path) -> Cli:
    """The command line for an account of its own."""
    return Cli(tmp_path, server=server.address, account=f"account-{next(_account_numbers)}")


def run(cli: Cli, *arguments: str, stdin: bytes = b"") -> Result:
    """`engagement entities` in this process, which is faster."""
    done = CliRunner().invoke(
        program,
        ["entities", *arguments],
        input=stdin,
        env=cli.environment,
        prog_name="engagement",
        standalone_mode=False,
    )
    if isinstance(done.exception, click.ClickException):
        return Result(done.exception.exit_code, done.stdout, done.exception.format_message())
    return Result(done.return_value, done.stdout, done.stderr)


def names(cli: Cli, kind: str = "status") -> list[str]:
    listed: list[str] = run(cli, "list", kind, "--json").json()["names"]
    return listed


def test_names_are_put_listed_and_deleted(cli: Cli) -> None:
    assert cli.run("entities", "list", "status") == Result(
        0, "", "customer statuses: 0 names, open: other values are accepted\n"
    )
    put = cli.run("entities", "put", "status", "Gold", " two words ", "--closed")
    assert put == Result(0, "", "customer statuses: 2 names, closed: other values are rejected\n")
    assert cli.run("entities", "list", "status").stdout == "Gold\n two words \n"
    deleted = cli.run("entities", "delete", "status", "GOLD")
    assert deleted == Result(0, "", "customer statuses: 1 name, closed: other values are rejected\n")


def test_a_list_is_closed_and_opened_without_names(cli: Cli) -> None:
    assert "closed" in run(cli, "put", "type", "--closed").stderr
    assert run(cli, "put", "type", "vip", "--json").json() == {"names": ["vip"], "closed": True}
    assert run(cli, "put", "type", "--open", "--json").json() == {"names": ["vip"], "closed": False}
    assert run(cli, "list", "status", "--json").json() == {"names": [], "closed": False}


def test_a_put_of_nothing_is_wrong_usage(cli: Cli) -> None:
    done = cli.run("entities", "put", "status")
    assert (done.status, done.stdout) == (2, "")
    assert "Give a NAME, --closed or --open." in done.stderr


def test_names_that_are_not_there_are_named_and_the_others_taken_off(cli: Cli) -> None:
    run(cli, "put", "status", "a", "b", "c")
    done = run(cli, "delete", "status", "x", "B", "y")
    assert done.status == 1
    assert [line.partition(":")[2] for line in done.stderr.splitlines()[:2]] == [
        " Not found: the list has no name 'x'",
        " Not found: the list has no name 'y'",
    ]
    assert names(cli) == ["a", "c"]


def test_a_listed_file_is_imported_into_another_account(cli: Cli) -> None:
    run(cli, "put", "status", " Gold", "Straße", "platinum\U0001f600")
    (cli.folder / "names.txt").write_text(run(cli, "list", "status").stdout)
    done = run(cli, "import", "type", str(cli.folder / "names.txt"), "--closed", "--json")
    assert done.json() == {"names": names(cli), "closed": True}


@pytest.mark.parametrize(
    "content",
    [
        b"Gold\n\n  \nSilver\nGold\n",
        b"\xef\xbb\xbfGold\r\n\r\nSilver",
        gzip.compress(b"Gold\nSilver\n"),
    ],
    ids=["blank lines and a repeat", "written on Windows", "gzip"],
)
@pytest.mark.parametrize("is_stdin", [False, True])
def test_an_import_reads_a_name_a_line(cli: Cli, content: bytes, *, is_stdin: bool) -> None:
    (cli.folder / "names.txt").write_bytes(content)
    if is_stdin:
        done = cli.run("entities", "import", "status", "-", stdin=content)
    else:
        done = run(cli, "import", "status", str(cli.folder / "names.txt"))
    assert done.status == 0, done.stderr
    assert names(cli) == ["Gold", "Silver"]


def test_an_import_names_bad_lines_and_adds_nothing(cli: Cli) -> None:
    content = b"Gold\nL\xe4mp\n" + b"x" * 257 + b"\na\0b\n" + "\U0001f600".encode() * 2000 + b"\nSilver\n"
    (cli.folder / "names.txt").write_bytes(content)
    done = cli.run("entities", "import", "status", "names.txt")
    assert (done.status, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        "engagement: names.txt has invalid names:",
        "line 2 is not UTF-8",
        "line 5 has more than 256 characters",
        "line 3 must be at most 256 characters",
        "line 4 must not contain NUL (U+0000)",
    ]
    assert names(cli) == []


def test_an_import_of_too_many_names_is_refused_as_a_whole(cli: Cli) -> None:
    path = cli.write("names.txt", "", *(f"name {number}" for number in range(112)))
    done = cli.run("entities", "import", "status", str(path))
    assert (done.status, done.stdout) == (2, "")
    assert "more than 110 names" in done.stderr
    assert "line 112" in done.stderr
    path = cli.write("names.txt", *(f"name {number}" for number in range(110)))
    run(cli, "put", "status", "one before")
    done = cli.run("entities", "import", "status", str(path))
    assert done.status == 2
    assert "at most 110 names" in done.stderr
    assert names(cli) == ["one before"]


def test_a_damaged_file_adds_nothing(cli: Cli) -> None:
    (cli.folder / "names.gz").write_bytes(gzip.compress(b"Gold\n" * 100)[:-9])
    done = cli.run("entities", "import", "status", "names.gz")
    assert done.status == 2
    assert "names.gz cannot be read to its end" in done.stderr
    assert names(cli) == []


def test_an_upload_tells_which_names_a_closed_list_has(cli: Cli) -> None:
    run(cli, "put", "status", "Gold", "--closed")
    cli.write(
        "events.ndjson",
        event_line("1", eventId="a"),
        '{"eventId": "b", "customerInfo": {"customerStatus": "gold"}}',
        '{"eventId": "c", "customerInfo": {"customerStatus": "tin"}}',
    )
    done = cli.run("upload", "events.ndjson")
    assert (done.status, "2 accepted" in done.stderr, "1 rejected" in done.stderr) == (1, True, True)
    (rejection,) = cli.rejections("events.ndjson")
    assert 'allowed: "Gold"' in str(rejection)
    assert "matched status\tGold" in cli.run("get", "b").stdout


def test_a_list_and_events_from_different_systems_match(cli: Cli) -> None:
    (cli.folder / "statuses.txt").write_text("Zu\u0308rich\nla\u0308ufig\n")
    assert cli.run("entities", "import", "status", "statuses.txt").status == 0
    assert cli.run("entities", "put", "status", "--closed").status == 0
    event = {"eventId": "e", "consumerId": "c", "customerInfo": {"customerStatus": "ZÜRICH"}}
    cli.write("events.ndjson", json.dumps(event, ensure_ascii=False))
    assert cli.run("upload", "events.ndjson").status == 0
    found = cli.run("list", "--json", "--status", "zürich", "--text", "zür*").json()
    assert found["event"]["customerInfo"]["customerStatus"] == "ZÜRICH"
    assert found["matchedCustomerStatus"] == "Zu\u0308rich"


def test_a_terminal_gets_a_table(cli: Cli) -> None:
    run(cli, "put", "status", "Gold", "odd\x1b[31m")
    controller, terminal = os.openpty()
    with cli.start("entities", "list", "status", stdout=terminal) as process:
        os.close(terminal)
        assert process.wait(TIMEOUT_SECONDS) == 0
        shown = os.read(controller, 65536).decode()
    os.close(controller)
    lines = [line.split() for line in re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()]
    assert lines == [["name"], ["1", "Gold"], ["2", "odd\\x1b[31m"]]


@pytest.mark.parametrize("command", ["", "list", "put", "delete", "import"])
def test_every_command_has_help_and_refuses_unknown_kinds(cli: Cli, command: str) -> None:
    shown = run(cli, *command.split(), "--help").stdout
    assert "engagement entities" in shown
    if command:
        assert run(cli, command, "colour", "x").status == 2


def test_info_shows_the_limits_of_lists(cli: Cli) -> None:
    shown = cli.run("info").stdout
    assert "max entity names\t110" in shown
    assert "max entity name characters\t256" in shown
