"""`engagement erase`, `erasures`, `suppression`, `lift` and `person`, in pipes and on a terminal."""

from __future__ import annotations

import json
import os
import pty
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.cli_process import TIMEOUT_SECONDS, Cli, event_line
from tests.support.server_process import ServerProcess
from tests.support.view_rows import held_view


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    process = ServerProcess(tmp_path_factory.mktemp("erase") / "data").start()
    yield process
    process.kill()


@pytest.fixture
def cli(server: ServerProcess, request: pytest.FixtureRequest) -> Cli:
    """The command line for an account with seven events of one consumer, and one of another."""
    cli = Cli(server.data_dir.parent, server=server.address, account=request.node.name[5:64])
    events = [
        event_line("1", eventId=f"e-{number}", consumerId="c-1", conversationId="v-1") for number in range(7)
    ]
    name = f"{cli.account}.ndjson"
    cli.write(name, *events, event_line("1", eventId="other", consumerId="c-2", conversationId="v-1"))
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
    assert "give --dry-run to see what would be erased, or --yes" in done.stderr
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
    assert (first.status, again.status) == (0, 0)
    assert without_related(first.json()) == again.json()
    assert first.json()["erasedEvents"] == "7"
    assert first.stderr.splitlines()[0] == "Request id: ticket"
    other = cli.run("erase", "--customer", "c-1", "--request-id", "ticket", "--yes")
    assert other.status == 2
    assert "'ticket' was used for another request" in other.stderr


def test_erasures_are_listed_and_shown(cli: Cli) -> None:
    erased = cli.run("erase", "--consumer", "c-1", "--yes", "--json").json()
    cli.run("erase", "--conversation", "v-1", "--yes", "--suppress")
    names, latest, first = cli.run("erasures").stdout.splitlines()
    assert names.split("\t")[0] == "erasure id"
    assert latest.split("\t")[3:7] == ["conversation id", "1", "0", "yes"]
    assert first.split("\t")[3:7] == ["consumer id", "7", "0", "no"]
    listed = [json.loads(line) for line in cli.run("erasures", "--json").stdout.splitlines()]
    assert listed[1] == without_related(erased)
    assert cli.run("erasures", erased["erasureId"], "--json").json() == without_related(erased)
    assert cli.run("erasures", "nothing").status == 1


def test_erasures_are_found_by_request_and_by_what_they_named(cli: Cli) -> None:
    assert (
        cli.run("erase", "--consumer", "c-1", "--event", "other", "--request-id", "t-1", "--yes").status == 0
    )
    for options in (("--request-id", "t-1"), ("--subject", "c-1"), ("--subject", "other")):
        (found,) = [json.loads(line) for line in cli.run("erasures", *options, "--json").stdout.splitlines()]
        assert found["requestId"] == "t-1"
    none = cli.run("erasures", "--subject", "e-1")
    assert (none.status, none.stdout.count("\n")) == (0, 1)
    assert cli.run("erasures", "some-id", "--request-id", "t-1").status == 2


