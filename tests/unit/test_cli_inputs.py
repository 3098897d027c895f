"""The inputs that arguments name: files, the files in folders, standard input."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import click
import pytest

from engagement.cli.failures import CommandError
from engagement.cli.input_events import Format
from engagement.cli.inputs import Inputs, find_inputs
from engagement.cli.outcomes import Rejection
from engagement.cli.rejection_file import RejectionFile
from engagement.cli.upload_ids import derive_upload_id
from engagement.limits import MAX_EVENT_ID_CHARACTERS


def names(inputs: Inputs) -> list[str]:
    return [os.path.basename(each.path) for each in inputs.paths if not each.problem]


def test_a_folder_is_its_files_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b.ndjson", "a.json.gz", "é.csv", "a-10.JSON.ZST", "a-9.parquet"):
        (tmp_path / name).write_text("{}")
    inputs = find_inputs([str(tmp_path)])
    assert names(inputs) == ["a-10.JSON.ZST", "a-9.parquet", "a.json.gz", "b.ndjson", "é.csv"]
    assert (inputs.size_bytes, inputs.not_read) == (10, {})


def test_what_is_left_out_of_a_folder_is_counted(tmp_path: Path) -> None:
    for name in (
        *("a.ndjson", ".hidden", "a.ndjson.rejected.ndjson", "department", "README.md", "b.dat.gz"),
        *("all.ndjson.part", "all.ndjson.part.state", "all.ndjson.part.state.new", "all.csv.part.parquet"),
    ):
        (tmp_path / name).touch()
    (tmp_path / "inside.json").mkdir()
    (tmp_path / "linked").symlink_to(tmp_path / "inside.json", target_is_directory=True)
    inputs = find_inputs([str(tmp_path)])
    assert names(inputs) == ["a.ndjson"]
    assert inputs.not_read == {
        str(tmp_path): {
            "folder": 2,
            "hidden": 1,
            "no data by its name": 3,
            "report of rejections": 1,
            "unfinished export": 4,
        }
    }
    assert inputs.no_data == {str(tmp_path): ["README.md", "b.dat.gz", "department"]}
    assert names(find_inputs([str(tmp_path / "README.md")])) == ["README.md"]


def test_of_many_files_without_data_a_few_are_named(tmp_path: Path) -> None:
    for number in range(1_200):
        (tmp_path / f"{number:04}{'x' * 80}.md").touch()
    with pytest.raises(click.UsageError) as caught:
        find_inputs([str(tmp_path)])
    assert f"1,200 not read (no data by its name: 0000{'x' * 56}…, 0001x" in caught.value.message
    assert "… and 1,190 more; name a file itself to read it)." in caught.value.message


@pytest.mark.skipif(os.name != "posix", reason="has no pipes in folders")
def test_what_cannot_be_read_in_a_folder_is_a_problem_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").touch()
    (tmp_path / "broken.json").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "pipe.json")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket.json"))
        inputs = find_inputs([str(tmp_path)])
    assert names(inputs) == ["a.ndjson"]
    problems = {os.path.basename(each.path): each.problem for each in inputs.paths if each.problem}
    assert problems == {
        "broken.json": "No such file or directory",
        "pipe.json": "a pipe, socket or device in a folder; name it itself",
        "socket.json": "a pipe, socket or device in a folder; name it itself",
    }


def test_a_file_is_read_once_under_its_own_name_whatever_leads_to_it(tmp_path: Path) -> None:
    folder, other = tmp_path / "in", tmp_path / "other"
    for each in (folder, other):
        each.mkdir()
    (folder / "a-today.ndjson").symlink_to(folder / "b.ndjson")
    (folder / "b.ndjson").touch()
    (other / "c.ndjson").touch()
    (folder / "c-linked.ndjson").symlink_to(other / "c.ndjson")
    inputs = find_inputs([str(folder), str(folder / "b.ndjson"), str(folder), "-", "-"])
    assert names(inputs) == ["b.ndjson", "c-linked.ndjson", "-"]
    assert inputs.size_bytes is None
    assert inputs.not_read == {
        str(folder): {"read under another name": 4},
        str(folder / "b.ndjson"): {"read under another name": 1},
        "-": {"read under another name": 1},
    }


def test_a_folder_without_files_is_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "inside" / "inside").mkdir(parents=True)
    (tmp_path / "a").touch()
    with pytest.raises(click.UsageError, match=r"nothing to read in .*: 1 not read \(folder\)\.$") as caught:
        find_inputs([str(tmp_path / "a"), str(tmp_path / "inside")])
    assert caught.value.exit_code == 2


def test_the_id_of_an_upload_depends_on_what_decides_its_events(tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    paths = [tmp_path / "a", tmp_path / "b", folder / "a"]
    for path in paths:
        path.write_text("same")
    a, b, other_a = (derive_upload_id(str(path), format=Format.AUTO, source=None) for path in paths)
    assert other_a == a
    more = [
        derive_upload_id(str(paths[0]), format=Format.EVENTS, source=None),
        derive_upload_id(str(paths[0]), format=Format.AUTO, source=""),
        derive_upload_id(str(paths[0]), format=Format.AUTO, source="crm"),
    ]
    paths[0].write_text("changed")
    more.append(derive_upload_id(str(paths[0]), format=Format.AUTO, source=None))
    assert len({a, b, *more}) == 6
    assert len(a) <= MAX_EVENT_ID_CHARACTERS


@pytest.mark.skipif(os.name != "posix", reason="has other permissions")
def test_reports_of_files_of_one_name_stand_side_by_side_in_a_folder_of_choice(tmp_path: Path) -> None:
    rejection = Rejection(place=1, reason="UNREADABLE", message="", violations=(), text="nope")
    paths = set()
    for folder in ("a", "b"):
        with RejectionFile(f"{folder}/events.ndjson", run="run", folder=tmp_path) as report:
            report.write(rejection)
        assert report.path.name.startswith("events.ndjson.")
        assert report.path.name.endswith(".run.rejected.ndjson")
        assert report.path.stat().st_mode & 0o777 == 0o600
        paths.add(report.path)
    assert set(tmp_path.iterdir()) == paths
    assert len(paths) == 2
    with RejectionFile(f"{os.getcwd()}/a/events.ndjson", run="run", folder=tmp_path) as report:
        report.write(rejection)
    assert report.path.name.endswith(".run.2.rejected.ndjson")
    assert len(list(tmp_path.iterdir())) == 3


def test_a_report_of_a_report_has_a_name_that_a_file_may_have(tmp_path: Path) -> None:
    rejection = Rejection(place=1, reason="UNREADABLE", message="", violations=(), text="nope")
    path = tmp_path / ("é" * 120)
    for number in range(5):
        with RejectionFile(str(path), run=f"order {number}/{'x' * 300}", folder=tmp_path) as report:
            report.write(rejection)
        path = report.path
    assert len(list(tmp_path.iterdir())) == 5


def test_a_report_that_cannot_be_written_names_the_option(tmp_path: Path) -> None:
    rejection = Rejection(place=1, reason="UNREADABLE", message="", violations=(), text="nope")
    with (
        RejectionFile(str(tmp_path / "missing" / "a.ndjson"), run="run") as report,
        pytest.raises(CommandError, match="--rejected-dir"),
    ):
        report.write(rejection)
