"""The command line on a terminal: a progress bar, tables, limits."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.support.cli_process import TIMEOUT_SECONDS, Cli, event_line
from tests.support.server_process import ServerProcess

CONTROL_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    folder = tmp_path_factory.mktemp("terminal")
    server = ServerProcess(folder / "data").start()
    yield Cli(folder, server=server.address)
    server.kill()


def run_on_terminal(cli: Cli, *arguments: str, columns: int = 120) -> tuple[int, str]:
    """The exit status of a command, and what it shows on a terminal of some columns."""
    ours, theirs = pty.openpty()
    # Whoever runs the tests may have told their own width.
    environment = {name: value for name, value in cli.environment.items() if name not in {"COLUMNS", "LINES"}}
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    with subprocess.Popen(
        [sys.executable, "-m", "engagement.cli", *arguments],
        cwd=cli.folder,
        env={**environment, "TERM": "xterm"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        shown = b"".join(iter(lambda: _read(ours), b""))
        process.wait(TIMEOUT_SECONDS)
    os.close(ours)
    return process.returncode, shown.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # how Linux says that nobody has the other end any more
        return b""


def test_a_terminal_shows_progress_and_a_table(cli: Cli) -> None:
    lines = [event_line(str(number)) for number in range(3000)]
    cli.write("a.ndjson", *lines, event_line("\x1b[31m" + "x" * 100, consumerId="[bold]c"), "nope")
    status, shown = run_on_terminal(cli, "upload", "a.ndjson")
    assert status == 1
    assert "100%" in shown
    assert re.search(r"3,00\d events, [\d,]+/s, 1 rejected", CONTROL_SEQUENCE.sub("", shown))

    status, shown = run_on_terminal(cli, "list")
    assert status == 0
    assert "There are more than these 100 events; --limit 0 shows them all." in shown
    status, shown = run_on_terminal(cli, "list", "--newest-first", "--limit", "1")
    plain = CONTROL_SEQUENCE.sub("", shown)
    assert re.search(r"time +set +consumer +customer +status +type +attributes", plain)
    assert "[bold]c" in plain
    assert r"\x1b[31mxxx" in plain
    assert "xxx…" in plain


def test_a_terminal_shows_one_progress_of_a_folder(cli: Cli) -> None:
    for name in ("in/a.ndjson", "in/b.ndjson"):
        cli.write(name, *(event_line(f"{name} {number}") for number in range(1500)), "nope")
    status, shown = run_on_terminal(cli, "upload", "in")
    assert status == 1
    plain = CONTROL_SEQUENCE.sub("", shown)
    assert "1 of 2 files" in plain
    assert re.search(r"100%.* [23],\d\d\d events, [\d,]+/s, 2 rejected", plain)


def test_a_terminal_shows_escapes_for_what_it_cannot_show(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli.write("unicode.ndjson", event_line("1", eventId="u", consumerId="c-é\u6771\U0001f600"))
    assert cli.run("upload", "unicode.ndjson").status == 0
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    for arguments in (["get", "u"], ["get", "u", "--json"], ["list", "--newest-first", "--limit", "1"]):
        status, shown = run_on_terminal(cli, *arguments)
        assert (status, "c-\\xe9\\u6771\\U0001f600" in shown) == (0, True)


@pytest.mark.parametrize("columns", [50, 80, 120, 200])
def test_tables_fit_the_terminal_with_whole_ids(columns: int, cli: Cli) -> None:
    cli = replace(cli, account=f"width-{columns}")
    consumer = "7f3a1c9e-0b52-4d87-a6e1-c45d2f80b913"
    long = " ".join(f"word-{number}" for number in range(40))
    event = f"{consumer[:-1]}4"
    noted = event_line("12.50", consumerId=consumer, eventId=event, additionalAttributes={"note": long})
    cli.write("wide.ndjson", noted, event_line("1", consumerId="c-1"))
    assert cli.run("upload", "wide.ndjson").status == 0
    assert cli.run("erase", "--consumer", "c-1", "--yes").status == 0
    for command, *texts in (
        ("list", consumer),
        ("tail --from-start --limit 1", consumer),
        (f"profile --consumer {consumer}", consumer, event),
        (f"get {event}", consumer, event, "word-39"),
        ("erasures", "consumer id"),
        ("uploads", "wide.ndjson"),
        ("info", "engagement.v1"),
    ):
        status, shown = run_on_terminal(cli, *command.split(), columns=columns)
        plain = CONTROL_SEQUENCE.sub("", shown)
        assert status == 0
        assert max(map(len, plain.splitlines())) <= columns, plain
        assert [text for text in texts if text not in plain] == [], plain


def test_rows_of_short_values_stay_a_table_on_a_terminal_of_80_columns(cli: Cli) -> None:
    cli = replace(cli, account="narrow")
    cli.write("narrow.ndjson", event_line("1", consumerId="c-1", additionalAttributes={"note": "a b"}))
    assert cli.run("upload", "narrow.ndjson").status == 0
    _, shown = run_on_terminal(cli, "list", columns=80)
    names, more_names, first, attributes = CONTROL_SEQUENCE.sub("", shown).splitlines()
    assert (names.split()[-1], more_names, attributes) == (
        "type",
        "    attributes",
        '    balance=1 note="a b"',
    )
    assert first.index("c-1") == names.index("consumer")


def test_a_list_of_uploads_is_a_table_on_a_terminal_of_120_columns(cli: Cli) -> None:
    cli = replace(cli, account="uploads")
    cli.write("may.ndjson", *(event_line(f"{number}", eventId=f"{number}") for number in range(1, 1200)))
    cli.write("june.ndjson", event_line("1", eventId="1"), event_line("2", eventId="1"), "nope")
    assert [cli.run("upload", name).status for name in ("may.ndjson", "june.ndjson")] == [0, 1]
    _, shown = run_on_terminal(cli, "uploads", columns=120)
    names, more_names, june, june_source, may, may_source = CONTROL_SEQUENCE.sub("", shown).splitlines()
    assert names.split() == ["changed", "events", "upload", "id"]
    assert (more_names.strip(), june_source.strip(), may_source.strip()) == (
        "source",
        "june.ndjson",
        "may.ndjson",
    )
    assert re.search(r"Z +1 duplicate, 1 rejected, 1 unreadable +file-[0-9a-f]+$", june)
    assert re.search(r"Z +1199 accepted +file-[0-9a-f]+$", may)
