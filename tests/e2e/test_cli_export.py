"""`engagement export` against a real server."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import shlex
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from engagement import EngagementClient, Uploader
from engagement.cli.part_file import PartFile
from tests.e2e.test_cli_terminal import CONTROL_SEQUENCE, run_on_terminal
from tests.support.cli_process import TIMEOUT_SECONDS, Cli
from tests.support.events import customer_events
from tests.support.server_process import ServerProcess
from tests.support.waiting import wait_until

EVENTS = 8000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with an account that has EVENTS."""
    process = ServerProcess(tmp_path_factory.mktemp("export") / "data").start()
    asyncio.run(_fill(process.address))
    yield process
    process.kill()


async def _fill(address: str) -> None:
    async with EngagementClient(address, account_id="acme") as client:
        await Uploader(client).upload(customer_events(EVENTS))


@pytest.fixture
def cli(server: ServerProcess, tmp_path: Path) -> Cli:
    return Cli(tmp_path, server=server.address)


def test_ndjson_is_what_a_list_prints(cli: Cli) -> None:
    result = cli.run("export", "events.ndjson")
    assert (result.status, result.stdout) == (0, "")
    assert result.stderr.startswith(f"events.ndjson: {EVENTS:,} events (")
    assert (cli.folder / "events.ndjson").read_text() == cli.run("list", "--json").stdout
    assert [path.name for path in cli.folder.iterdir()] == ["events.ndjson"]


@pytest.mark.skipif(os.name != "posix", reason="has other permissions")
def test_only_the_owner_can_read_an_export_finished_or_not(cli: Cli) -> None:
    for name in ("e.ndjson", "e.csv.gz", "e.parquet"):
        assert cli.run("export", name).status == 0
        assert stat.S_IMODE((cli.folder / name).stat().st_mode) == 0o600
    with PartFile(cli.folder / "half.csv", order={}) as part:
        part.checkpoint()
        assert {stat.S_IMODE(path.stat().st_mode) for path in cli.folder.glob("half*")} == {0o600}


def test_the_printed_command_shows_what_comes_next(cli: Cli) -> None:
    own = Cli(cli.folder, server=cli.server, account="next")
    line = json.dumps({"eventId": "e-1", "consumerId": "c", "customerInfo": {"balance": "1"}})
    own.write("first.ndjson", line)
    own.write("second.ndjson", line.replace("e-1", "e-2"), line.replace("e-1", "e-3").replace('"c"', '"d"'))
    assert own.run("upload", "first.ndjson").status == 0
    exported = own.run("export", "e.csv", "--consumer", "c")
    assert own.run("upload", "second.ndjson").status == 0
    program, *arguments = shlex.split(exported.stderr.splitlines()[-1])
    assert program == "engagement"
    shown = own.run(*arguments, "--json", "--limit", "1")
    assert json.loads(shown.stdout)["event"]["eventId"] == "e-2"
    with (own.folder / "e.csv").open(newline="") as lines:
        assert [row["event_id"] for row in csv.DictReader(lines)] == ["e-1"]


def test_an_export_of_a_time_of_acceptance_has_what_was_accepted_then(cli: Cli) -> None:
    own = Cli(cli.folder, server=cli.server, account="accepted")
    times = []
    for number in range(3):
        line = {
            "eventId": f"e-{number}",
            "customerInfo": {"serverTimeStamp": str(1_700_000_000_000 - number)},
        }
        own.write("one.ndjson", json.dumps(line))
        assert own.run("upload", "one.ndjson").status == 0
        times.append(own.run("get", f"e-{number}", "--json").json()["receiveTime"])
    since, until = ["--accepted-since", times[1]], ["--accepted-until", times[2]]
    one = own.run("export", "one.csv", *since, *until)
    assert "Follow new events" not in one.stderr
    with (own.folder / "one.csv").open(newline="") as lines:
        assert [row["event_id"] for row in csv.DictReader(lines)] == ["e-1"]
    rest = own.run("export", "rest.csv", *since)
    with (own.folder / "rest.csv").open(newline="") as lines:
        assert [row["event_id"] for row in csv.DictReader(lines)] == ["e-1", "e-2"]
    own.write("next.ndjson", json.dumps({"eventId": "e-3", "customerInfo": {"balance": "1"}}))
    assert own.run("upload", "next.ndjson").status == 0
    _, *arguments = shlex.split(rest.stderr.splitlines()[-1])
    shown = own.run(*arguments, "--json", "--limit", "1")
    assert json.loads(shown.stdout)["event"]["eventId"] == "e-3"


