"""`engagement upload` of folders against a real server: what runs that are killed or repeated store."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import uuid
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from engagement import EngagementClient, NotFoundError, Uploader, v1
from engagement.cli.connection import connect
from engagement.cli.input_events import Format
from engagement.cli.input_file import InputFile
from engagement.cli.input_upload import InputUploads, UploadOrder
from engagement.cli.inputs import find_inputs
from engagement.cli.progress import ProgressBar
from engagement.cli.upload_ids import derive_upload_id
from tests.support.cli_process import TIMEOUT_SECONDS, Cli, event_line
from tests.support.server_process import ServerProcess
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import eventually, wait_until


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = ServerProcess(tmp_path_factory.mktemp("server") / "data").start()
    yield server.address
    server.kill()


@pytest.fixture
def cli(address: str, tmp_path: Path) -> Cli:
    """The command line for an account of its own."""
    return Cli(tmp_path, server=address, account=uuid.uuid4().hex)


def upload_id_of(path: Path) -> str:
    return derive_upload_id(str(path), format=Format.AUTO, source=None)


async def find_upload(client: EngagementClient, path: Path) -> v1.Upload:
    """The state of a file's upload; an empty one if it has not begun."""
    try:
        return await client.get_upload(upload_id_of(path))
    except NotFoundError:
        return v1.Upload()


def get_upload(cli: Cli, path: Path) -> v1.Upload:
    async def get() -> v1.Upload:
        async with EngagementClient(cli.server, account_id=cli.account) as client:
            return await find_upload(client, path)

    return asyncio.run(get())


async def kill_midway(cli: Cli, *arguments: str, path: Path) -> None:
    """Kills an upload that has stored some of a file, and whose connection has not let all of it through."""
    async with (
        TcpProxy(cli.server, cut_after_bytes=lambda: 100_000, max_connections=1) as proxy,
        EngagementClient(cli.server, account_id=cli.account) as client,
    ):

        async def has_begun() -> bool:
            return (await find_upload(client, path)).committed_through > 0

        with replace(cli, server=proxy.address).start(*arguments) as process:
            await eventually(has_begun, f"some of {path} is stored")
            process.kill()


class SourceEndsError(Exception):
    """The end of a source that leaves its upload open."""


def send(cli: Cli, *, upload_id: str, events: list[v1.Event], finish: bool) -> None:
    """Uploads events under an id, and leaves the upload open unless it should finish."""

    def source() -> Iterator[v1.Event]:
        yield from events
        if not finish:
            raise SourceEndsError

    async def run() -> None:
        async with EngagementClient(cli.server, account_id=cli.account) as client:
            with nullcontext() if finish else pytest.raises(SourceEndsError):
                await Uploader(client, upload_id=upload_id).upload(source())

    asyncio.run(run())


def test_a_folder_that_was_killed_goes_on_and_sends_no_stored_file_again(cli: Cli) -> None:
    first = cli.write("in/a.ndjson", event_line("a"), "nope")
    second = cli.write("in/b.ndjson", *(event_line(str(number)) for number in range(10_000)))
    cli.write("in/c.ndjson", event_line("c"))
    asyncio.run(kill_midway(cli, "upload", "in", path=second))
    finished, begun = get_upload(cli, first), get_upload(cli, second)
    assert finished.state == v1.Upload.STATE_FINISHED
    assert begun.state == v1.Upload.STATE_OPEN
    assert 0 < begun.tally.accepted < 10_000

    again = cli.run("upload", "in", "--json")
    assert again.status == 1, again.stderr
    counts = [
        (one["accepted"], one["duplicate"], one["rejected"], one["uploaded_before"])
        for one in again.json()["files"]
    ]
    assert counts == [(0, 1, 1, True), (10_000, 0, 0, False), (1, 0, 0, False)]
    assert [each["line"] for each in cli.rejections("in/a.ndjson")] == [2]
    assert get_upload(cli, first) == finished
    assert cli.count_stored() == 10_002

    third = cli.run("upload", "in", "--json").json()
    assert [one["uploaded_before"] for one in third["files"]] == [True] * 3
    assert (third["total"]["accepted"], third["total"]["duplicate"]) == (0, 10_002)


def test_a_file_that_has_changed_is_uploaded_anew(cli: Cli) -> None:
    path = cli.write("in/a.ndjson", event_line("1"))
    assert cli.run("upload", "in").status == 0
    path.write_text(f"{path.read_text()}{event_line('2')}\n")
    (one,) = cli.run("upload", "in", "--json").json()["files"]
    assert (one["accepted"], one["duplicate"], one["uploaded_before"]) == (1, 1, False)


