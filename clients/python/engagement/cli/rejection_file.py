"""Writes rejections to a report, for people to repair and programs to read."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import IO, Final

import click
from google.protobuf import json_format

from engagement.cli.failures import CommandError
from engagement.cli.inputs import REPORT_SUFFIX, STDIN, Inputs
from engagement.cli.outcomes import Rejection

_PATH_DIGEST_BYTES: Final = 4


class RejectionFile:
    """`FILE.rejected.ndjson`, with one JSON object per rejection; it exists only if there are any.

    It stands beside its input, or in a folder of choice, under a name with a digest of the input's path, so
    that inputs of the same name have a report each. Only its owner can read it, because it holds whole
    events. Entering removes the report of an earlier run. An unwritable folder ends the command.
    """

    def __init__(self, input_path: str, *, folder: Path | None = None) -> None:
        self.path = _report_path(input_path, folder=folder)
        self.count = 0
        self.first: Rejection | None = None
        self._file: IO[str] | None = None

    def __enter__(self) -> RejectionFile:
        try:
            # A read-only file system refuses to unlink even a file that does not exist.
            if os.path.lexists(self.path):
                self.path.unlink(missing_ok=True)
        except OSError as error:
            raise self._unwritable(error) from error
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, rejection: Rejection) -> None:
        """Adds one rejection."""
        try:
            if self._file is None:
                # Text of a source that is not Unicode becomes the JSON escape for it.
                self._file = open(  # noqa: SIM115 - `Path.open` has no opener; closed at the end
                    self.path,
                    "w",
                    buffering=1,
                    encoding="utf-8",
                    errors="backslashreplace",
                    opener=partial(os.open, mode=0o600),
                )
            self._file.write(_to_line(rejection))
        except OSError as error:
            raise self._unwritable(error) from error
        self.count += 1
        self.first = self.first or rejection

    def _unwritable(self, error: OSError) -> CommandError:
        return CommandError(
            f"Cannot write {self.path}, the report of rejected events: {error.strerror}. "
            "Name a writable folder for reports with --rejected-dir."
        )


def prepare_reports(inputs: Inputs, *, folder: Path | None) -> None:
    """Creates a folder of choice if it is missing, for its owner only. Raises CommandError.

    Raises UsageError if an input is the report of another one, which would remove it.
    """
    paths = {os.path.abspath(each.path): each.path for each in inputs.paths if each.path != STDIN}
    for each in inputs.paths:
        report = paths.get(os.path.abspath(_report_path(each.path, folder=folder)))
        if report is not None:
            raise click.UsageError(
                f"{report} is the report of {each.path}, which would replace it: "
                "give it in a command of its own."
            )
    if folder is None:
        return
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"Cannot create {folder}, the folder for reports: {error.strerror}.") from error


def _report_path(input_path: str, *, folder: Path | None) -> Path:
    if folder is None:
        return Path(f"{'stdin' if input_path == STDIN else input_path}{REPORT_SUFFIX}")
    if input_path == STDIN:
        return folder / f"stdin{REPORT_SUFFIX}"
    path = os.path.abspath(input_path)
    digest = blake2b(os.fsencode(path), digest_size=_PATH_DIGEST_BYTES).hexdigest()
    return folder / f"{os.path.basename(path)}.{digest}{REPORT_SUFFIX}"


def _to_line(rejection: Rejection) -> str:
    event = rejection.event
    entry = {
        "line" if isinstance(rejection.place, int) else "place": rejection.place,
        "reason": rejection.reason,
        "message": rejection.message,
        "violations": [asdict(violation) for violation in rejection.violations],
        "event": rejection.text if event is None else json_format.MessageToDict(event),
    }
    return json.dumps(entry, ensure_ascii=False) + "\n"
