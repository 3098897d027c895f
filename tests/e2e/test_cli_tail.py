"""`engagement tail` against a real server."""

from __future__ import annotations

import asyncio
import fcntl
import json
import re
import shlex
import signal
import subprocess
import termios
import uuid
from array import array
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from engagement import EngagementClient, v1
from engagement.cli.part_file import Mark, PartFile
from tests.e2e.test_cli_terminal import CONTROL_SEQUENCE, run_on_terminal
from tests.support.cli_process import TIMEOUT_SECONDS, Cli, Result, read_line
from tests.support.server_process import ServerProcess
from tests.support.waiting import wait_until

_PIPE_BYTES = 60_000
_MAX_EVENTS = 1000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    process = ServerProcess(tmp_path_factory.mktemp("tail") / "data").start()
    yield process
    process.kill()


@pytest.fixture
def cli(server: ServerProcess, tmp_path: Path) -> Cli:
    """The command line for an account of its own."""
    return Cli(tmp_path, server=server.address, account=uuid.uuid4().hex)


def record(cli: Cli, *balances: str, consumer_id: str = "") -> None:
    asyncio.run(_record(cli, balances, consumer_id))


async def _record(cli: Cli, balances: Sequence[str], consumer_id: str) -> None:
    events = [
        v1.Event(
            event_id=f"e-{balance}",
            consumer_id=consumer_id,
            customer_info=v1.CustomerInfo(balance=balance),
        )
        for balance in balances
    ]
    async with EngagementClient(cli.server, account_id=cli.account) as client:
        await client.record_events(events)


def read_json(process: subprocess.Popen[bytes]) -> Any:
    return json.loads(read_line(process))


def balance_of(stored: Any) -> str:
    return str(stored["event"]["customerInfo"]["balance"])


def interrupt(process: subprocess.Popen[bytes]) -> str:
    """Stops a command as Ctrl-C does; what it says then."""
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=TIMEOUT_SECONDS)
    assert process.returncode == 130, stderr.decode()
    return stderr.decode()


def how_to_resume(stderr: str) -> list[str]:
    """The arguments of the command that resumes."""
    message, command = stderr.rsplit("\n  ", 1)
    assert message.endswith("Interrupted.\nResume with:")
    program, *arguments = shlex.split(command)
    assert program == "engagement"
    return arguments


def test_events_are_shown_as_they_come_and_the_printed_command_goes_on_behind_them(cli: Cli) -> None:
    record(cli, "1", "2")
    with cli.start("tail", "--json", "--from-start", "--since", "2024-05-31") as process:
        assert [balance_of(read_json(process)) for _ in range(2)] == ["1", "2"]
        record(cli, "3")
        assert balance_of(read_json(process)) == "3"
        arguments = how_to_resume(interrupt(process))
    record(cli, "4", "5")
    resumed = cli.run(*arguments, "--limit", "2")
    assert resumed.status == 0, resumed.stderr
    shown = [balance_of(json.loads(line)) for line in resumed.stdout.splitlines()]
    # An interrupt right behind a line may repeat it; none is ever left out.
    assert shown in (["4", "5"], ["3", "4"])
    assert "--since=2024-05-31T00:00:00Z" in arguments
    assert "--json" in arguments


def _waiting_bytes(pipe: int) -> int:
    waiting = array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, waiting)
    return waiting[0]


def test_an_interrupt_in_the_middle_of_printing_leaves_no_gap(cli: Cli) -> None:
    record(cli, *(str(number) for number in range(500)))
    expected = [json.loads(line)["cursor"] for line in cli.run("list", "--json").stdout.splitlines()]
    with cli.start("tail", "--json", "--from-start") as process:
        assert process.stdout is not None
        pipe = process.stdout.fileno()
        # All of it does not fit into the pipe: it is printing until somebody reads.
        wait_until(lambda: _waiting_bytes(pipe) > _PIPE_BYTES, "the pipe is full")
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=TIMEOUT_SECONDS)
    assert process.returncode == 130, stderr.decode()
    shown = re.findall(r'"cursor": "([^"]+)"', stdout.decode())
    behind = how_to_resume(stderr.decode())[-1].removeprefix("--after=")
    assert shown[: expected.index(behind) + 1] == expected[: expected.index(behind) + 1]
    assert behind != expected[-1]


