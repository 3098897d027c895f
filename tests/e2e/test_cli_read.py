"""`engagement get`, `list` and `info` against a real server."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from engagement.cli.program import program
from tests.support.cli_process import TIMEOUT_SECONDS, Cli
from tests.support.server_process import ServerProcess

EVENTS = (
    {
        "eventId": "e-1",
        "consumerId": "c-1",
        "conversationId": "v-1",
        "authenticated": True,
        "customerInfo": {
            "serverTimeStamp": "1700000000000",
            "customerId": "k-1",
            "customerStatus": "VIP",
            "accountName": "bank corp",
            "lastPaymentDate": {"year": 2014, "month": 3, "day": 1},
        },
        "additionalAttributes": {"note": "a\tb\n\u001b[31m"},
    },
    {
        "eventId": "e-2",
        "consumerId": "c-1",
        "personalInfo": {
            "serverTimeStamp": "1700086400000",
            "name": "Zoë",
            "otherContacts": [{"email": "z@example.com"}],
        },
    },
    {"eventId": "e-3", "consumerId": "c-2", "customerInfo": {"serverTimeStamp": "1700172800000"}},
)


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """The command line for an account that holds EVENTS."""
    folder = tmp_path_factory.mktemp("read")
    server = ServerProcess(folder / "data").start()
    cli = Cli(folder, server=server.address)
    assert cli.run("upload", str(cli.write("a.ndjson", *map(json.dumps, EVENTS)))).status == 0
    yield cli
    server.kill()


@pytest.mark.parametrize(
    ("arguments", "ids"),
    [
        ([], ["e-1", "e-2", "e-3"]),
        (["--newest-first"], ["e-3", "e-2", "e-1"]),
        (["--limit", "2"], ["e-1", "e-2"]),
        (["--consumer", "c-1"], ["e-1", "e-2"]),
        (["--consumer", "c-1", "--set", "personal"], ["e-2"]),
        (["--consumer", "c-1", "--consumer", "c-2"], ["e-1", "e-2", "e-3"]),
        (["--conversation", "v-1"], ["e-1"]),
        (["--customer", "k-1"], ["e-1"]),
        (["--subject", "k-1"], ["e-1"]),
        (["--subject", "c-2", "--subject", "k-1"], ["e-1", "e-3"]),
        (["--accepted-since", "2020-01-01", "--consumer", "c-2"], ["e-3"]),
        (["--accepted-since", "9999-01-01"], []),
        (["--accepted-until", "2020-01-01"], []),
        (["--status", "vip"], ["e-1"]),
        (["--type", "vip"], []),
        (["--authenticated"], ["e-1"]),
        (["--unauthenticated"], ["e-2", "e-3"]),
        (["--since", "2023-11-15"], ["e-2", "e-3"]),
        (["--since", "1700086400000", "--until", "2023-11-16T22:13:20Z"], ["e-2"]),
        (["--text", '"bank corp"'], ["e-1"]),
    ],
)
def test_options_choose_events(cli: Cli, arguments: list[str], ids: list[str]) -> None:
    # In this process, because starting one for each case would take most of the time.
    result = CliRunner().invoke(program, ["list", "--json", *arguments], env=cli.environment)
    assert result.exit_code == 0, result.output
    assert [json.loads(line)["event"]["eventId"] for line in result.stdout.splitlines()] == ids


def test_two_kinds_of_ids_must_both_match_and_a_hint_says_what_else_there_is(cli: Cli) -> None:
    both = cli.run("list", "--json", "--consumer", "k-1", "--customer", "k-1")
    assert (both.status, both.stdout) == (0, "")
    hint = "Events must match both --consumer and --customer; --subject matches events with either."
    assert both.stderr == f"engagement: {hint}\n"
    assert cli.run("list", "--json", "--subject", "k-1", "--customer", "k-1").stderr == ""


def test_accounts_are_listed_with_the_number_of_their_events(cli: Cli) -> None:
    own = Cli(cli.folder, server=cli.server, account="a-list")
    assert own.run("upload", str(own.write("a.ndjson", *map(json.dumps, EVENTS[:2])))).status == 0
    assert own.run("entities", "put", "type", "VIP", "--account", "a-names").status == 0
    last = own.run("get", "e-2", "--json").json()["receiveTime"]
    listed = own.run("accounts")
    assert (listed.status, listed.stderr) == (0, "")
    names, *rows = (line.split("\t") for line in listed.stdout.splitlines())
    assert names == ["account", "events", "bytes", "last accepted"]
    stored = next(row[2] for row in rows if row[0] == "a-list")
    assert int(stored) > 0
    shown = [["a-list", "2", stored, last], ["a-names", "0", "0", ""]]
    assert [row for row in rows if row[0].startswith("a-")] == shown
    lines = [json.loads(line) for line in own.run("accounts", "--json").stdout.splitlines()]
    assert {"accountId": "a-list", "events": "2", "storedBytes": stored, "lastReceiveTime": last} in lines
    assert {"accountId": "a-names", "events": "0", "storedBytes": "0"} in lines


def test_a_list_in_a_pipe_is_tab_separated_with_control_characters_as_escapes(cli: Cli) -> None:
    lines = cli.run("list").stdout.splitlines()
    names, *rows = (line.split("\t") for line in lines)
    first, second, third = (dict(zip(names, row, strict=True)) for row in rows)
    assert (first["time"], first["set"], first["customer"]) == ("2023-11-14T22:13:20.000Z", "customer", "k-1")
    assert first["attributes"] == (
        'accountName="bank corp" lastPaymentDate=2014-03-01 note="a\\tb\\n\\u001b[31m"'
    )
    assert second["attributes"] == "name=Zoë otherContacts[0].email=z@example.com"
    assert (third["event_id"], third["authenticated"], third["attributes"]) == ("e-3", "false", "")


def test_json_of_a_list_can_be_uploaded_again_without_a_change(cli: Cli) -> None:
    listed = cli.run("list", "--json").stdout.splitlines()
    lines = [json.dumps(json.loads(line)["event"]) for line in listed]
    again = cli.run("upload", str(cli.write("again.ndjson", *lines)), "--json")
    assert again.json()["total"]["duplicate"] == 3


def test_one_event_is_found_by_its_id_and_by_its_cursor(cli: Cli) -> None:
    by_id = cli.run("get", "e-1", "--json")
    assert by_id.status == 0
    assert cli.run("get", "--cursor", by_id.json()["cursor"], "--json").stdout == by_id.stdout
    shown = dict(line.split("\t", 1) for line in cli.run("get", "e-1").stdout.splitlines())
    assert shown["event id"] == "e-1"
    assert shown["customerStatus"] == "VIP"
    assert shown["note"] == "a\\tb\\n\\x1b[31m"


def test_an_event_that_is_not_there_is_exit_status_1(cli: Cli) -> None:
    result = cli.run("get", "nope")
    assert (result.status, result.stdout) == (1, "")
    assert result.stderr == "engagement: Not found: the account has no event with eventId 'nope'\n"


@pytest.mark.parametrize("arguments", [["get"], ["get", "e-1", "--cursor", "x"], ["list", "--since", "soon"]])
def test_wrong_usage_is_exit_status_2_and_names_the_help(cli: Cli, arguments: list[str]) -> None:
    result = cli.run(*arguments)
    assert (result.status, result.stdout) == (2, "")
    assert result.stderr.splitlines()[-1] == f"Try 'engagement {arguments[0]} --help'."


def test_the_server_tells_its_limits(cli: Cli) -> None:
    assert cli.run("info", "--json").json()["limits"]["maxChunkEvents"] == 500
    shown = dict(line.split("\t") for line in cli.run("info").stdout.splitlines())
    assert shown["contract"] == "engagement.v1"
    assert shown["max text characters"] == "50,000"


@pytest.mark.parametrize("arguments", [["list", "--json"], ["list"]])
def test_a_reader_that_stops_early_is_no_error_to_speak_of(cli: Cli, arguments: list[str]) -> None:
    many = Cli(cli.folder, server=cli.server, account=uuid.uuid4().hex)
    lines = (json.dumps({"customerInfo": {"balance": "x" * 200}}) for _ in range(2000))
    assert many.run("upload", str(many.write("many.ndjson", *lines))).status == 0
    with many.start(*arguments) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        os.read(process.stdout.fileno(), 10)
        process.stdout.close()
        assert process.wait(TIMEOUT_SECONDS) == 141
        assert process.stderr.read() == b""


def test_an_account_without_events_is_named_unless_a_filter_may_be_the_reason(cli: Cli) -> None:
    ghost = replace(cli, account="ghost")
    for arguments in ([], ["--json"], ["--newest-first", "--limit", "1"]):
        listed = ghost.run("list", *arguments)
        assert (listed.status, listed.stderr) == (0, "Account 'ghost' has no events.\n")
    for one, arguments in ((ghost, ["--consumer", "c"]), (cli, []), (cli, ["--text", "absent"])):
        assert one.run("list", *arguments).stderr == ""


def test_ids_with_blanks_at_an_end_are_quoted_except_in_json(cli: Cli) -> None:
    own = Cli(cli.folder, server=cli.server, account=uuid.uuid4().hex)
    ids = {"eventId": " e", "consumerId": "c ", "conversationId": "\u00a0v"}
    event = {**ids, "customerInfo": {"customerId": "k ", "role": " r "}}
    own.write("blanks.ndjson", json.dumps(event))
    assert own.run("upload", "blanks.ndjson").status == 0
    names, row = (line.split("\t") for line in own.run("list").stdout.splitlines())
    shown = dict(zip(names, row, strict=True))
    columns = ("event_id", "consumer", "conversation", "customer")
    assert [shown[name] for name in columns] == ['" e"', '"c "', '"\u00a0v"', '"k "']
    pairs = dict(line.split("\t") for line in own.run("get", " e").stdout.splitlines())
    names = ["event id", "consumer", "conversation", "customerId", "role"]
    assert [pairs[name] for name in names] == ['" e"', '"c "', '"\u00a0v"', '"k "', " r "]
    profile = own.run("profile", "--consumer", "c ").stdout.splitlines()
    assert 'consumerId\t"c "\t\t\t\t' in profile
    assert any(line.startswith('customerId\t"k "\t') for line in profile)
    assert json.loads(own.run("list", "--json").stdout)["event"]["consumerId"] == "c "


def test_output_that_cannot_be_written_is_an_error_in_one_line(cli: Cli, tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no device that is always full")
    with full.open("wb") as output, cli.start("list", stdout=output.fileno()) as process:
        assert process.stderr is not None
        assert process.stderr.read().decode().splitlines() == [
            "engagement: Cannot read or write: No space left on device"
        ]
    assert process.returncode == 2
