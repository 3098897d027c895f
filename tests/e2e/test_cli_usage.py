"""How commands are called: addresses, accounts, the place of options, help, completion, pipes and Ctrl-C."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click
import pytest

from engagement.cli.program import main, program
from tests.support.cli_process import TIMEOUT_SECONDS, Cli, event_line
from tests.support.server_process import ServerProcess

SERVER = "(--server or ENGAGEMENT_SERVER)"
RULE = (
    "engagement: An account (--account or ENGAGEMENT_ACCOUNT) is 1 to 64 letters (a to z), digits, - and _;"
)


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    folder = tmp_path_factory.mktemp("usage")
    with ServerProcess(folder / "data").start() as server:
        cli = Cli(folder, server=server.address)
        lines = [event_line(str(number), eventId=f"e-{number}", consumerId="c") for number in range(5000)]
        cli.write("events.ndjson", *lines)
        assert cli.run("upload", "events.ndjson").status == 0
        yield cli


def commands(group: click.Group, *path: str) -> Iterator[tuple[str, ...]]:
    """The words of every command, and of every group."""
    yield path
    for name in group.list_commands(context := click.Context(group)):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)
        else:
            yield (*path, name)


def test_each_command_works_in_a_process_of_its_own(cli: Cli) -> None:
    cli.write("own.ndjson", event_line("1", eventId="own", consumerId="own"))
    for command, printed in (
        ("validate own.ndjson", "1 valid"),
        ("upload own.ndjson --account own", "1 accepted"),
        ("get own --account own", "event id\town"),
        ("list --account own", "\town\t"),
        ("profile --consumer own --account own", "balance\t1"),
        ("tail --from-start --limit 1 --account own", "\town\t"),
        ("export own.csv --account own", "own.csv: 1 events"),
        ("entities put status Gold --account own", "customer statuses: 1 name"),
        ("accounts", "own\t1\t"),
        ("erase --consumer own --suppress --yes --account own", "erased\t1"),
        ("erasures --account own", "consumer id"),
        ("lift --consumer own --account own", "The suppression is lifted."),
        ("info", "contract\tengagement.v1"),
    ):
        done = cli.run_process(*command.split())
        assert (done.status, printed in done.stdout + done.stderr) == (0, True), (command, done)


@pytest.mark.parametrize(
    ("address", "flaw"),
    [
        ("https://x.example/", "has no port; write x.example:50051, or another port."),
        ("x.example", "has no port; write x.example:50051, or another port."),
        ("http://x.example/", "has no port; write x.example:50051, or another port."),
        ("::1", "has no port; write [::1]:50051, or another port."),
        ("::1:50051", "is not [HOST]:PORT; write one such as [::1]:50051."),
        ("host:abc", "has the port 'abc', and a port is 1 to 65535; write host:50051."),
        ("host:0", "has the port '0', and a port is 1 to 65535; write host:50051."),
        ("host:70000", "has the port '70000', and a port is 1 to 65535; write host:50051."),
        ("", "is not HOST:PORT; write one such as 127.0.0.1:50051."),
        ("a b:1", "is not HOST:PORT; write one such as 127.0.0.1:50051."),
    ],
)
def test_an_address_that_cannot_be_is_refused_with_the_right_spelling(
    address: str, flaw: str, cli: Cli
) -> None:
    done = cli.run("list", "--server", address)
    assert (done.status, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"engagement: The server's address {address!r} {SERVER} {flaw}")


@pytest.mark.parametrize("spelling", ["{}", "http://{}", "grpc://{}/", "dns:///{}", "ipv4:{}"])
def test_an_address_may_be_spelled_as_elsewhere(spelling: str, cli: Cli) -> None:
    done = cli.run("info", "--server", spelling.format(cli.server))
    assert (done.status, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        (
            "no.such.host.invalid:50051",
            "The host of no.such.host.invalid:50051 is not known here; name another",
        ),
        ("[::1]:1", "No answer from a server at [::1]:1 ("),
    ],
)
def test_a_missing_server_is_reported_at_once(address: str, sentence: str, cli: Cli) -> None:
    done = cli.run("list", "--server", address)
    assert (done.status, done.stdout) == (2, "")
    assert done.stderr.startswith(f"engagement: {sentence}")
    assert "--server or ENGAGEMENT_SERVER" in done.stderr


@pytest.mark.parametrize(
    ("account", "flaw"),
    [
        ("acme corp", "this one has a blank."),
        ("", "this one is empty."),
        ("a" * 65, "this one has 65 characters."),
        ("zoë", "this one has 'ë'."),
    ],
)
def test_an_account_that_cannot_be_is_refused_before_anything_is_sent(
    account: str, flaw: str, cli: Cli
) -> None:
    done = cli.run("list", "--account", account, "--server", "127.0.0.1:1")
    assert (done.status, done.stdout, done.stderr) == (2, "", f"{RULE} {flaw}\n")


def test_a_missing_account_names_the_option_and_the_variable(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = Cli(cli.folder, account="").run("list")
    assert (done.status, done.stdout) == (2, "")
    assert done.stderr.startswith("engagement: Missing option '--account' (env var: 'ENGAGEMENT_ACCOUNT').\n")


def test_server_and_account_may_stand_before_the_command(cli: Cli) -> None:
    other = Cli(cli.folder, account="")
    for command in (
        f"--server {cli.server} --account={cli.account} list",
        "--account acme entities list status",
    ):
        expected = (
            cli.run(*command.split()[-1:])
            if command.endswith(" list")
            else cli.run("entities", "list", "status")
        )
        assert other.run("--server", cli.server, *command.split()) == expected
    assert cli.run("entities", "--account", "acme", "list", "status").status == 0
    assert cli.run("--account", "other", "list", "--account", "acme") == cli.run("list")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("--account acme", "No command is given, as in: engagement list --account acme"),
        (
            "--json list",
            "--json belongs after the command; only --server, --account and --profile may stand before it.",
        ),
        ("lst", "There is no command 'lst'; did you mean 'list'?"),
        ("entities lst", "There is no command 'lst'; did you mean 'list'?"),
        ("xyzzy", "There is no command 'xyzzy'."),
        ("list --acount x", "No such option '--acount'. (Did you mean one of: '--account', '--until'?)"),
    ],
)
def test_wrong_usage_names_the_right_one(arguments: str, sentence: str, cli: Cli) -> None:
    done = cli.run(*arguments.split())
    assert (done.status, done.stdout) == (2, "")
    first, second = done.stderr.splitlines()
    assert first == f"engagement: {sentence}"
    assert re.fullmatch(r"Try 'engagement( \w+)? --help'\.", second)


def test_the_list_of_commands_has_the_first_sentence_of_each() -> None:
    context = click.Context(program)
    shown = " ".join(program.get_help(context).split())
    for name in program.list_commands(context):
        command = program.get_command(context, name)
        assert command is not None
        assert f" {name} {command.get_short_help_str(200)}" in shown


@pytest.fixture
def help_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[Sequence[str], int], str]:
    """A function that returns the help of a command on a terminal of some columns."""

    def show(path: Sequence[str], columns: int) -> str:
        monkeypatch.setenv("COLUMNS", str(columns))
        assert main([*path, "--help"]) == 0
        return capsys.readouterr().out

    return show


@pytest.mark.parametrize("columns", [50, 80, 200])
def test_help_fills_the_terminal_and_no_more(
    columns: int, help_of: Callable[[Sequence[str], int], str]
) -> None:
    lines = [line for path in commands(program) for line in help_of(path, columns).splitlines()]
    assert min(columns, 120) - 5 < max(map(len, lines)) <= columns


def test_examples_that_are_folded_are_still_commands(help_of: Callable[[Sequence[str], int], str]) -> None:
    narrow, wide = (help_of(["list"], columns).partition("Examples:")[2] for columns in (50, 120))
    assert " \\\n" in narrow
    assert " \\\n" not in wide
    assert shlex.split(narrow.replace("\\\n", "")) == shlex.split(wide)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("engagement li", {"plain,lift", "plain,list"}),
        ("engagement --account acme li", {"plain,lift", "plain,list"}),
        ("engagement entities p", {"plain,put"}),
        ("engagement list --accou", {"plain,--account"}),
        ("engagement list --set ", {"plain,customer", "plain,personal"}),
        ("engagement upload ev", {"file,ev"}),
    ],
)
def test_commands_options_values_and_files_are_completed(
    line: str, expected: set[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_ENGAGEMENT_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(line.count(" ")))
    with pytest.raises(SystemExit):
        main([])
    assert set(capsys.readouterr().out.splitlines()) == expected


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_complete_with_their_own_script(
    shell: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_ENGAGEMENT_COMPLETE", f"{shell}_source")
    with pytest.raises(SystemExit):
        main([])
    assert f"_ENGAGEMENT_COMPLETE={shell}_complete" in capsys.readouterr().out


def run_in_bash(cli: Cli, script: str) -> tuple[str, str]:
    """What a script prints, and its messages; the command line is `engagement`."""
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=cli.folder,
        env={**cli.environment, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    return done.stdout, done.stderr


def test_bash_completes_as_the_readme_sets_it_up(cli: Cli) -> None:
    script = """
        eval "$(_ENGAGEMENT_COMPLETE=bash_source engagement)"
        complete -p engagement
        COMP_WORDS=(engagement li) COMP_CWORD=1
        _engagement_completion engagement
        echo "${COMPREPLY[@]}"
    """
    shown = "complete -o nosort -F _engagement_completion engagement\nlift list\n"
    assert run_in_bash(cli, script) == (shown, "")


def test_a_closed_pipe_ends_a_command_silently(cli: Cli) -> None:
    stdout, stderr = run_in_bash(cli, "engagement list | head -1; echo ${PIPESTATUS[0]}")
    assert (stdout.split("\t")[0], stderr) == ("time", "")
    assert stdout.splitlines()[-1] == "141"


@pytest.mark.parametrize("command", ["info", "list", "get e-1 --json", "--help", "validate events.ndjson"])
@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-"])
def test_a_closed_output_is_nothing_to_complain_of(command: str, closed: str, cli: Cli) -> None:
    stdout, stderr = run_in_bash(cli, f"(engagement {command} {closed}); echo $?")
    assert (stdout, stderr.replace("\n", "")[:5]) in (("0\n", ""), ("0\n", "event"))


def test_a_closed_input_is_an_empty_one(cli: Cli) -> None:
    _, stderr = run_in_bash(cli, "engagement upload - <&-")
    assert stderr == "stdin: 0 events: the input is empty\n"


@pytest.mark.parametrize("module", ["click", "engagement.cli.program", "engagement.cli.info", "grpc"])
def test_an_interrupt_while_the_program_starts_ends_it_at_once_and_silently(module: str, cli: Cli) -> None:
    script = f"""
import os, signal, sys
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
sys.argv = ["engagement", "info"]
from engagement.cli import main
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=cli.environment,
        capture_output=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, b"", b"")


@pytest.mark.parametrize("command", ["validate -", "upload -", "entities import status -"])
def test_an_interrupt_ends_a_command_that_reads_with_a_sentence(command: str, cli: Cli) -> None:
    with cli.start(*command.split()) as process:
        assert process.stdin is not None
        # More than a pipe holds: it reads.
        process.stdin.write(f"{event_line('1')}\n".encode() * 10_000)
        process.stdin.flush()
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=TIMEOUT_SECONDS)
    assert process.returncode == 130
    assert stderr.decode().lstrip().startswith("engagement: Interrupted.")
    assert b"Traceback" not in stderr