@pytest.mark.parametrize("finish", [False, True])
def test_a_file_whose_upload_holds_other_events_is_stored_under_another_id(cli: Cli, *, finish: bool) -> None:
    path = cli.write("a.ndjson", event_line("1"), event_line("2"))
    others = [v1.Event(event_id="other", customer_info=v1.CustomerInfo())]
    send(cli, upload_id=upload_id_of(path), events=others, finish=finish)
    result = cli.run("upload", "a.ndjson", "--json")
    assert result.status == 0, result.stderr
    (one,) = result.json()["files"]
    assert (one["accepted"], one["upload_id"] == upload_id_of(path)) == (2, False)
    assert cli.count_stored() == 3


def test_a_file_that_changes_while_it_is_read_does_not_finish_the_upload_of_its_old_content(
    cli: Cli,
) -> None:
    old, new = ([event_line(f"{version} {number:06}") for number in range(2000)] for version in "ab")
    path = cli.write("a.ndjson", *old)
    old_id = upload_id_of(path)
    inputs = find_inputs([str(path)])

    class ChangingBar(ProgressBar):
        """Rewrites the file after its digest is made, when only the beginning of its events is read."""

        def begin(self, path: str, file: InputFile) -> None:
            assert file.bytes_read <= 64 * 1024 < os.path.getsize(path)
            if upload_id_of(Path(path)) == old_id:
                cli.write("a.ndjson", *new)

    order = UploadOrder(
        inputs=inputs,
        server=cli.server,
        account=cli.account,
        input_format=Format.AUTO,
        source=None,
        rejected_dir=None,
        upload_id=None,
        keep_going=False,
    )
    with connect(cli.server, account=cli.account) as connection, ChangingBar(inputs) as bar:
        limits = connection.call(EngagementClient.get_server_info).limits
        summary = InputUploads(order, connection=connection, limits=limits, bar=bar).run(inputs.paths[0])
    assert summary.upload_id != old_id
    assert summary.outcomes["accepted"] + summary.outcomes["duplicate"] == 2000

    cli.write("a.ndjson", *old)
    (one,) = cli.run("upload", "a.ndjson", "--json").json()["files"]
    assert (one["accepted"] > 0, one["uploaded_before"]) == (True, False)
    assert cli.count_stored() == 4000


def test_a_rejected_event_is_judged_again_when_its_file_is_uploaded_again(cli: Cli) -> None:
    cli.write("a.ndjson", event_line("1"), '{"customerInfo": {"customerStatus": "new"}}')
    assert cli.run("entities", "put", "status", "old", "--closed").status == 0
    assert cli.run("upload", "a.ndjson").status == 1
    assert cli.run("entities", "put", "status", "new").status == 0
    again = cli.run("upload", "a.ndjson", "--json")
    assert (again.status, again.json()["total"]["accepted"], again.json()["total"]["duplicate"]) == (0, 1, 1)
    assert len(cli.reports("a.ndjson")) == 1


def test_a_repaired_report_stores_its_events_under_their_own_ids(cli: Cli) -> None:
    late = {"consumerId": "c", "customerInfo": {"lastPaymentDate": {"year": 2023, "month": 13, "day": 1}}}
    cli.write("a.ndjson", event_line("1"), json.dumps(late), '{"eventId": "mine", oops}', "nope")
    assert cli.run("upload", "a.ndjson").status == 1
    by_line = {each["line"]: each for each in cli.rejections("a.ndjson")}
    dated, broken, hopeless = (by_line[number] for number in (2, 3, 4))
    dated["event"]["customerInfo"]["lastPaymentDate"]["month"] = 12
    broken["event"] = event_line("3", eventId="mine")
    (report,) = cli.reports("a.ndjson")
    cli.write(report.name, *(json.dumps(each) for each in (dated, broken, hopeless)))
    repaired = report.read_text()

    result = cli.run("upload", report.name, "--json")
    assert (result.status, result.json()["total"]["accepted"]) == (1, 2)
    assert report.read_text() == repaired
    assert stat.S_IMODE(report.stat().st_mode) == 0o600
    (left,) = cli.rejections(report.name)
    assert (left["event"], left["message"].partition(" (")[0]) == (
        "nope",
        "still as it was: repair the member event",
    )
    listed = cli.run("list", "--json").stdout.splitlines()
    stored = {each["eventId"]: each for each in (json.loads(line)["event"] for line in listed)}
    assert {dated["event"]["eventId"], "mine"} < stored.keys()
    assert len(stored) == 3
    assert not any("additionalAttributes" in each for each in stored.values())


