"""What `engagement export` writes, `engagement upload` takes back: as duplicates, or as equal events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from engagement import EngagementClient, Uploader, v1
from engagement.cli.program import program
from tests.support.cli_process import Cli
from tests.support.nasty_events import nasty_events
from tests.support.server_process import ServerProcess

EVENTS = nasty_events()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with an account that has EVENTS."""
    with ServerProcess(tmp_path_factory.mktemp("tables") / "data").start() as process:
        asyncio.run(_fill(process.address))
        yield process


async def _fill(address: str) -> None:
    async with EngagementClient(address, account_id="acme") as client:
        summary = await Uploader(client).upload(EVENTS)
    assert summary.tally.accepted == len(EVENTS)


async def _stored(address: str, account: str) -> list[v1.Event]:
    async with EngagementClient(address, account_id=account) as client:
        return [stored.event async for stored in client.list_events()]


def run(cli: Cli, *arguments: str) -> Result:
    """Runs a command in this process, which is faster."""
    return CliRunner().invoke(program, list(arguments), env=cli.environment, standalone_mode=False)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("e.ndjson.gz", []),
        ("e.csv", []),
        ("e.csv.gz", ["--excel", "--column-names", "sql"]),
        ("e.parquet", ["--column-names", "sql"]),
    ],
)
def test_an_export_is_uploaded_again(
    name: str, options: list[str], server: ServerProcess, tmp_path: Path
) -> None:
    file = str(tmp_path / name)
    own = Cli(tmp_path, server=server.address)
    exported = run(own, "export", file, *options)
    assert exported.return_value == 0, exported.output
    again = run(own, "upload", file, "--json")
    counts = json.loads(again.stdout)["total"]
    assert (again.return_value, counts["duplicate"], counts["accepted"]) == (0, len(EVENTS), 0), again.output
    account = f"copy-{name}".replace(".", "-")
    copied = run(Cli(tmp_path, server=server.address, account=account), "upload", file, "--json")
    assert (copied.return_value, json.loads(copied.stdout)["total"]["accepted"]) == (0, len(EVENTS))
    assert asyncio.run(_stored(server.address, account)) == EVENTS


def test_a_table_with_an_unknown_column_stores_nothing(server: ServerProcess, tmp_path: Path) -> None:
    cli = Cli(tmp_path, server=server.address, account="refused")
    cli.write("e.csv", "consumer_id,balance", "c,1")
    refused = cli.run("upload", "e.csv")
    assert refused.status == 1
    assert "e.csv: 0 events read: 0 accepted" in refused.stderr
    assert "'balance' (perhaps customer_info.balance)" in refused.stderr
    assert asyncio.run(_stored(server.address, "refused")) == []


def test_a_row_that_is_no_event_is_reported_with_its_line(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    cli.write(
        "e.csv", "consumer_id;authenticated;customer_info.role", "c;yes;x", 'd;true;"a', 'b"', "e;true;\0"
    )
    checked = cli.run("validate", "e.csv")
    assert checked.status == 1
    assert "e.csv: 3 events read: 1 valid, 2 rejected" in checked.stderr
    unreadable, broken = cli.rejections("e.csv")
    assert (unreadable["line"], unreadable["event"]) == (2, "c;yes;x")
    assert unreadable["message"] == "authenticated: must be true or false"
    assert (broken["line"], broken["event"]["consumerId"]) == (5, "e")


def test_an_export_begun_in_another_style_is_resumed_by_the_command_that_it_names(
    server: ServerProcess, tmp_path: Path
) -> None:
    cli = Cli(tmp_path, server=server.address)
    options = ["--column-names", "sql", "--excel"]
    style = {"has_sql_names": True, "marks_formulas": True, "has_byte_order_mark": True}
    mark = {"cursor": "", "size_bytes": 0, "events": 0, "erased_cursors": []}
    state = {"order": {"account": "acme", "filter": {}, "table": style}, "mark": mark}
    (tmp_path / "e.csv.part.state").write_text(json.dumps(state))
    refused = run(cli, "export", str(tmp_path / "e.csv"))
    assert " ".join(options) in str(refused.exception)
    resumed = run(cli, "export", str(tmp_path / "e.csv"), *options)
    assert resumed.return_value == 0, resumed.exception
    assert (tmp_path / "e.csv").read_text().startswith("\ufeffcursor,receive_time,event_id,")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["e.ndjson", "--column-names", "sql"], "--column-names is for CSV and Parquet."),
        (["e.parquet", "--excel"], "--mark-formulas and --excel are for CSV."),
        (["e.ndjson.gz", "--mark-formulas"], "--mark-formulas and --excel are for CSV."),
    ],
)
def test_a_style_that_the_format_lacks_is_wrong_usage(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    result = run(Cli(tmp_path), "export", *arguments)
    assert str(result.exception) == message