def test_an_erasure_whose_server_ends_says_how_to_wait_for_it(cli: Cli, tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data").start() as server:
        alone = replace(cli, server=server.address)
        assert alone.run("upload", f"{cli.account}.ndjson").status == 0
        with (
            held_view(server.data_dir, "BEGIN"),  # it cannot purge, so the erasure cannot complete
            alone.start("erase", "--consumer", "c-1", "--yes", "--request-id", "it's") as erasing,
        ):
            while not alone.run("erasures", "--json").stdout:
                assert erasing.poll() is None
            server.kill()
            _, stderr = erasing.communicate(timeout=TIMEOUT_SECONDS)
    assert erasing.returncode == 2
    hint = """Repeat the command with --request-id 'it'"'"'s' to wait for it."""
    assert stderr.decode().rstrip().endswith(hint)


def test_a_person_is_let_in_again(cli: Cli) -> None:
    erased = cli.run("erase", "--consumer", "c-1", "--yes", "--suppress", "--json").json()
    assert cli.run("lift", "--erasure", erased["erasureId"]).stdout == "The suppression is lifted.\n"
    assert cli.run("lift", "--consumer", "c-1").stdout == "Nothing was suppressed.\n"
    assert cli.run("lift", "--erasure", "nothing").status == 1


def test_a_dry_run_tells_what_would_go_and_what_would_stay(cli: Cli) -> None:
    dry = cli.run("erase", "--consumer", "c-1", "--event", "none", "--customer", "c-1 ", "--dry-run")
    assert (dry.status, dry.stdout) == (0, "")
    assert "7 events of account" in dry.stderr
    assert 'Nothing has exactly this customer id "c-1 ".\n' in dry.stderr
    assert 'Nothing has exactly this event id "none".\n' in dry.stderr
    assert 'would stay:\n  conversation id "v-1": 1 event, seen together\n' in dry.stderr
    assert cli.count_stored() == 8
    nothing = cli.run("erase", "--consumer", "C-1", "--dry-run", "--json")
    assert (nothing.status, nothing.json()["related"][0]["relation"]) == (1, "RELATION_SPELLING")


def test_every_character_of_a_related_id_can_be_seen(cli: Cli) -> None:
    spellings = ["C-1\u200b", "\u00a0c-1", "c-1\t"]
    cli.write("odd.ndjson", *(event_line("1", eventId=each, consumerId=each) for each in spellings))
    assert cli.run("upload", "odd.ndjson").status == 0
    dry = cli.run("erase", "--consumer", "c-1", "--dry-run")
    for shown in (r'"C-1\u200b"', r'"\u00a0c-1"', r'"c-1\t"'):
        assert f"consumer id {shown}: 1 event, another spelling" in dry.stderr
    assert 'id\t"c-1\\t"\n' in cli.run("person", "c-1\t").stdout


def test_ids_that_look_alike_are_told_apart(cli: Cli) -> None:
    spellings = ["m\u00fcller", "mu\u0308ller", "M\u00dcLLER"]
    cli.write("alike.ndjson", *(event_line("1", eventId=each, consumerId=each) for each in spellings))
    assert cli.run("upload", "alike.ndjson").status == 0
    dry = cli.run("erase", "--consumer", "M\u00fcller", "--dry-run")
    for shown in ('"m\u00fcller"', r'"mu\u0308ller"', '"M\u00dcLLER"'):
        assert f"consumer id {shown}: 1 event, another spelling" in dry.stderr


def test_nothing_found_is_not_the_same_as_erased(cli: Cli) -> None:
    done = cli.run("erase", "--consumer", "C-1", "--yes")
    assert (done.status, done.stdout) == (1, "")
    assert 'Nothing has exactly this consumer id "C-1".\nNothing was erased.\n' in done.stderr
    assert 'events stay:\n  consumer id "c-1": 7 events, another spelling\n' in done.stderr
    assert cli.run("erasures").stdout.count("\n") == 1


def test_an_event_is_erased_by_its_id_or_cursor(cli: Cli) -> None:
    cursor = cli.run("get", "e-1", "--json").json()["cursor"]
    done = cli.run("erase", "--event", "other", "--cursor", cursor, "--yes", "--json").json()
    assert (done["erasedEvents"], set(done["subjectKinds"])) == ("2", {"SUBJECT_KIND_EVENT_ID"})
    assert cli.count_stored() == 6


def test_events_that_were_erased_are_named_when_they_are_uploaded_again(cli: Cli) -> None:
    cli.run("erase", "--consumer", "c-1", "--yes")
    again = cli.run("upload", f"{cli.account}.ndjson", "--upload-id", "again")
    assert again.status == 0
    assert "  Erased before: 7 of the duplicates, which stay erased.\n" in again.stderr
    report = cli.run("upload", f"{cli.account}.ndjson", "--upload-id", "json", "--json").json()
    assert (report["files"][0]["erased_before"], report["total"]["duplicate"]) == (7, 8)
    assert cli.count_stored() == 1


def test_a_suppression_is_shown_while_it_lasts_and_after(cli: Cli) -> None:
    assert cli.run("suppression", "--consumer", "c-1").status == 1
    cli.run("erase", "--consumer", "c-1", "--yes", "--suppress", "--request-id", "ticket")
    lasting = cli.run("suppression", "--consumer", "c-1")
    assert lasting.status == 0
    row = lasting.stdout.splitlines()[1].split("\t")
    assert (row[0], row[2], row[4]) == ("consumer id", "", "ticket")
    cli.run("lift", "--consumer", "c-1")
    lifted = cli.run("suppression", "--consumer", "c-1")
    assert (lifted.status, lifted.stderr) == (1, "It is not suppressed.\n")
    assert lifted.stdout.splitlines()[1].split("\t")[2]


def test_a_request_for_access_is_answered_by_one_command(cli: Cli) -> None:
    shown = cli.run("person", "c-1")
    assert shown.status == 0
    assert "events\t7\n" in shown.stdout
    assert "suppressed\tno\n" in shown.stdout
    assert "consumerId\tc-1\t" in shown.stdout
    assert 'conversation id "v-1": 1 event, seen together' in shown.stderr
    everything = cli.run("person", "c-1", "--json").json()
    assert [stored["event"]["eventId"] for stored in everything["events"]] == [f"e-{n}" for n in range(7)]
    assert everything["person"]["events"] == "7"
    assert everything["profiles"][0]["consumerId"] == "c-1"
    name = f"{cli.account}.json"
    assert cli.run("person", "c-1", "--out", name).status == 0
    assert json.loads((cli.folder / name).read_text()) == everything
    assert (cli.folder / name).stat().st_mode & 0o777 == 0o600
    assert cli.run("person", "c-1", "--out", name).status == 2
    unknown = cli.run("person", "C-1")
    assert (unknown.status, unknown.stdout) == (1, "")
    assert 'consumer id "c-1": 7 events, another spelling' in unknown.stderr


def test_an_account_without_events_is_told(cli: Cli) -> None:
    wrong = replace(cli, account="wrong")
    for command in (
        "erase --consumer none --dry-run",
        "erase --consumer none --yes",
        "person none",
        "uploads --subject none",
        "erase --consumer none --yes --suppress",
    ):
        told = "Account 'wrong' has no events.\n"
        assert told in wrong.run(*command.split()).stderr, command
        assert "has no events" not in cli.run(*command.split()).stderr, command


def test_an_answer_that_cannot_be_written_whole_leaves_no_file(cli: Cli) -> None:
    command = shlex.join([sys.executable, "-m", "engagement.cli", "person", "c-1", "--out", "half.json"])
    done = subprocess.run(
        ["sh", "-c", f"ulimit -f 0; exec {command}"],
        cwd=cli.folder,
        env=cli.environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "engagement: Cannot write half.json: File too large.\n"
    assert not (cli.folder / "half.json").exists()


def test_a_number_of_rejected_events_that_was_not_counted_to_the_end_says_so(cli: Cli) -> None:
    invalid = '{"consumerId": "many", "customerInfo": {"role": "\\u0000"}}'
    cli.write("many.ndjson", *[invalid] * 10_001)
    assert cli.run("upload", "many.ndjson", "--keep-going").status == 1
    assert "rejected events\t10,000 or more\n" in cli.run("person", "many").stdout
    dry = cli.run("erase", "--consumer", "many", "--dry-run")
    assert "10,000 or more rejected events would lose their ids.\n" in dry.stderr
    assert cli.run("erase", "--consumer", "many", "--yes", "--json").json()["clearedRejections"] == "10001"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("erase", "--yes"), "Give --consumer"),
        (("erase", "--event", "a", "--suppress", "--yes"), "--suppress needs"),
        (("lift",), "Give exactly one of"),
        (("suppression", "--consumer", "a", "--customer", "b"), "Give exactly one of"),
        (("person", "a", "--json", "--out", "b"), "Give either"),
    ],
)
def test_wrong_usage_is_refused(arguments: tuple[str, ...], message: str) -> None:
    done = Cli(Path()).run(*arguments)
    assert done.status == 2
    assert message in done.stderr


def without_related(erasure: dict[str, object]) -> dict[str, object]:
    """An erasure as it is on record."""
    return {name: value for name, value in erasure.items() if name != "related"}
