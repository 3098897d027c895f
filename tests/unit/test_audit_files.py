"""The files of the audit log: whole lines, bounded sizes and numbers, and one server at a time."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement_server.access.audit_folder import AuditFolder
from engagement_server.errors import ConfigurationError

KIND = "reads"
LIMIT_BYTES = 100


def opened(path: Path, *, max_files: int = 3) -> AuditFolder:
    return AuditFolder(path, [KIND, "erasures"], max_file_bytes=LIMIT_BYTES, max_files=max_files)


def write(folder: AuditFolder, *lines: str) -> None:
    """Appends lines, and checks that all of them are told to be on disk."""
    assert [*folder.append(KIND, [f"{line}\n".encode() for line in lines])][-1] == len(lines)


def files(path: Path) -> dict[str, Sequence[str]]:
    """The lines of each file of the kind, the earliest first."""
    names = sorted(path.glob(f"{KIND}*"), key=lambda each: (each.name == f"{KIND}.jsonl", each.name))
    return {each.name: each.read_text().splitlines() for each in names}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "audit"


def test_only_the_owner_may_read_it(path: Path) -> None:
    folder = opened(path)
    write(folder, "one")
    modes = [each.stat().st_mode & 0o777 for each in (path, path / f"{KIND}.jsonl")]
    assert modes == [0o700, 0o600]
    folder.close()


def test_later_lines_come_after_those_of_an_earlier_start(path: Path) -> None:
    for line in ("one", "two"):
        folder = opened(path)
        write(folder, line)
        folder.close()
    assert files(path) == {"reads.jsonl": ["one", "two"]}


def test_a_line_that_was_cut_is_ended(path: Path) -> None:
    folder = opened(path)
    write(folder, "one")
    folder.close()
    with (path / "reads.jsonl").open("a") as file:
        file.write('{"time":"20')
    folder = opened(path)
    write(folder, "two")
    folder.close()
    assert files(path) == {"reads.jsonl": ["one", '{"time":"20', "two"]}


@given(lengths=st.lists(st.integers(1, 150), max_size=40), max_files=st.integers(2, 4), data=st.data())
def test_files_have_bounded_sizes_and_a_bounded_number(
    lengths: list[int], max_files: int, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("audit")
    folder = opened(path, max_files=max_files)
    lines = [f"{number:03}{'x' * length}" for number, length in enumerate(lengths)]
    rest = lines
    while rest:
        count = data.draw(st.integers(1, len(rest)))
        write(folder, *rest[:count])
        rest = rest[count:]
        if data.draw(st.booleans()):  # a restart
            folder.close()
            folder = opened(path, max_files=max_files)
    folder.close()
    found = files(path)
    assert len(found) <= max_files
    kept = [line for each in found.values() for line in each]
    assert kept == lines[len(lines) - len(kept) :]  # the latest, in order
    for each in found.values():
        assert len(each) == 1 or sum(len(line) + 1 for line in each) <= LIMIT_BYTES
    if len(found) < max_files:
        assert kept == lines


def test_a_file_that_was_moved_gets_a_successor(path: Path) -> None:
    folder = opened(path)
    write(folder, "one")
    (path / "reads.jsonl").rename(path / "moved")
    write(folder, "two")
    folder.close()
    assert (path / "moved").read_text() == "one\n"
    assert files(path) == {"reads.jsonl": ["two"]}


def test_a_folder_that_is_gone_fails_until_it_is_there_again(path: Path) -> None:
    folder = opened(path)
    write(folder, "one")
    shutil.rmtree(path)
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            write(folder, "two")
    path.mkdir()
    write(folder, "three")
    with pytest.raises(ConfigurationError, match="in use by another server"):
        opened(path)  # the new one is locked, too
    folder.close()
    assert files(path) == {"reads.jsonl": ["three"]}


def test_a_folder_belongs_to_one_server(path: Path) -> None:
    folder = opened(path)
    with pytest.raises(ConfigurationError, match="in use by another server"):
        opened(path)
    folder.close()
    opened(path).close()


def test_another_server_may_have_taken_a_new_folder_of_the_same_name(path: Path) -> None:
    folder = opened(path)
    path.rename(path.with_name("moved"))
    other = opened(path)
    with pytest.raises(BlockingIOError):
        write(folder, "one")
    other.close()
    write(folder, "two")
    folder.close()
    assert files(path) == {"reads.jsonl": ["two"]}


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_a_name_that_is_no_file_is_refused(kind: str, path: Path) -> None:
    path.mkdir(parents=True)
    file = path / "reads.jsonl"
    match kind:
        case "link":
            file.symlink_to(path / "elsewhere")
        case "pipe":
            os.mkfifo(file)
        case _:
            file.mkdir()
    with pytest.raises(ConfigurationError, match="cannot be written"):
        opened(path)
    assert not (path / "elsewhere").exists()


def test_a_place_that_cannot_be_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"--audit .* cannot be written"):
        opened(tmp_path / "file")