def test_reports_go_to_a_folder_of_choice_beside_those_of_earlier_runs(cli: Cli) -> None:
    folder = cli.folder / "new/reports"
    earlier: set[str] = set()
    for lines, count in (([event_line("1"), "nope"], 1), (["nope", "nope"], 2), ([event_line("1")] * 2, 0)):
        for name, line in zip(("in", "other"), lines, strict=True):
            cli.write(f"{name}/events.ndjson", line)
        result = cli.run("upload", "in", "other", "--rejected-dir", "new/reports", "--json")
        told = {one["rejected_file"] for one in result.json()["files"]} - {None}
        assert {str(path.relative_to(cli.folder)) for path in folder.iterdir()} == told | earlier
        assert not told & earlier
        earlier |= told
        assert (result.status, len(told)) == (bool(count), count)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert sorted(path.name for path in cli.folder.glob("*/events*")) == ["events.ndjson"] * 2


def test_what_cannot_be_read_costs_the_exit_status_and_no_other_file(cli: Cli) -> None:
    cli.write("in/a.ndjson", event_line("1"))
    (cli.folder / "in/b.ndjson").symlink_to("nothing")
    cli.write("in/c.ndjson", event_line("2"))
    cli.write("in/.hidden", event_line("3"))
    (cli.folder / "in/inside").mkdir()
    result = cli.run("upload", "in", "in/c.ndjson")
    assert result.status == 1
    assert "in/b.ndjson: 0 events read" in result.stderr
    assert "  Not all of it was understood: it cannot be read: No such file or directory\n" in result.stderr
    assert "in: 1 not read (hidden), 1 not read (folder)\n" in result.stderr
    assert "in/c.ndjson: 1 not read (read under another name)\n" in result.stderr
    assert "3 files: 2 events read: 2 accepted" in result.stderr
    assert cli.count_stored() == 2


def test_of_many_files_only_those_with_something_to_tell_have_a_line(cli: Cli) -> None:
    for number in range(12):
        cli.write(f"in/{number:02}.ndjson", event_line(str(number)), *(["nope"] if number == 7 else []))
    result = cli.run("upload", "in")
    assert result.status == 1
    assert [line.partition(":")[0] for line in result.stderr.splitlines()] == [
        "in/07.ndjson",
        "  Upload id",
        "  Rejected events and the reasons",
        "    1 of them",
        "12 files",
        "  Upload ids of all files",
    ]
    assert len(cli.run("upload", "in", "--json").json()["files"]) == 12


@pytest.mark.parametrize("arguments", [["in"], ["in/a.ndjson", "in/b.ndjson"]])
def test_one_upload_id_is_not_for_a_folder(cli: Cli, arguments: list[str]) -> None:
    cli.write("in/a.ndjson", event_line("1"))
    cli.write("in/b.ndjson", event_line("1"))
    result = cli.run("upload", *arguments, "--upload-id", "u-1")
    assert result.status == 2
    assert "--upload-id names the upload of a single file, not of a folder." in result.stderr


def test_a_report_may_be_uploaded_with_its_file_and_stays_as_it_is(cli: Cli) -> None:
    cli.write("in/a.ndjson", event_line("1"), "nope")
    assert cli.run("upload", "in").status == 1
    (report,) = cli.reports("in/a.ndjson")
    repaired = report.read_text()
    result = cli.run("upload", "in", f"in/{report.name}", "--json")
    assert (result.status, report.read_text()) == (1, repaired)
    assert [one["rejected"] for one in result.json()["files"]] == [1, 1]


def test_a_folder_is_read_for_files_of_data_only(cli: Cli) -> None:
    cli.write("in/a.ndjson", event_line("1"))
    cli.write("in/README.md", event_line("2"))
    cli.write("in/dump.dat", event_line("3"))
    result = cli.run("upload", "in")
    assert result.status == 0, result.stderr
    expected = "in: 2 not read (no data by its name: README.md, dump.dat; name a file itself to read it)\n"
    assert expected in result.stderr
    assert cli.run("upload", "in", "--json").json()["no_data"] == {"in": ["README.md", "dump.dat"]}
    assert cli.count_stored() == 1
    assert cli.run("upload", "in", "in/README.md").status == 0
    assert cli.count_stored() == 2


def test_an_empty_folder_stops_the_command_before_anything_is_sent(cli: Cli) -> None:
    cli.write("a.ndjson", event_line("1"))
    (cli.folder / "empty").mkdir()
    result = cli.run("upload", "a.ndjson", "empty")
    assert result.status == 2
    assert "There is nothing to read in empty." in result.stderr
    assert cli.count_stored() == 0


def test_an_interrupt_says_to_repeat_the_command(cli: Cli) -> None:
    cli.write("in/a.ndjson", event_line("1"))
    with cli.start("upload", "in", "-", "--source", "crm") as process:
        wait_until(lambda: cli.count_stored() == 1, "the folder is stored")
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=TIMEOUT_SECONDS)
    assert process.returncode == 130
    assert "Resume by repeating the command:\n  engagement upload in - --account" in stderr.decode()
    assert "--upload-id" not in stderr.decode()
