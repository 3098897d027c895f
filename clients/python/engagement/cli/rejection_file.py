"""Writes rejections to a file beside their input, for people to repair and programs to read."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import IO

from google.protobuf import json_format

from engagement.cli.failures import CommandError
from engagement.cli.outcomes import Rejection


class RejectionFile:
    """`FILE.rejected.ndjson`, with one JSON object per rejection; it exists only if there are any.

    Only its owner can read it, because it holds whole events. Entering removes the file of an earlier run. An
    unwritable folder ends the command.
    """

    def __init__(self, input_path: str) -> None:
        self.path = Path("stdin.rejected.ndjson" if input_path == "-" else f"{input_path}.rejected.ndjson")
        self.count = 0
        self._file: IO[str] | None = None

    def __enter__(self) -> RejectionFile:
        try:
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

    def _unwritable(self, error: OSError) -> CommandError:
        return CommandError(
            f"Cannot write {self.path}, the report of rejected events: {error.strerror}. "
            "Change to a writable folder and pass the file as standard input: … - < FILE"
        )


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