def test_without_a_start_it_begins_with_the_next_event(cli: Cli) -> None:
    record(cli, "old")
    with cli.start("tail", "--json") as process, ThreadPoolExecutor(1) as thread:
        # Nothing tells from outside when it has subscribed, so events come until it shows one.
        shown = thread.submit(read_json, process)
        for number in range(_MAX_EVENTS):
            record(cli, str(number))
            if wait([shown], timeout=0.05).done:
                break
    assert balance_of(shown.result()) != "old"


def test_the_same_filters_as_those_of_list_choose_events(cli: Cli) -> None:
    record(cli, "1", consumer_id="c-1")
    record(cli, "2", consumer_id="c-2")
    record(cli, "3", consumer_id="c-1")
    shown = cli.run("tail", "--from-start", "--consumer", "c-1", "--limit", "2", "--json")
    assert [balance_of(json.loads(line)) for line in shown.stdout.splitlines()] == ["1", "3"]


def test_it_begins_with_what_was_accepted_at_a_time(cli: Cli) -> None:
    record(cli, "1")
    record(cli, "2")
    second = json.loads(cli.run("get", "e-2", "--json").stdout)
    shown = cli.run("tail", "--accepted-since", second["receiveTime"], "--limit", "1")
    names, row = (line.split("\t") for line in shown.stdout.splitlines())
    assert dict(zip(names, row, strict=True))["attributes"] == "balance=2"


def test_it_stops_at_a_time_after_all_that_was_accepted_before_it(cli: Cli) -> None:
    record(cli, "1")
    record(cli, "2")
    second = json.loads(cli.run("get", "e-2", "--json").stdout)["receiveTime"]
    past = cli.run("tail", "--json", "--from-start", "--accepted-until", second)
    assert (past.status, [balance_of(json.loads(line)) for line in past.stdout.splitlines()]) == (0, ["1"])
    soon = (datetime.now(UTC) + timedelta(seconds=3)).isoformat()
    with cli.start("tail", "--json", "--from-start", "--accepted-until", soon) as process:
        first = read_json(process)
        record(cli, "3")
        assert process.stdout is not None
        output = process.stdout.read()  # of its buffer, too, which may hold what came with the first line
        assert process.wait(TIMEOUT_SECONDS) == 0
    record(cli, "4")
    shown = [first, *map(json.loads, output.splitlines())]
    assert shown == [
        json.loads(line) for line in cli.run("list", "--json", "--accepted-until", soon).stdout.splitlines()
    ]
    assert cli.run("tail", "--json", "--accepted-until", second) == Result(0, "", "")


def test_the_json_is_that_of_a_list(cli: Cli) -> None:
    record(cli, "é\u2028", "2", consumer_id='"c\\')
    shown = cli.run("tail", "--from-start", "--limit", "2", "--json")
    assert shown.stdout == cli.run("list", "--json").stdout


