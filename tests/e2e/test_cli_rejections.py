"""`engagement rejections`."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from engagement import EngagementClient, v1
from engagement.errors import InvalidArgumentError
from engagement_server.metrics.rejections import MAX_ACCOUNTS
from tests.support.cli_process import Cli, event_line
from tests.support.server_process import ServerProcess

COUNTS = ["source", "field", "rule", "events", "first hour", "last hour"]
RECENT = ["time", "method", "source", "field", "rule", "shape", "problem"]
MONTH = ["customer_info.last_payment_date.month", "int32.gte_lte"]
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    process = ServerProcess(tmp_path_factory.mktemp("rejections") / "data").start()
    yield process
    process.kill()


@pytest.fixture
def cli(server: ServerProcess, request: pytest.FixtureRequest) -> Cli:
    """The command line for an account with four rejected events."""
    cli = Cli(server.data_dir.parent, server=server.address, account=request.node.name[5:64])
    month = {"lastPaymentDate": {"year": 2023, "month": 13, "day": 1}}
    cli.write(
        "mixed.ndjson",
        event_line("1", eventId="e-1", source="crm"),
        json.dumps({"eventId": "e-2", "source": "crm", "customerInfo": month}),
        json.dumps({"eventId": "e-3", "source": "crm", "customerInfo": month}),
        json.dumps({"eventId": "e-4", "source": " shop\x1b[31m", "customerInfo": month}),
        event_line("2", eventId="e-1", source="crm"),
    )
    assert cli.run("upload", "mixed.ndjson").status == 1
    return cli


def tables(cli: Cli, *options: str) -> list[list[list[str]]]:
    """The tables as they are in a pipe, each with its header."""
    done = cli.run("rejections", *options)
    assert done.status == 0, done.stderr
    return [[line.split("\t") for line in table.splitlines()] for table in done.stdout.split("\n\n")]


def test_rules_are_counted_by_source_and_the_last_events_are_shown(cli: Cli) -> None:
    (count_names, *counts), (recent_names, *recent) = tables(cli)
    assert (count_names, recent_names) == (COUNTS, RECENT)
    assert [row[:4] for row in counts] == [
        ["crm", *MONTH, "2"],
        ['" shop\ufffd[31m"', *MONTH, "1"],
        ["crm", "", "EVENT_ID_CONFLICT", "1"],
    ]
    assert all(_TIME.fullmatch(time) for row in counts for time in row[4:])
    assert all(_TIME.fullmatch(row[0]) for row in recent)
    assert [row[1:6] for row in recent if row[5]] == [
        ["UploadEvents", '" shop\ufffd[31m"', *MONTH, "99"],
        ["UploadEvents", "crm", *MONTH, "99"],
        ["UploadEvents", "crm", *MONTH, "99"],
    ]


def test_counts_are_filtered(cli: Cli) -> None:
    assert [row[0] for row in tables(cli, "--source", "crm")[0]] == ["source", "crm", "crm"]
    assert len(tables(cli, "--since", "2000-01-01", "--until", "9000-01-01")[0]) == 4
    for options in (["--since", "9000-01-01"], ["--until", "2000-01-01"], ["--source", ""]):
        assert cli.run("rejections", *options).stdout == ""


def test_it_says_how_many_there_are_and_since_when_the_server_counts(cli: Cli) -> None:
    message = cli.run("rejections").stderr
    assert re.fullmatch(rf"4 rejected events; the server counts since {_TIME.pattern}\.\n", message)
    one = cli.run("rejections", "--source", " shop\ufffd[31m").stderr
    assert one.startswith("1 rejected event; ")
    none = cli.run("rejections", "--source", "other")
    assert (none.status, none.stdout) == (0, "")
    assert none.stderr.startswith("No rejected event; the server counts since ")


def test_programs_get_the_response(cli: Cli) -> None:
    (line,) = cli.run("rejections", "--json").stdout.splitlines()
    response = json.loads(line)
    assert response["rejectedEvents"] == "4"
    assert (response["counts"][0]["source"], response["counts"][0]["events"]) == ("crm", "2")
    assert "incomplete" not in response


def test_a_record_that_was_full_says_so(cli: Cli) -> None:
    lines = [json.dumps({"eventId": f"s-{number}", "source": f"source-{number}"}) for number in range(40)]
    cli.write("sources.ndjson", *lines)
    assert cli.run("upload", "sources.ndjson").status == 1
    done = cli.run("rejections")
    assert "There were too many accounts, sources or rules to count them all apart." in done.stderr
    assert ["(others)", "attributes", "required"] in [
        line.split("\t")[:3] for line in done.stdout.splitlines()
    ]


def test_an_account_without_room_shows_its_last_events_and_does_not_deny_them(tmp_path: Path) -> None:
    async def refuse_one_each(address: str) -> None:
        for number in range(MAX_ACCOUNTS + 1):
            async with EngagementClient(address, account_id=f"a-{number}") as client:
                with pytest.raises(InvalidArgumentError):
                    await client.record_event(v1.Event(source="crm"))

    server = ServerProcess(tmp_path / "data").start()
    try:
        asyncio.run(refuse_one_each(server.address))
        (late, early) = (
            Cli(tmp_path, server=server.address, account=f"a-{number}").run("rejections")
            for number in (MAX_ACCOUNTS, MAX_ACCOUNTS - 1)
        )
    finally:
        server.kill()
    assert late.stderr.startswith("No rejected event is counted; the server counts since ")
    assert "There were too many accounts, sources or rules to count them all apart.\n" in late.stderr
    assert "RecordEvent\tcrm\tattributes\trequired" in late.stdout
    assert early.stderr.startswith("1 rejected event; ")


def test_wrong_usage_ends_with_status_2(cli: Cli) -> None:
    assert cli.run("rejections", "--since", "yesterday").status == 2
    assert cli.run("rejections", "--source", "x" * 65).status == 2