def test_an_export_of_nothing_is_a_file(cli: Cli) -> None:
    assert cli.run("export", "none.jsonl.gz", "--consumer", "nobody").status == 0
    assert (cli.folder / "none.jsonl.gz").read_bytes() == b""


def size_of(path: Path) -> int:
    """Bytes of a file that may go away at any time; -1 where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def stop_once_it_writes(cli: Cli, *arguments: str, stop: signal.Signals) -> str:
    """Starts an export and stops it in the middle of its file; what it says then.

    An interrupted one has saved its state; a killed one may not have.
    """
    chance = Random(11)
    final = cli.folder / arguments[0]
    part = final.with_name(f"{final.name}.part")
    for _ in range(20):
        size = max(0, size_of(part))
        with cli.start("export", *arguments) as process:
            wait_until(lambda: final.exists() or size_of(part) > size, "it exports")  # noqa: B023 - called at once
            with suppress(subprocess.TimeoutExpired):
                process.wait(chance.uniform(0, 0.02))
            process.send_signal(stop)
            _, stderr = process.communicate(timeout=TIMEOUT_SECONDS)
        if not final.exists() and (stop == signal.SIGKILL or b"Resume with:" in stderr):
            assert process.returncode == (130 if stop == signal.SIGINT else -stop)
            return stderr.decode()
        # It was faster than the signal.
        final.unlink(missing_ok=True)
    raise AssertionError("the export always ended before it could be stopped")


def command_in(message: str) -> list[str]:
    """The arguments of the only command that a message shows."""
    (command,) = (line for line in message.splitlines() if line.startswith("  engagement "))
    return shlex.split(command)[1:]


def test_stopped_and_killed_exports_are_resumed_by_the_same_command(cli: Cli) -> None:
    for stop in (signal.SIGINT, signal.SIGKILL, signal.SIGINT):
        stderr = stop_once_it_writes(cli, "e.ndjson", stop=stop)
        if stop == signal.SIGINT:
            assert "Interrupted. e.ndjson.part holds" in stderr
            assert command_in(stderr)[:2] == ["export", "e.ndjson"]
    result = cli.run("export", "e.ndjson")
    assert result.status == 0, result.stderr
    assert (cli.folder / "e.ndjson").read_text() == cli.run("list", "--json").stdout
    assert [path.name for path in cli.folder.iterdir()] == ["e.ndjson"]


def test_the_command_that_an_interruption_shows_selects_the_same_events_wherever_it_is_run(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In the time zone of the first process, the latter would exclude everything.
    filters = ["--since", "2024-05-31 12:00", "--until", f"{datetime.now(UTC) + timedelta(minutes=5):%F %T}"]
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    stderr = stop_once_it_writes(cli, "e.ndjson", *filters, stop=signal.SIGINT)
    monkeypatch.setenv("TZ", "America/Los_Angeles")
    result = cli.run(*command_in(stderr))
    assert (result.status, result.stderr.startswith("Resuming e.ndjson.part")) == (0, True), result.stderr
    assert "--since=2024-05-31T12:00:00Z" in command_in(stderr)
    assert (cli.folder / "e.ndjson").read_text() == cli.run("list", "--json").stdout


def test_an_export_repeated_with_a_newly_computed_time_is_refused_with_the_command_that_resumes_it(
    cli: Cli,
) -> None:
    first, second = (f"{datetime.now(UTC) - timedelta(hours=2, seconds=age):%FT%TZ}" for age in (1, 0))
    stop_once_it_writes(cli, "e.ndjson", "--since", first, stop=signal.SIGINT)
    part = (cli.folder / "e.ndjson.part").read_bytes()
    repeated = cli.run("export", "e.ndjson", "--since", second)
    assert (repeated.status, repeated.stdout) == (2, "")
    assert "e.ndjson.part was started by another command. Resume it with:" in repeated.stderr
    assert (cli.folder / "e.ndjson.part").read_bytes() == part
    resumed = cli.run(*command_in(repeated.stderr))
    assert (resumed.status, resumed.stderr.startswith("Resuming e.ndjson.part")) == (0, True), resumed.stderr
    assert f"--since={first}" in command_in(repeated.stderr)
    assert (cli.folder / "e.ndjson").read_text() == cli.run("list", "--json", "--since", first).stdout


@pytest.mark.parametrize("command", [["list"], ["tail"], ["export", "e.ndjson"]], ids=" ".join)
@pytest.mark.parametrize("option", ["--since", "--until"])
def test_a_relative_time_is_refused_by_every_command_that_selects_events(
    command: list[str], option: str, cli: Cli
) -> None:
    result = cli.run(*command, option, "2 hours ago")
    assert (result.status, result.stdout) == (2, "")
    assert f"Invalid value for '{option}': '2 hours ago' is not an absolute time" in result.stderr
    assert "write 2024-05-31, 2024-05-31T12:00:00Z or epoch milliseconds" in result.stderr
    assert list(cli.folder.iterdir()) == []


def test_a_file_that_exists_is_replaced_only_with_force(cli: Cli) -> None:
    path = cli.folder / "events.csv"
    path.write_text("mine")
    refused = cli.run("export", "events.csv")
    assert refused.status == 2
    assert refused.stderr == "engagement: events.csv exists; --force replaces it.\n"
    assert path.read_text() == "mine"
    assert cli.run("export", "events.csv", "--force").status == 0
    assert path.read_text().count("\n") == EVENTS + 1


def test_a_name_without_a_format_is_wrong_usage(cli: Cli) -> None:
    result = cli.run("export", "events.xls")
    assert result.status == 2
    assert "has no ending of a known format; use one of .ndjson, .ndjson.gz," in result.stderr
    assert result.stderr.splitlines()[-1] == "Try 'engagement export --help'."


def test_without_a_server_nothing_is_written(tmp_path: Path) -> None:
    result = Cli(tmp_path).run("export", "events.csv")
    assert result.status == 2
    assert "No answer from a server at 127.0.0.1:1" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_without_its_library_parquet_says_what_to_install(cli: Cli) -> None:
    program = "import sys; sys.modules['pyarrow'] = None; from engagement.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", program, "export", "events.parquet"],
        cwd=cli.folder,
        env=cli.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "pip install 'engagement-attributes[parquet]'" in done.stderr


def test_a_half_export_of_what_was_erased_meanwhile_is_removed(cli: Cli) -> None:
    own = Cli(cli.folder, server=cli.server, account="erased")
    cursor = asyncio.run(_record_and_erase(own))
    # As an export leaves it that was interrupted before the erasure.
    part = own.folder / "e.ndjson.part"
    line = json.dumps({"cursor": cursor}) + "\n"
    part.write_text(line)
    mark = {"cursor": cursor, "size_bytes": len(line), "events": 1, "erased_cursors": []}
    state = {"order": {"account": "erased", "filter": {}}, "mark": mark}
    (own.folder / "e.ndjson.part.state").write_text(json.dumps(state))
    result = own.run("export", "e.ndjson")
    assert result.status == 1
    assert "1 of the exported events were erased meanwhile, so e.ndjson.part was removed" in result.stderr
    assert list(own.folder.iterdir()) == []
    assert own.run("export", "e.ndjson").status == 0


async def _record_and_erase(cli: Cli) -> str:
    async with EngagementClient(cli.server, account_id=cli.account) as client:
        response = await client.record_events(customer_events(1))
        await client.erase_consumer(consumer_id="ada")
    return response.results[0].cursor


def test_a_terminal_shows_progress(cli: Cli) -> None:
    status, shown = run_on_terminal(cli, "export", "events.ndjson")
    assert status == 0
    assert "100%" in shown
    assert f"{EVENTS:,} events, " in CONTROL_SEQUENCE.sub("", shown)
