"""Finds the inputs that the arguments of a command name: files, the files in folders, standard input."""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import click

STDIN: Final = "-"
REPORT_SUFFIX: Final = ".rejected.ndjson"
_DATA: Final = re.compile(r"\.(json|ndjson|jsonl|csv|tsv|parquet)(\.(gz|zst|bz2|xz))?$", re.IGNORECASE)
"""The names of files that a folder is read for; of those in a packing that is not read, each is told."""
_NO_DATA: Final = "no data by its name"
_MAX_SHOWN_NAMES: Final = 10
_MAX_SHOWN_CHARACTERS: Final = 60
_UNFINISHED_EXPORT: Final = re.compile(r"\.part(\.state(\.new)?|\.parquet)?$")


@dataclass(frozen=True, slots=True)
class InputPath:
    """One input."""

    path: str
    """A path, or `-` for standard input."""
    size_bytes: int | None = None
    """Size on disk of a regular file; None for anything else."""
    problem: str = ""
    """Why it cannot be read; empty if it can."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """The inputs of a command, each one once, in the order of the arguments and of the names in a folder."""

    arguments: Sequence[str]
    paths: Sequence[InputPath]
    not_read: Mapping[str, Mapping[str, int]]
    """By argument, the number of its entries that are not read, by reason."""
    no_data: Mapping[str, Sequence[str]]
    """By folder, the names of its files that are not those of data, and not read."""

    def explain_not_read(self, argument: str) -> str:
        """What is not read of an argument, and why; empty if it is read whole."""
        return _explain(self.not_read.get(argument, {}), no_data=self.no_data.get(argument, ()))

    @property
    def size_bytes(self) -> int | None:
        """The size of all inputs on disk; None if it is not known of each."""
        sizes = [each.size_bytes for each in self.paths if not each.problem]
        return None if None in sizes else sum(size or 0 for size in sizes)


class _Candidate(NamedTuple):
    argument: str
    input: InputPath
    identity: object
    """The same for all names of a file."""
    is_link: bool


def find_inputs(arguments: Sequence[str]) -> Inputs:
    """The inputs named by these arguments, which exist; folders inside folders are not read.

    A file with several names is read under the first one, but rather under its own than under that of a
    symbolic link, which may point elsewhere tomorrow. Raises UsageError for a folder without any input.
    """
    not_read: dict[str, Counter[str]] = {argument: Counter() for argument in arguments}
    no_data: dict[str, list[str]] = {argument: [] for argument in arguments}
    candidates: list[_Candidate] = []
    for argument in arguments:
        if os.path.isdir(argument):
            not_read[argument], no_data[argument] = Counter(), []  # also if it is named again
            found = list(_files_of(argument, not_read=not_read[argument], no_data=no_data[argument]))
            if not found:
                reasons = _explain(not_read[argument], no_data=no_data[argument])
                raise click.UsageError(
                    f"There is nothing to read in {argument}{': ' if reasons else ''}{reasons}."
                )
            candidates += found
        else:
            candidates.append(_named(argument))
    read_as: dict[object, _Candidate] = {}
    for each in sorted(candidates, key=lambda candidate: candidate.is_link):
        read_as.setdefault(each.identity, each)
    paths = []
    for each in candidates:
        if read_as[each.identity] is each:
            paths.append(each.input)
        else:
            not_read[each.argument]["read under another name"] += 1
    return Inputs(
        arguments,
        paths,
        {name: dict(counts) for name, counts in not_read.items() if counts},
        {name: names for name, names in no_data.items() if names},
    )


def _named(argument: str) -> _Candidate:
    if argument == STDIN:
        return _Candidate(argument, InputPath(argument), STDIN, is_link=False)
    status = os.stat(argument)
    size_bytes = status.st_size if stat.S_ISREG(status.st_mode) else None
    return _Candidate(
        argument, InputPath(argument, size_bytes), _identity(status), is_link=os.path.islink(argument)
    )


def _files_of(folder: str, *, not_read: Counter[str], no_data: list[str]) -> Iterator[_Candidate]:
    """The files of data in a folder, in the order of their names."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if reason := _reason_to_skip(entry):
                not_read[reason] += 1
                if reason == _NO_DATA:
                    no_data.append(entry.name)
                continue
            try:
                status = os.stat(entry.path)
            except OSError as error:  # such as a link to nothing
                problem = InputPath(entry.path, problem=error.strerror or str(error))
                yield _Candidate(folder, problem, entry.path, is_link=True)
                continue
            if stat.S_ISREG(status.st_mode):
                regular = InputPath(entry.path, status.st_size)
                yield _Candidate(folder, regular, _identity(status), entry.is_symlink())
            else:
                # Opening a pipe would wait for its writer.
                special = InputPath(
                    entry.path, problem="a pipe, socket or device in a folder; name it itself"
                )
                yield _Candidate(folder, special, entry.path, entry.is_symlink())


def _reason_to_skip(entry: os.DirEntry[str]) -> str:
    """Why an entry of a folder is not read; empty if it is."""
    if entry.name.startswith("."):
        return "hidden"
    if entry.name.endswith(REPORT_SUFFIX):
        return "report of rejections"
    if _UNFINISHED_EXPORT.search(entry.name):
        return "unfinished export"
    if _is_folder(entry):
        return "folder"
    return "" if _DATA.search(entry.name) else _NO_DATA


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # such as a link to itself
        return False


def _identity(status: os.stat_result) -> tuple[int, int]:
    return (status.st_dev, status.st_ino)


def _explain(not_read: Mapping[str, int], *, no_data: Sequence[str]) -> str:
    named = ", ".join(
        name if len(name) <= _MAX_SHOWN_CHARACTERS else f"{name[:_MAX_SHOWN_CHARACTERS]}…"
        for name in no_data[:_MAX_SHOWN_NAMES]
    )
    if len(no_data) > _MAX_SHOWN_NAMES:
        named += f" and {len(no_data) - _MAX_SHOWN_NAMES:,} more"
    details = {_NO_DATA: f": {named}; name a file itself to read it"}
    return ", ".join(
        f"{count:,} not read ({reason}{details.get(reason, '')})" for reason, count in not_read.items()
    )
