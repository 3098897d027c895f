"""`engagement top`: on a terminal, in a pipe, and when the server goes away."""

from __future__ import annotations

import json
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engagement.cli.failures import ExitStatus
from tests.support.cli_process import TIMEOUT_SECONDS, Cli, read_line
from tests.support.server_process import ServerProcess
from tests.support.terminal_session import TerminalSession
from tests.support.waiting import wait_until

TOP = ("top", "--interval", "1")
PROGRAM = (sys.executable, "-m", "engagement.cli")
TAKEN = "\x1b[?1049h"
GIVEN_BACK = "\x1b[?25h\x1b[?1049l"
LIVE = "q quits"
INTERRUPT, SUSPEND = "\x03", "\x1a"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    process = ServerProcess(tmp_path_factory.mktemp("top") / "data").start()
    yield process
    process.kill()


@pytest.fixture
def cli(server: ServerProcess) -> Cli:
    return Cli(server.data_dir.parent, server=server.address)


def on_terminal(cli: Cli, *command: str, columns: int = 100, lines: int = 30) -> TerminalSession:
    return TerminalSession(
        *command, folder=cli.folder, environment=cli.environment, columns=columns, lines=lines
    )


def reject_events(cli: Cli, source: str) -> None:
    """Uploads events of a producer whose months are wrong."""
    month = {"lastPaymentDate": {"year": 2023, "month": 13, "day": 1}}
    events = [{"source": source, "consumerId": f"{number}", "customerInfo": month} for number in range(7)]
    cli.write("bad.ndjson", *(json.dumps(event) for event in events))
    assert cli.run("upload", "bad.ndjson").status == 1


@pytest.mark.parametrize(("columns", "lines"), [(60, 20), (160, 50)])
def test_a_bad_producer_appears_on_the_live_screen(columns: int, lines: int, cli: Cli) -> None:
    with on_terminal(cli, *PROGRAM, *TOP, columns=columns, lines=lines) as session:
        session.wait_for(LIVE)
        reject_events(cli, f"[red]crm-{columns}\x1b]0;x\x07")
        session.wait_for(r"7 +\[red\]crm\S* +\S*date\.month +int32\.gte_lte +99")
        session.wait_for(r"rejected +[\d.]+/s +[\d.]+/s")
        assert "\x1b]0;" not in session.shown


@pytest.mark.parametrize(
    ("key", "sent", "status"),
    [
        ("q", None, ExitStatus.OK),
        (INTERRUPT, None, ExitStatus.INTERRUPTED),
        ("", signal.SIGTERM, -signal.SIGTERM),
        ("", signal.SIGHUP, -signal.SIGHUP),
    ],
)
def test_the_terminal_is_given_back_on_every_way_out(
    key: str, sent: signal.Signals | None, status: int, cli: Cli
) -> None:
    with on_terminal(cli, *PROGRAM, *TOP) as session:
        session.wait_for(LIVE)
        assert TAKEN in session.shown
        assert session.read_modes() != session.modes
        session.type(key)
        if sent is not None:
            session.send_signal(sent)
        assert session.wait() == status
        assert session.read_modes() == session.modes
        screen, _, rest = session.shown.rpartition(GIVEN_BACK)
        assert screen.count(TAKEN) == 1
        assert rest.strip() == ("engagement: Interrupted." if key == INTERRUPT else "")


def test_the_screen_outlives_the_server(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data").start()
    try:
        with on_terminal(Cli(tmp_path, server=server.address), *PROGRAM, *TOP) as session:
            session.wait_for(r"up \d+ s, ready")
            server.kill()
            session.wait_for(r"connection lost \(.*\), trying again; the last answer is \d+ s old")
            session.discard()
            server.start()
            session.wait_for(r"up \d+ s, ready")
            server.kill()
            session.wait_for("connection lost")
            session.type("q")
            assert session.wait() == ExitStatus.OK
            assert session.read_modes() == session.modes
            assert session.shown.endswith(GIVEN_BACK)
    finally:
        server.kill()


def test_the_screen_comes_back_after_a_pause_and_follows_the_size(cli: Cli) -> None:
    with on_terminal(cli, "bash", "--norc", "--noprofile", "-i") as session:
        session.type(f"{sys.executable} -m engagement.cli top; echo status=$?\n")
        session.wait_for(LIVE)
        session.type(SUSPEND)
        session.wait_for("Stopped")
        assert session.shown.rpartition(TAKEN)[2].count(GIVEN_BACK) == 1
        session.discard()
        session.type("fg\n")
        session.wait_for(LIVE)
        assert session.shown.count(TAKEN) == 1
        session.discard()
        session.resize(columns=60, lines=20)
        session.wait_for(LIVE)
        frame = session.plain.replace("\r", "").split("\n")
        assert max(map(len, frame)) <= 60
        session.type("q")
        session.wait_for(r"\$ $")
        assert GIVEN_BACK in session.shown


def test_a_pipe_gets_one_page_and_every_rule_in_full(cli: Cli) -> None:
    reject_events(cli, "piped [bold]crm[/bold]")
    wait_until(lambda: "piped" in cli.run("top").stdout, "the rejected events are in a sample")
    done = cli.run("top")
    assert (done.status, done.stderr) == (0, "")
    assert re.match(r"engagement \S+ at \S+, up .*, ready\n", done.stdout)
    assert re.search(
        r"^ +7 +piped \[bold\]crm\[/bold\] +customer_info\.last_payment_date\.month +int32\.gte_lte +99",
        done.stdout,
        re.MULTILINE,
    )
    assert "\x1b" not in done.stdout
    assert re.search(r"^Store  memory .*, database ", done.stdout, re.MULTILINE)
    assert re.search(r"^ +0 +current", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("options", [("--once",), ()])
def test_a_terminal_that_cannot_give_its_screen_back_gets_one_page(
    options: tuple[str, ...], cli: Cli
) -> None:
    terminal = "xterm" if options else "dumb"
    dumb = Cli(cli.folder, server=cli.server, settings={"TERM": terminal})
    with on_terminal(dumb, *PROGRAM, "top", *options, columns=60) as session:
        assert session.wait() == ExitStatus.OK
        assert "\x1b" not in session.shown
        assert max(map(len, session.shown.splitlines())) <= 60
        assert "Rejected events" in session.shown


def test_json_is_one_object_or_a_line_for_each_look(cli: Cli) -> None:
    once = cli.run("top", "--once", "--json")
    assert (once.status, once.stderr) == (0, "")
    assert once.json().keys() >= {"version", "samples", "rejectedRules", "failedCalls", "partitions"}
    assert once.stdout.count("\n") == 1
    with cli.start("top", "--json", "--interval", "1") as process:
        times = [json.loads(read_line(process))["sampleTime"] for _ in range(2)]
        assert times == sorted(times)
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT_SECONDS) == ExitStatus.INTERRUPTED


def test_the_end_of_the_reader_ends_it_quietly(cli: Cli) -> None:
    with cli.start("top", "--json", "--interval", "1") as process:
        read_line(process)
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.wait(TIMEOUT_SECONDS) == ExitStatus.READER_GONE
        assert process.stderr.read() == b""


def test_an_unreachable_server_is_the_usual_error_before_the_screen_is_taken(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    done = cli.run("top")
    assert done.status == ExitStatus.FAILED
    assert done.stderr.startswith(
        "engagement: No answer from a server at 127.0.0.1:1 (Connection refused).\n"
    )
    with on_terminal(cli, *PROGRAM, *TOP) as session:
        assert session.wait() == ExitStatus.FAILED
        assert "\x1b" not in session.shown
