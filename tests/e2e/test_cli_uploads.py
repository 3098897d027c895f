"""`engagement uploads`, and what `upload` tells of itself."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.support.cli_process import Cli, event_line
from tests.support.server_process import ServerProcess

BAD_LINE = '{"eventId": "bad", "customerInfo": {"lastPaymentDate": {"year": 2023, "month": 13, "day": 1}}}'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    process = ServerProcess(tmp_path_factory.mktemp("uploads") / "data").start()
    yield process
    process.kill()


@pytest.fixture
def cli(server: ServerProcess, request: pytest.FixtureRequest) -> Cli:
    """The command line for an account with an upload of mixed lines and a later one of good ones."""
    cli = Cli(server.data_dir.parent, server=server.address, account=request.node.name[5:64])
    cli.write(
        "mixed.ndjson", event_line("1", eventId="e-1"), "nope", BAD_LINE, event_line("2", eventId="e-1")
    )
    cli.write("good.ndjson", event_line("3", eventId="e-3"))
    for name, status in {"mixed.ndjson": 1, "good.ndjson": 0}.items():
        assert cli.run("upload", name).status == status
    return cli


def listed(cli: Cli, *options: str) -> list[list[str]]:
    """The rows of the list as it is in a pipe, without the times."""
    done = cli.run("uploads", *options)
    assert done.status == 0, done.stderr
    header, *rows = [line.split("\t")[2:] for line in done.stdout.splitlines()]
    assert header == [
        "source", "state", "accepted", "duplicate", "rejected", "suppressed", "unreadable", "upload id",
    ]  # fmt: skip
    return rows


def test_uploads_are_listed_newest_first_with_source_and_counts(cli: Cli) -> None:
    good, mixed = listed(cli)
    assert good[:-1] == ["good.ndjson", "finished", "1", "0", "0", "0", "0"]
    assert mixed[:-1] == ["mixed.ndjson", "finished", "1", "0", "2", "0", "1"]
    assert mixed[-1].startswith("file-")


def test_the_list_is_filtered(cli: Cli) -> None:
    good, mixed = listed(cli)
    assert listed(cli, "--rejected") == [mixed]
    assert listed(cli, "--source", "good.ndjson") == [good]
    assert listed(cli, "--since", "2000-01-01", "--until", "9000-01-01") == [good, mixed]
    assert listed(cli, "--since", "9000-01-01") == []
    assert listed(cli, "--until", "2000-01-01") == []


def test_programs_get_an_upload_a_line(cli: Cli) -> None:
    lines = [json.loads(line) for line in cli.run("uploads", "--json").stdout.splitlines()]
    assert [each["sourceName"] for each in lines] == ["good.ndjson", "mixed.ndjson"]
    assert (lines[1]["unreadable"], lines[1]["tally"]) == ("1", {"accepted": "1", "rejected": "2"})


def test_one_upload_is_shown_with_its_rejections(cli: Cli) -> None:
    upload_id = listed(cli, "--rejected")[0][-1]
    done = cli.run("uploads", upload_id)
    assert done.status == 0
    pairs, _, rejections = done.stdout.partition("\n\n")
    shown = dict(line.split("\t") for line in pairs.splitlines())
    assert (shown["upload id"], shown["unreadable"], shown["rejected"]) == (upload_id, "1", "2")
    header, month, conflict = [line.split("\t") for line in rejections.splitlines()]
    assert header == ["chunk", "event", "time", "event id", "field", "rule", "message"]
    assert [*month[:2], *month[3:6]] == [
        "1",
        "2",
        "bad",
        "customer_info.last_payment_date.month",
        "int32.gte_lte",
    ]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT.*Z", month[2])
    assert [*conflict[:2], *conflict[3:6]] == ["1", "3", "e-1", "", "EVENT_ID_CONFLICT"]
    assert all((month[6], conflict[6]))


def test_programs_get_one_upload_as_the_response(cli: Cli) -> None:
    upload_id = listed(cli, "--rejected")[0][-1]
    answer = cli.run("uploads", upload_id, "--json").json()
    assert answer["upload"]["uploadId"] == upload_id
    assert [(each["eventNumber"], each["result"]["eventId"]) for each in answer["rejections"]] == [
        ("2", "bad"),
        ("3", "e-1"),
    ]


def test_an_upload_that_is_not_on_record_is_not_found(cli: Cli) -> None:
    done = cli.run("uploads", "nothing")
    assert (done.status, done.stdout) == (1, "")
    assert "Not found" in done.stderr


def test_an_id_and_a_filter_exclude_each_other(cli: Cli) -> None:
    done = cli.run("uploads", "some", "--rejected")
    assert done.status == 2
    assert "Give either an UPLOAD_ID or options" in done.stderr


def test_upload_tells_the_id_under_which_the_upload_is_found(cli: Cli) -> None:
    again = cli.run("upload", "good.ndjson")
    (upload_id,) = re.findall(r"^  Upload id: (\S+)$", again.stderr, re.MULTILINE)
    assert upload_id == listed(cli)[0][-1]
    piped = cli.run("upload", "-", stdin=event_line("4").encode())
    (upload_id,) = re.findall(r"^  Upload id: (\S+)$", piped.stderr, re.MULTILINE)
    assert [row[0] for row in listed(cli) if row[-1] == upload_id] == ["stdin"]


def test_a_shown_event_names_its_upload_and_its_number(cli: Cli) -> None:
    upload_id = listed(cli, "--source", "good.ndjson")[0][-1]
    shown = dict(line.split("\t") for line in cli.run("get", "e-3").stdout.splitlines())
    assert (shown["upload"], shown["upload event"]) == (upload_id, "1")
    exact = cli.run("get", "e-3", "--json").json()
    assert exact["upload"] == {"uploadId": upload_id, "eventNumber": "1"}


def test_a_file_with_a_long_name_that_is_no_text_is_uploaded(cli: Cli) -> None:
    name = "x" * 200 + b"\xe9".decode(errors="surrogateescape") * 40 + ".ndjson"
    cli.write(name, event_line("5"))
    assert cli.run("upload", name).status == 0
    assert listed(cli)[0][0].startswith("x" * 200 + "\\udce9")


def test_rejected_events_of_a_person_are_found_across_uploads(cli: Cli) -> None:
    bad = '{"eventId": "p", "consumerId": "c-9", "customerInfo": {"customerId": "A-9", "role": "\\u0000"}}'
    cli.write("person.ndjson", BAD_LINE, bad)
    assert cli.run("upload", "person.ndjson").status == 1
    (row,) = listed(cli, "--subject", "A-9")
    shown = cli.run("uploads", row[-1], "--subject", "c-9")
    chunk, number, _, *rest = shown.stdout.split("\n\n")[1].splitlines()[1].split("\t")
    assert (chunk, number, *rest[:3]) == ("1", "2", "p", "customer_info.role", "string.not_contains")
    assert json.loads(cli.run("uploads", "--subject", "c-9", "--json").stdout)["uploadId"] == row[-1]
    none = cli.run("uploads", row[-1], "--subject", "c-1")
    assert (none.status, none.stdout.count("\n\n")) == (0, 0)
    assert none.stderr == "No rejected event of this upload has exactly this id.\n"
    assert cli.run("uploads", "--subject", "").status == 2


def test_an_empty_list_is_a_result_and_is_told(cli: Cli) -> None:
    done = cli.run("uploads", "--subject", "nobody")
    assert (done.status, done.stderr) == (0, "No upload is on record that matches.\n")
    done = cli.run("erasures")
    assert (done.status, done.stderr) == (0, "There is no erasure that matches.\n")
    empty = replace(cli, account="nothing")
    assert (empty.run("list").status, empty.run("uploads").status) == (0, 0)
    # Something that is named has to be there.
    assert (empty.run("get", "e").status, empty.run("person", "c").status) == (1, 1)


def test_ids_with_blanks_at_an_end_are_told_once_when_they_are_sent(cli: Cli) -> None:
    cli.write("blanks.ndjson", *(event_line("1", consumerId=f"c-{number} ") for number in range(3)))
    for _ in range(2):  # the second time nothing is sent
        done = cli.run("upload", "blanks.ndjson")
        assert done.status == 0
        warning = "3 events have ids with blanks at an end, which are part of it; the first at line 1"
        assert done.stderr.count(f'  Warning: {warning}: consumer_id "c-0 "\n') == 1
