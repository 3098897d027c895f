"""The command line writes any text whatever the locale, and explains arguments that are not text."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.cli_process import TIMEOUT_SECONDS, Cli
from tests.support.server_process import ServerProcess

STATUS = "Mu\u0308de \u2713"
ROLE = "東京 \U0001f600 עברית \u200e\u2028 é"
EVENT = {
    "eventId": "e-é",
    "consumerId": "c-\U0001f600",
    "customerInfo": {"serverTimeStamp": "1700000000000", "customerStatus": STATUS, "role": ROLE},
    "additionalAttributes": {"naïve\U0001f600": "\u2713"},
}
LOCALES = [
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"PYTHONIOENCODING": "cp1252"},
]
NO_TEXT = os.fsdecode(b"b\xe9d")


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """The command line for an account that holds EVENT and a list with its status."""
    folder = tmp_path_factory.mktemp("encodings")
    server = ServerProcess(folder / "data").start()
    cli = Cli(folder, server=server.address)
    (folder / "a.ndjson").write_text(json.dumps(EVENT))
    assert cli.run_process("entities", "put", "status", STATUS).status == 0
    assert cli.run_process("upload", "a.ndjson").status == 0
    yield cli
    server.kill()


@pytest.fixture(params=LOCALES, ids=lambda locale: " ".join(f"{name}={locale[name]}" for name in locale))
def locale(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands run in an environment that knows few characters."""
    for name in ("LC_ALL", "PYTHONUTF8", "PYTHONIOENCODING", "PYTHONCOERCECLOCALE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in request.param.items():
        monkeypatch.setenv(name, value)


def output(cli: Cli, *arguments: str) -> str:
    """The standard output of a command that succeeds, in UTF-8."""
    result = cli.run_process(*arguments)
    assert result.status == 0, result.stderr
    return result.stdout


@pytest.mark.usefixtures("locale")
def test_data_for_programs_is_utf_8_in_every_locale(cli: Cli) -> None:
    listed = json.loads(output(cli, "list", "--json"))
    assert listed["event"] == EVENT
    assert listed["matchedCustomerStatus"] == STATUS
    assert json.loads(output(cli, "tail", "--from-start", "--limit", "1", "--json"))["event"] == EVENT
    assert json.loads(output(cli, "entities", "list", "status", "--json"))["names"] == [STATUS]


@pytest.mark.usefixtures("locale")
def test_tables_and_names_in_a_pipe_are_utf_8_in_every_locale(cli: Cli) -> None:
    header, row = csv.reader(output(cli, "list").removesuffix("\n").split("\n"), delimiter="\t")
    cells = dict(zip(header, row, strict=True))
    assert (cells["status"], cells["consumer"], cells["event_id"]) == (STATUS, "c-\U0001f600", "e-é")
    assert "東京 \U0001f600 עברית" in cells["attributes"]
    assert output(cli, "entities", "list", "status") == f"{STATUS}\n"


@pytest.mark.usefixtures("locale")
def test_messages_that_quote_text_are_written_in_every_locale(cli: Cli) -> None:
    (cli.folder / "\U0001f600é.ndjson").write_text('{"customerInfo": {"role": 1}}\n')
    for arguments in (["validate", "."], ["get", "\U0001f600é"]):
        names = ["\U0001f600é.ndjson" if argument == "." else argument for argument in arguments]
        with cli.start(*names) as process:
            _, errors = process.communicate(timeout=TIMEOUT_SECONDS)
        assert process.returncode in {1, 2}
        assert b"Traceback" not in errors


@pytest.mark.parametrize(
    "arguments",
    [
        ["list", "--text", NO_TEXT],
        ["entities", "put", "status", NO_TEXT],
        ["erase", "--consumer", NO_TEXT, "--yes"],
        ["serve", "--data", "other", "--listen", f"{NO_TEXT}:1"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_an_argument_that_is_not_text_is_explained(cli: Cli, arguments: list[str]) -> None:
    result = cli.run_process(*arguments)
    assert (result.status, result.stdout) == (2, "")
    (message,) = (line for line in result.stderr.splitlines() if "is not text" in line)
    assert message in {f"engagement: 'b\\udce9d{port}' is not text in utf-8." for port in ("", ":1")}


def test_files_may_have_names_that_are_not_text(cli: Cli) -> None:
    cli = replace(cli, account="names")
    (cli.folder / f"{NO_TEXT}.ndjson").write_text(
        '{"eventId": "named", "customerInfo": {"role": "x"}}\nnope\n'
    )
    uploaded = cli.run_process("upload", f"{NO_TEXT}.ndjson")
    assert uploaded.status == 1
    assert "b\\udce9d.ndjson: 2 events read: 1 accepted" in uploaded.stderr
    assert len(cli.rejections(f"{NO_TEXT}.ndjson")) == 1
    exported = cli.run_process("export", f"{NO_TEXT}-out.ndjson")
    assert exported.status == 0
    assert len((cli.folder / f"{NO_TEXT}-out.ndjson").read_text().splitlines()) == 1
    missing = cli.run_process("upload", f"{NO_TEXT}.none")
    assert missing.status == 2
    assert "Traceback" not in missing.stderr


def test_a_command_works_without_standard_output(tmp_path: Path) -> None:
    command = f"exec {sys.executable} -m engagement.cli --version >&-"
    process = subprocess.run(["/bin/sh", "-c", command], cwd=tmp_path, stderr=subprocess.PIPE, check=False)
    assert b"Traceback" not in process.stderr
