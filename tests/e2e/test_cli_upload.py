"""`engagement upload` against a real server."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import signal
import stat
import uuid
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from tests.support.cli_process import TIMEOUT_SECONDS, Cli, Result, event_line, feed
from tests.support.server_process import ServerProcess
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = ServerProcess(tmp_path_factory.mktemp("server") / "data").start()
    yield server.address
    server.kill()


@pytest.fixture
def cli(address: str, tmp_path: Path) -> Cli:
    """The command line for an account of its own."""
    return Cli(tmp_path, server=address, account=uuid.uuid4().hex)


def test_a_good_file_is_stored_and_reported(cli: Cli) -> None:
    cli.write("a.ndjson", *(event_line(str(number)) for number in range(1200)))
    result = cli.run("upload", "a.ndjson", "--json")
    assert result.status == 0, result.stderr
    report = result.json()
    (one,) = report["files"]
    assert one["file"] == "a.ndjson"
    assert (one["events_read"], one["accepted"], one["rejected"]) == (1200, 1200, 0)
    assert one["upload_id"]
    assert report["total"]["accepted"] == 1200
    assert cli.reports("a.ndjson") == []
    assert cli.count_stored() == 1200


def test_uploading_again_adds_nothing_packed_or_not(cli: Cli) -> None:
    path = cli.write("a.ndjson", event_line("1"), event_line("1"), event_line("2", eventId="mine"))
    assert cli.run("upload", "a.ndjson").status == 0
    (cli.folder / "a.ndjson.gz").write_bytes(gzip.compress(path.read_bytes()))
    for name in ("a.ndjson", "a.ndjson.gz"):
        again = cli.run("upload", name, "--json")
        assert again.status == 0
        assert (again.json()["total"]["accepted"], again.json()["total"]["duplicate"]) == (0, 3)
    assert cli.count_stored() == 3


def test_bad_events_are_reported_with_line_and_reason_and_the_others_are_stored(cli: Cli) -> None:
    cli.write(
        "a.ndjson",
        event_line("1", eventId="e-1"),
        "nope",
        event_line("2", eventId="e-1"),
        '{"customerInfo": {"lastPaymentDate": {"year": 2023, "month": 13, "day": 1}}}',
        "",
        '{"customerInfo": {"balanse": "1"}}',
        event_line("3"),
    )
    result = cli.run("upload", "a.ndjson")
    assert result.status == 1
    assert "6 events read: 2 accepted, 0 duplicate, 4 rejected" in result.stderr
    (report,) = cli.reports("a.ndjson")
    assert f"  Rejected events and the reasons: {report.name}\n" in result.stderr
    assert result.stdout == ""
    rejections = {each["line"]: each for each in cli.rejections("a.ndjson")}
    assert {line: each["reason"] for line, each in rejections.items()} == {
        2: "UNREADABLE",
        3: "EVENT_ID_CONFLICT",
        4: "FIELD_INVALID",
        6: "UNREADABLE",
    }
    assert rejections[2]["event"] == "nope"
    assert rejections[3]["event"]["customerInfo"] == {"balance": "2"}
    assert rejections[4]["violations"][0]["field"] == "customer_info.last_payment_date.month"
    assert rejections[6]["violations"][0]["field"] == "customerInfo.balanse"
    assert cli.count_stored() == 2


BAD_LINE = '{"customerInfo": {"lastPaymentDate": {"year": 2023, "month": 13, "day": 1}}}'


def test_a_file_that_is_wholly_wrong_is_stopped_and_costs_no_other(cli: Cli) -> None:
    cli.write("a.ndjson", *[BAD_LINE] * 20_000)
    cli.write("b.ndjson", event_line("1"))
    result = cli.run("upload", "a.ndjson", "b.ndjson", "--json")
    assert result.status == 1, result.stderr
    wrong, right = result.json()["files"]
    assert (right["accepted"], right["stopped"]) == (1, None)
    assert wrong["rejected"] == wrong["events_read"] == 1_000
    assert [each["line"] for each in cli.rejections("a.ndjson")] == [*range(1, 1_001)]
    assert wrong["stopped"].startswith(
        "after 1,000 rejections and nothing else; the rest was not uploaded. The first, at"
    )
    assert "at line 1: customer_info.last_payment_date.month: must be " in wrong["stopped"]
    assert "--keep-going" in wrong["stopped"]
    again = cli.run("upload", "a.ndjson")
    assert again.status == 1
    assert "a.ndjson: 1,000 events read: 0 accepted, 0 duplicate, 1,000 rejected" in again.stderr
    assert "  Stopped: after 1,000 rejections" in again.stderr


def test_a_file_that_was_stopped_is_judged_again_when_it_is_uploaded_again(cli: Cli) -> None:
    cli.write(
        "a.ndjson", *(event_line(str(number)).replace("balance", "customerStatus") for number in range(1_500))
    )
    assert cli.run("entities", "put", "status", "old", "--closed").status == 0
    assert cli.run("upload", "a.ndjson", "--json").json()["files"][0]["stopped"]
    assert cli.run("entities", "put", "status", "--open").status == 0
    again = cli.run("upload", "a.ndjson", "--json")
    assert (again.status, again.json()["total"]["accepted"]) == (0, 1_500)


def test_with_keep_going_all_of_each_wrong_file_is_sent_and_stored_where_it_is_right(cli: Cli) -> None:
    folder = cli.folder / "in"
    folder.mkdir()
    for name in ("a.ndjson", "b.ndjson"):
        cli.write(f"in/{name}", *[BAD_LINE] * 4_000, event_line(name))
    assert all(each["stopped"] for each in cli.run("upload", "in", "--json").json()["files"])
    result = cli.run("upload", "in", "--keep-going", "--json")
    assert result.status == 1
    for each in result.json()["files"]:
        assert (each["accepted"] + each["duplicate"], each["rejected"], each["stopped"]) == (1, 4_000, None)
    assert cli.count_stored() == 2


@pytest.mark.skipif(os.name != "posix", reason="has other permissions")
def test_only_the_owner_can_read_a_report_because_it_holds_whole_events(cli: Cli) -> None:
    cli.write("a.ndjson", "nope")
    assert cli.run("upload", "a.ndjson").status == 1
    (report,) = cli.reports("a.ndjson")
    assert stat.S_IMODE(report.stat().st_mode) == 0o600


@pytest.mark.parametrize("command", [["upload"], ["validate"], ["upload", "--upload-id", "a/b c"]])
def test_no_run_replaces_the_report_of_another(cli: Cli, command: list[str]) -> None:
    told = []
    for line in ("nope", "nope", "nothing"):
        cli.write("a.ndjson", line)
        result = cli.run(*command, "a.ndjson", "--json")
        told.append(result.json()["files"][0]["rejected_file"])
    assert sorted(path.name for path in cli.reports("a.ndjson")) == sorted(told)
    assert [json.loads((cli.folder / each).read_text())["event"] for each in told] == [
        "nope",
        "nope",
        "nothing",
    ]
    assert len(set(told)) == 3


def test_pipes_that_are_uploaded_in_one_folder_have_a_report_each(cli: Cli) -> None:
    names = ("first", "second")
    with cli.start("upload", "-") as first, cli.start("upload", "-") as second:
        for process, name in zip((first, second), names, strict=True):
            feed(process, name)
        for process in (first, second):
            _, stderr = process.communicate(timeout=TIMEOUT_SECONDS)
            assert process.returncode == 1, stderr.decode()
    assert sorted(json.loads(path.read_text())["event"] for path in cli.reports("stdin")) == [*names]


def test_standard_input_is_read_packed_or_not(cli: Cli) -> None:
    lines = f"{event_line('1')}\nnope\n".encode()
    plain = cli.run("upload", "-", stdin=lines)
    packed = cli.run("upload", "-", "--json", stdin=gzip.compress(lines))
    assert (plain.status, packed.status) == (1, 1)
    assert plain.stderr.startswith("stdin: 2 events read: 1 accepted")
    assert packed.json()["total"]["duplicate"] == 1
    assert [each["line"] for each in cli.rejections("stdin")] == [2]


def test_everything_before_a_truncation_is_stored(cli: Cli) -> None:
    lines = "".join(f"{event_line(uuid.uuid4().hex)}\n" for _ in range(3000)).encode()
    packed = gzip.compress(lines)
    (cli.folder / "a.gz").write_bytes(packed[: len(packed) // 2])
    result = cli.run("upload", "a.gz", "--json")
    assert result.status == 1
    (one,) = result.json()["files"]
    assert one["damage"].startswith(f"after line {one['accepted']}: ")
    assert 1000 < one["accepted"] == one["events_read"] == cli.count_stored()


def test_everything_before_a_damage_in_an_export_is_stored(cli: Cli) -> None:
    sets = [{"type": "ctmrinfo", "info": {"customerId": f"c-{number}"}} for number in range(700)]
    text = json.dumps(sets)
    (cli.folder / "export.json").write_text(text[: text.index('"c-600"')] + "}")
    result = cli.run("upload", "export.json", "--json")
    assert result.status == 1
    (one,) = result.json()["files"]
    assert (one["accepted"], one["rejected"]) == (600, 0)
    assert one["damage"].startswith("line 1, byte ")


def test_the_events_of_an_export_are_reported_by_their_path(cli: Cli) -> None:
    good = {"type": "ctmrinfo", "info": {"customerId": "c"}}
    bad = {"type": "ctmrinfo", "info": {"lastPaymentDate": {"year": 2023, "month": 13, "day": 1}}}
    other = {"type": "cart", "total": 1}
    (cli.folder / "export.json").write_text(json.dumps([good, bad, other]))
    result = cli.run("upload", "export.json", "--json")
    assert result.status == 1
    (one,) = result.json()["files"]
    assert (one["accepted"], one["rejected"], sum(one["skipped"].values())) == (1, 1, 1)
    assert [each["place"] for each in cli.rejections("export.json")] == ["[1]"]


def test_each_of_several_files_is_an_upload(cli: Cli) -> None:
    cli.write("a.ndjson", event_line("1"))
    cli.write("b.ndjson", event_line("1"), "nope")
    result = cli.run("upload", "a.ndjson", "b.ndjson", "--json")
    assert result.status == 1
    first, second = result.json()["files"]
    assert first["upload_id"] != second["upload_id"]
    assert (first["rejected"], second["rejected"]) == (0, 1)
    assert result.json()["total"]["accepted"] == 2


def test_an_upload_goes_on_where_it_was_interrupted_and_reports_everything(cli: Cli) -> None:
    good = [event_line(str(number)) for number in range(900)]
    whole = "".join(f"{line}\n" for line in [*good, "{}", *good, "{}"]).encode()
    with cli.start("upload", "-", "--upload-id", "u-1") as process:
        feed(process, *good, "{}", *good[:100])
        wait_until(lambda: bool(cli.reports("stdin")), "a report of rejections")
        wait_until(lambda: cli.count_stored() == 1000, "1000 events are stored")
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=TIMEOUT_SECONDS)
    assert process.returncode == 130
    assert "--upload-id u-1" in stderr.decode()
    assert "Rejected events so far, and the reasons: stdin.u-1.rejected.ndjson." in stderr.decode()
    assert [each["line"] for each in cli.rejections("stdin")] == [901]

    result = cli.run("upload", "-", "--upload-id", "u-1", "--json", stdin=whole)
    assert result.status == 1
    total = result.json()["total"]
    assert (total["accepted"], total["duplicate"], total["rejected"]) == (1800, 0, 2)
    assert [each["line"] for each in cli.rejections("stdin")] == [901, 1802]


def test_a_finished_upload_takes_no_other_file_and_reports_the_same_one_again(cli: Cli) -> None:
    cli.write("a.ndjson", event_line("1"), "{}")
    cli.write("b.ndjson", event_line("2"))
    assert cli.run("upload", "a.ndjson", "--upload-id", "u-1").status == 1
    other = cli.run("upload", "b.ndjson", "--upload-id", "u-1")
    assert other.status == 2
    assert "upload 'u-1' began with another source" in other.stderr
    assert "Resume" not in other.stderr
    assert cli.count_stored() == 1
    again = cli.run("upload", "a.ndjson", "--upload-id", "u-1", "--json")
    assert (again.status, again.json()["total"]["accepted"], again.json()["total"]["rejected"]) == (1, 1, 1)
    assert again.json()["files"][0]["resumed_by_count"] is False


def test_an_outage_is_a_line_when_it_begins_and_one_when_it_ends(cli: Cli) -> None:
    cli.write("a.ndjson", *(event_line(str(number)) for number in range(10_000)))

    async def upload() -> Result:
        # The first connection is cut midway, and each survives longer than the one before.
        lengths = count(100_000, 400_000)
        async with TcpProxy(cli.server, cut_after_bytes=lambda: next(lengths)) as proxy:
            proxied = replace(cli, server=proxy.address)
            return await asyncio.to_thread(proxied.run_process, "upload", "a.ndjson")

    result = asyncio.run(upload())
    assert result.status == 0, result.stderr
    lost = [line for line in result.stderr.splitlines() if "Connection lost (" in line]
    again = [line for line in result.stderr.splitlines() if "Connected again after " in line]
    assert len(lost) == len(again) > 0
    assert cli.count_stored() == 10_000


def test_an_event_of_a_slow_pipe_is_stored_at_once_and_an_interrupt_ends_the_wait(cli: Cli) -> None:
    with cli.start("upload", "-") as process:
        feed(process, event_line("1"))
        wait_until(lambda: cli.count_stored() == 1, "an event is stored")
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT_SECONDS) == 130


def test_a_report_that_cannot_be_written_is_an_error_that_says_so(cli: Cli) -> None:
    result = cli.run("upload", "/dev/fd/0", "--upload-id", "u-1", stdin=b"nope\n")
    assert result.status == 2
    assert result.stderr.startswith("engagement: Cannot write /dev/fd/0.u-1.rejected.ndjson")


def test_a_file_that_is_missing_stops_the_command_before_anything_is_sent(cli: Cli) -> None:
    cli.write("a.ndjson", event_line("1"))
    result = cli.run("upload", "a.ndjson", "missing.ndjson")
    assert result.status == 2
    assert "'missing.ndjson' does not exist" in result.stderr
    assert cli.count_stored() == 0


def test_what_an_export_wrote_is_the_same_event_for_its_own_store_and_for_another(cli: Cli) -> None:
    texts = ["é\u2028", '"\\/', "", " x ", "\U0001f600"]
    cli.write("a.ndjson", *(event_line(text, additionalAttributes={text or "-": text}) for text in texts))
    cli.write("nameless.ndjson", '{"consumerId": "c-1", "personalInfo": {"name": "Ada"}}')
    assert cli.run("upload", "a.ndjson", "nameless.ndjson").status == 0
    assert cli.run("export", "all.ndjson").status == 0
    again = cli.run("upload", "all.ndjson", "--json")
    assert (again.status, again.json()["total"]["duplicate"], cli.count_stored()) == (0, 6, 6)

    other = replace(cli, account=uuid.uuid4().hex)
    listed = cli.run("list", "--json").stdout
    moved = other.run("upload", "-", "--json", stdin=listed.encode())
    assert (moved.status, moved.json()["total"]["accepted"]) == (0, 6)
    both = [each.run("list", "--json").stdout.removesuffix("\n").split("\n") for each in (cli, other)]
    events = [[json.loads(line)["event"] for line in listed] for listed in both]
    assert events[0] == events[1]


def test_events_in_an_array_keep_their_consumer_so_that_an_erasure_finds_them(cli: Cli) -> None:
    cli.write(
        "crm.json",
        '[{"eventId": "o-1", "consumerId": "c-40", "personalInfo": {"name": "Nora"}},',
        ' {"eventId": "o-2", "consumerId": "c-40", "customerInfo": {"balance": "5"}}]',
    )
    assert cli.run("upload", "crm.json").status == 0
    erased = cli.run("erase", "--consumer", "c-40", "--yes")
    assert (erased.status, cli.count_stored()) == (0, 0)


def test_one_upload_id_is_not_for_several_files(cli: Cli) -> None:
    cli.write("a.ndjson", event_line("1"))
    result = cli.run("upload", "a.ndjson", "a.ndjson", "--upload-id", "u-1")
    assert result.status == 2
    assert "--upload-id" in result.stderr


def test_without_a_server_the_command_says_what_to_try_and_removes_nothing(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    cli.write("a.ndjson", event_line("1"))
    report = cli.write("a.ndjson.u-1.rejected.ndjson", "{}")
    result = cli.run("upload", "a.ndjson")
    assert result.status == 2
    assert "engagement serve" in result.stderr
    assert "--server" in result.stderr
    assert "Traceback" not in result.stderr
    assert report.exists()


def test_an_account_that_cannot_be_is_refused_in_one_line(cli: Cli) -> None:
    cli.write("a.ndjson", event_line("1"))
    result = cli.run("upload", "a.ndjson", "--account", "a b")
    assert result.status == 2
    assert "is 1 to 64 letters (a to z), digits, - and _; this one has a blank." in result.stderr
    assert len(result.stderr.splitlines()) == 1
