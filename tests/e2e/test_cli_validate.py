"""`engagement validate`, and what holds for the command line without any server."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any  # Any: JSON

import pytest
from click import Context
from click.testing import CliRunner

from engagement import v1
from engagement.cli.export_format import ExportFormat
from engagement.cli.export_parquet import ParquetFormat
from engagement.cli.export_text import CsvFormat, NdjsonFormat
from engagement.cli.program import program
from engagement_server.access.masking import PERSON_MASK
from tests.support.cli_process import Cli, event_line
from tests.support.personal_events import personal_events
from tests.support.server_process import ServerProcess


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


def test_good_events_are_valid_without_a_server(cli: Cli) -> None:
    cli.write("a.ndjson", event_line("1"), event_line("2"))
    result = cli.run("validate", "a.ndjson")
    assert result.status == 0
    assert "2 events read: 2 valid, 0 rejected" in result.stderr
    assert "Only the server can check: duplicates" in result.stderr
    assert cli.reports("a.ndjson") == []


def test_what_breaks_a_rule_is_reported_in_the_order_of_the_file(cli: Cli) -> None:
    tomorrow_ms = int(time.time() * 1000) + 25 * 3600 * 1000
    cli.write(
        "a.ndjson",
        event_line("x" * 50_001),
        event_line("1"),
        "nope",
        '{"consumerId": "c"}',
        f'{{"customerInfo": {{"serverTimeStamp": {tomorrow_ms}}}}}',
    )
    result = cli.run("validate", "a.ndjson", "--json")
    assert result.status == 1
    assert (result.json()["total"]["valid"], result.json()["total"]["rejected"]) == (1, 4)
    assert "suppressed consumers" in result.json()["not_checked"]
    assert [(each["line"], each["violations"][0]["rule"]) for each in cli.rejections("a.ndjson")] == [
        (1, "string.max_len"),
        (3, "json.syntax"),
        (4, "required"),
        (5, "server.time.future"),
    ]


def masked_export(cli: Cli, name: str) -> None:
    """Writes an export of events that were read without the scope for persons."""
    events = [v1.StoredEvent(event=event) for event in personal_events().values()]
    for number, stored in enumerate(events):
        stored.cursor = f"cursor {number}"
        stored.masked_fields.extend(PERSON_MASK.mask_event(stored.event))
    format_ = MASKED_EXPORTS[name]
    part = cli.folder / "part"
    part.write_bytes(format_.begin() + format_.encode(events))
    format_.finish(part).rename(cli.folder / name)


MASKED_EXPORTS: dict[str, ExportFormat] = {
    "a.ndjson": NdjsonFormat(is_compressed=False),
    "a.csv": CsvFormat(is_compressed=False),
    "a.parquet": ParquetFormat(),
}


@pytest.mark.parametrize("name", MASKED_EXPORTS)
def test_an_export_of_masked_events_is_no_data(cli: Cli, name: str) -> None:
    masked_export(cli, name)
    result = cli.run("validate", name)
    assert result.status == 1
    assert "2 events read: 0 valid, 2 rejected" in result.stderr
    violations = [each["violations"][0] for each in cli.rejections(name)]
    assert {each["rule"] for each in violations} == {
        "server.event.masked" if name == "a.ndjson" else "table.masked"
    }
    assert all("read.pii" in each["description"] for each in violations)


@pytest.mark.parametrize("name", MASKED_EXPORTS)
def test_an_export_of_masked_events_is_not_uploaded(
    cli: Cli, server_process: ServerProcess, name: str
) -> None:
    masked_export(cli, name)
    uploading = Cli(cli.folder, server=server_process.address)
    result = uploading.run("upload", name)
    assert result.status == 1
    assert ": 0 accepted, 0 duplicate, 2 rejected" in result.stderr
    assert "read.pii" in str(uploading.rejections(name))


def test_an_event_above_the_size_limit_is_rejected(cli: Cli) -> None:
    attributes = ",".join(f'"{number}": "{"x" * 50_000}"' for number in range(90))
    cli.write("a.ndjson", f'{{"customerInfo": {{}}, "additionalAttributes": {{{attributes}}}}}')
    assert cli.run("validate", "a.ndjson").status == 1
    assert cli.rejections("a.ndjson")[0]["violations"][0]["rule"] == "server.event.max_bytes"


def test_text_of_an_import_is_refused_because_it_lacks_its_consumer(cli: Cli) -> None:
    conversation = {
        "info": {"conversationId": "1"},
        "consumerParticipants": [{"participantId": "p-1"}],
        "sdes": {
            "events": [
                {
                    "customerInfo": {"customerInfo": {"lastPaymentDate": {"day": "x"}}},
                    "sdeType": "CUSTOMER_INFO",
                }
            ]
        },
    }
    (cli.folder / "export.json").write_text(json.dumps({"conversationHistoryRecords": [conversation]}))
    assert cli.run("validate", "export.json").status == 1
    (report,) = cli.reports("export.json")
    (written,) = cli.rejections("export.json")
    assert written["reason"] == "UNREADABLE"
    repaired: Any
    for repaired in (written["event"], '{"customerInfo": {"balance": "1"}}', {"customerInfo": {}}):
        report.write_text(json.dumps({**written, "event": repaired}))
        assert cli.run("validate", report.name).status == 1
        (again,) = cli.rejections(report.name)
        assert again["message"].startswith("event: is text of an imported file, without its consumer")
        assert report.exists()


def test_ids_with_blanks_at_an_end_are_valid_and_told(cli: Cli) -> None:
    cli.write(
        "a.ndjson",
        event_line("1", eventId="e"),
        event_line("2", consumerId="c "),
        '{"customerInfo": {"customerId": "\\tk"}}',
        '{"customerInfo": {"role": " r "}}',
    )
    result = cli.run("validate", "a.ndjson")
    assert result.status == 0
    expected = (
        "2 events have ids with blanks at an end, which are part of it; the first at line 2: consumer_id"
    )
    assert f'  Warning: {expected} "c "\n' in result.stderr
    told = cli.run("validate", "a.ndjson", "--json").json()["files"][0]["warning"]
    assert told == f'{expected} "c "'


@pytest.mark.parametrize("content", [b"", b" \n\n", b"\xef\xbb\xbf\n"])
def test_an_empty_file_is_told_and_no_error(cli: Cli, content: bytes) -> None:
    (cli.folder / "a.ndjson").write_bytes(content)
    (cli.folder / "a.csv.gz").write_bytes(gzip.compress(content))
    result = cli.run("validate", "a.ndjson", "a.csv.gz")
    assert result.status == 0
    told = result.stderr.splitlines()
    assert told[:2] == ["a.ndjson: 0 events: the file is empty", "a.csv.gz: 0 events: the file is empty"]
    piped = cli.run_process("validate", "-", "--json")
    assert [(each["file"], each["is_empty"]) for each in piped.json()["files"]] == [("stdin", True)]
    cli.write("b.json", "[]")
    assert "b.json: 0 events read: 0 valid" in cli.run("validate", "b.json").stderr


def test_missing_files_and_commands_are_exit_status_2(cli: Cli) -> None:
    assert cli.run("validate", "missing").status == 2
    assert cli.run("nothing").status == 2
    assert cli.run().status == 2


@pytest.mark.parametrize("command", program.list_commands(Context(program)))
def test_every_command_has_help_with_examples(command: str) -> None:
    shown = CliRunner().invoke(program, [command, "--help"]).stdout
    assert f"  engagement {command}" in shown.partition("Examples:")[2]


def test_help_names_the_environment_variables() -> None:
    commands = program.list_commands(Context(program))
    shown = "".join(CliRunner().invoke(program, [command, "--help"]).stdout for command in commands)
    for name in ("ENGAGEMENT_SERVER", "ENGAGEMENT_ACCOUNT", "ENGAGEMENT_LISTEN", "ENGAGEMENT_DATA"):
        assert name in shown


def test_the_program_is_installed_under_its_name() -> None:
    program = Path(sys.executable).with_name("engagement")
    shown = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    assert shown.startswith("engagement, version ")


def test_a_server_that_cannot_listen_says_so_in_one_line(cli: Cli) -> None:
    result = cli.run_process("serve", "--listen", "nowhere")
    assert result.status == 2
    assert result.stderr == "engagement: --listen must be HOST:PORT, such as 127.0.0.1:50051; got 'nowhere'\n"


def test_a_server_that_others_could_reach_says_what_it_lacks_and_leaves_nothing_behind(cli: Cli) -> None:
    everywhere = ("serve", "--listen", "0.0.0.0:0", "--data", "data")
    result = cli.run_process(*everywhere)
    assert result.status == 2
    assert result.stderr.count("\n") == 1
    for option in ("--tls-cert", "--insecure-no-tls", "--insecure-no-auth", "127.0.0.1"):
        assert option in result.stderr
    assert "--insecure-no-tls" not in cli.run_process(*everywhere, "--insecure-no-tls").stderr
    loopback = ("serve", "--listen", "127.0.0.1:0", "--data", "data")
    assert "--http 0.0.0.0:0 can be" in cli.run_process(*loopback, "--http", "0.0.0.0:0").stderr
    result = cli.run_process(*loopback, "--tls-cert", "missing.pem", "--tls-key", "missing.pem")
    assert (result.status, result.stderr) == (
        2,
        "engagement: --tls-cert missing.pem cannot be read: No such file or directory\n",
    )
    assert not (cli.folder / "data").exists()


def test_times_that_were_converted_are_counted(cli: Cli) -> None:
    pushed = {"visitorId": "v", "type": "ctmrinfo", "info": {"cstatus": "x"}, "serverTimeStamp": 1714557600}
    cli.write("pushed.json", json.dumps([pushed]))
    assert "1 valid, 0 rejected, 1 time converted (seconds)" in cli.run("validate", "pushed.json").stderr
    report = cli.run("validate", "pushed.json", "--json").json()
    assert report["total"]["times_converted"] == {"seconds": 1}