def test_restarts_of_the_server_are_told_and_leave_no_gap(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data").start()
    cli = Cli(tmp_path, server=server.address)
    record(cli, "1")
    with cli.start("tail", "--json", "--from-start") as process:
        assert balance_of(read_json(process)) == "1"
        server.kill()
        server.start()
        record(cli, "2")
        assert balance_of(read_json(process)) == "2"
        stderr = interrupt(process)
    lost, again, *_ = stderr.splitlines()
    assert re.fullmatch(r"engagement: Connection lost \(.*\); reconnecting\.", lost)
    assert re.fullmatch(r"engagement: Connected again after [0-9.]+ s\.", again)
    assert (stderr.count("Connection lost"), stderr.count("Connected again")) == (1, 1)
    server.kill()


def test_after_a_cursor_of_another_log_it_says_to_start_anew_and_not_to_resume(
    cli: Cli, tmp_path: Path
) -> None:
    other_server = ServerProcess(tmp_path / "other").start()
    other = replace(cli, server=other_server.address)
    record(other, "1")
    cursor = json.loads(other.run("get", "e-1", "--json").stdout)["cursor"]
    other_server.kill()
    record(cli, "2")
    refused = cli.run("tail", "--after", cursor, "--set", "customer")
    assert refused.status == 2
    assert "Resume with" not in refused.stderr
    message, command = refused.stderr.rsplit("\n  ", 1)
    assert message.endswith("Start anew with:")
    arguments = shlex.split(command)[1:]
    assert arguments[-2:] == ["--set=customer", "--from-start"]
    shown = cli.run(*arguments, "--json", "--limit", "1")
    assert balance_of(json.loads(shown.stdout)) == "2"

    order = {"account": cli.account, "filter": {}}
    with PartFile(cli.folder / "half.ndjson", order=order) as part:
        part.append(b"", mark=Mark(cursor=cursor))
        part.checkpoint()
    refused = cli.run("export", "half.ndjson")
    assert refused.status == 2
    assert "Resume with" not in refused.stderr
    message, command = refused.stderr.rsplit("\n  ", 1)
    assert message.endswith("Start over with:")
    assert cli.run(*shlex.split(command)[1:]).status == 0
    assert (cli.folder / "half.ndjson").read_text() == cli.run("list", "--json").stdout


def test_erasures_that_come_together_are_counted_in_one_line(cli: Cli) -> None:
    for number in range(3):
        record(cli, str(number), consumer_id=f"c-{number}")
    record(cli, "last")
    for number in range(3):
        asyncio.run(_erase(cli, consumer_id=f"c-{number}"))
    record(cli, "end")
    shown = cli.run("tail", "--from-start", "--limit", "2")
    assert shown.status == 0
    (line,) = shown.stderr.splitlines()
    assert re.fullmatch(
        r"engagement: Events erased: 3 \(3 erasures, the last \S+\)\. Delete copies of them\.", line
    )


def test_a_quiet_stream_tells_of_an_erasure_without_a_further_event(cli: Cli) -> None:
    record(cli, "1", consumer_id="c-1")
    with cli.start("tail", "--from-start") as process, ThreadPoolExecutor(1) as thread:
        assert read_line(process).startswith(b"time\t")
        assert b"balance=1" in read_line(process)
        asyncio.run(_erase(cli, consumer_id="c-1"))
        assert process.stderr is not None
        told = thread.submit(process.stderr.readline)
        assert b"Events erased: 1 (erasure " in told.result(TIMEOUT_SECONDS)


def test_erasures_stand_in_their_place(cli: Cli) -> None:
    record(cli, "1", consumer_id="c-1")
    with cli.start("tail", "--from-start", "--json") as as_json, cli.start("tail", "--from-start") as rows:
        cursor = read_json(as_json)["cursor"]
        assert read_line(rows).startswith(b"time\t")
        assert b"balance=1" in read_line(rows)
        asyncio.run(_erase(cli, consumer_id="c-1"))
        notice = read_json(as_json)["erasureNotice"]
        assert notice["erasedCursors"] == [cursor]
        record(cli, "2")
        assert balance_of(read_json(as_json)) == "2"
        assert b"balance=2" in read_line(rows)
        stderr = interrupt(rows)
    assert f"engagement: Events erased: 1 (erasure {notice['erasureId']}). Delete copies" in stderr


async def _erase(cli: Cli, *, consumer_id: str) -> None:
    async with EngagementClient(cli.server, account_id=cli.account) as client:
        await client.erase_consumer(consumer_id=consumer_id)


def test_a_terminal_shows_a_line_for_each_event(cli: Cli) -> None:
    record(cli, "\x1b[31m1", "2", consumer_id="[bold]c")
    status, shown = run_on_terminal(cli, "tail", "--from-start", "--limit", "2")
    assert status == 0
    assert "\x1b" not in shown
    names, first, second = CONTROL_SEQUENCE.sub("", shown).splitlines()
    assert names.split() == ["time", "set", "consumer", "customer", "status", "type", "attributes"]
    assert "[bold]c" in first
    assert first.endswith(r"balance=\x1b[31m1")
    assert first.index("balance") == second.index("balance") == names.index("attributes")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from-start", "--after", "c"], "Give one of --from-start, --after and --accepted-since."),
        (["--limit", "0"], "Invalid value for '--limit'"),
        (["--after", "nonsense"], "refused the request"),
    ],
)
def test_wrong_usage_is_exit_status_2(cli: Cli, arguments: list[str], message: str) -> None:
    result = cli.run("tail", *arguments)
    assert (result.status, result.stdout) == (2, "")
    assert message in result.stderr
    assert "Resume with" not in result.stderr


def test_without_a_server_it_ends_at_once(tmp_path: Path) -> None:
    result = Cli(tmp_path).run("tail")
    assert result.status == 2
    assert "No answer from a server at 127.0.0.1:1" in result.stderr


def test_a_reader_that_stops_early_is_no_error_to_speak_of(cli: Cli) -> None:
    record(cli, *map(str, range(500)))
    with cli.start("tail", "--from-start", "--json") as process:
        read_json(process)
        assert process.stdout is not None
        process.stdout.close()
        record(cli, "more")
        wait_until(lambda: process.poll() is not None, "the command ends")
        assert process.returncode == 141
