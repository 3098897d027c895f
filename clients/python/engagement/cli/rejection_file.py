"""Writes rejections to a report, for people to repair and programs to read."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict
from functools import partial
from hashlib import blake2b
from itertools import count
from pathlib import Path
from typing import IO, Final

from google.protobuf import json_format

from engagement.cli.failures import CommandError
from engagement.cli.inputs import REPORT_SUFFIX, STDIN
from engagement.cli.outcomes import Rejection
from engagement.cli.rejection_kinds import RejectionKinds

_PATH_DIGEST_BYTES: Final = 4
_MAX_NAME_BYTES: Final = 140
_MAX_RUN_CHARACTERS: Final = 64
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.-]")


class RejectionFile:
    """`FILE.RUN.rejected.ndjson`, with one JSON object per rejection; it exists only if there are any.

    It stands beside its input, or in a folder of choice, under a name with a digest of the input's path, so
    that inputs of the same name have a report each. Only its owner can read it, because it holds whole
    events. It never replaces a file: if its name is taken, it gets a number. An unwritable folder ends the
    command.
    """

    def __init__(self, input_path: str, *, run: str, folder: Path | None = None) -> None:
        """`run` names the run in the name of the report, such as the id of an upload."""
        self._folder, self._stem = _place_of(input_path, run=run, folder=folder)
        self.path = self._numbered(1)
        self.count = 0
        self.first: Rejection | None = None
        self.kinds = RejectionKinds()
        self._file: IO[str] | None = None

    def __enter__(self) -> RejectionFile:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def discard(self) -> None:
        """Removes what this run has written."""
        if self._file is not None:
            self.path.unlink(missing_ok=True)

    def write(self, rejection: Rejection) -> None:
        """Adds one rejection."""
        try:
            if self._file is None:
                self._file = self._create()
            self._file.write(_to_line(rejection))
        except OSError as error:
            raise self._unwritable(error) from error
        self.count += 1
        self.first = self.first or rejection
        self.kinds.add(rejection)

    def _create(self) -> IO[str]:
        for number in count(1):
            self.path = self._numbered(number)
            try:
                # Text of a source that is not Unicode becomes the JSON escape for it.
                return open(
                    self.path,
                    "x",
                    buffering=1,
                    encoding="utf-8",
                    errors="backslashreplace",
                    opener=partial(os.open, mode=0o600),
                )
            except FileExistsError:
                continue
        raise AssertionError

    def _numbered(self, number: int) -> Path:
        return self._folder / f"{self._stem}{f'.{number}' if number > 1 else ''}{REPORT_SUFFIX}"

    def _unwritable(self, error: OSError) -> CommandError:
        return CommandError(
            f"Cannot write {self.path}, the report of rejected events: {error.strerror}. "
            "Name a writable folder for reports with --rejected-dir."
        )


def prepare_reports(folder: Path | None) -> None:
    """Creates a folder of choice if it is missing, for its owner only. Raises CommandError."""
    if folder is None:
        return
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"Cannot create {folder}, the folder for reports: {error.strerror}.") from error


def _place_of(input_path: str, *, run: str, folder: Path | None) -> tuple[Path, str]:
    """The folder of a report, and the beginning of its name."""
    path = "stdin" if input_path == STDIN else input_path
    around, name = os.path.split(path)
    encoded = os.fsencode(name)
    if len(encoded) > _MAX_NAME_BYTES:  # room for the rest of the name, also of the report of a report
        name = encoded[:_MAX_NAME_BYTES].decode(errors="ignore")
    parts = [name]
    if folder is not None and input_path != STDIN:
        full = os.fsencode(os.path.abspath(path))
        parts.append(blake2b(full, digest_size=_PATH_DIGEST_BYTES).hexdigest())
    parts.append(_UNSAFE.sub("-", run)[:_MAX_RUN_CHARACTERS])
    return folder or Path(around), ".".join(parts)


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
