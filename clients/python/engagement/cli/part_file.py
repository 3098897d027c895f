"""A file that grows across interruptions: `FILE.part`, and beside it how far it is good.

Under its final name there is never anything but the whole file.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self  # Any: JSON of unknown shape

from engagement.cli.failures import CommandError

if sys.platform != "win32":
    import fcntl

_CHECKPOINT_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Mark:
    """A place up to which a part is good."""

    cursor: str = ""
    """Covers what the part holds."""
    size_bytes: int = 0
    events: int = 0
    erased_cursors: Sequence[str] = ()
    """Events that were erased up to here; the part may hold some of them."""


class PartFile:
    """The unfinished file of one order, which says what belongs into it.

    Entering it goes on behind the last checkpoint where there is one, and raises CommandError where that
    belongs to another order. Leaving it closes it: what was written behind the last checkpoint counts for
    nothing.
    """

    def __init__(self, path: Path, *, order: Mapping[str, Any], restart: bool = False) -> None:
        """With `restart` it begins anew, whatever is there."""
        self.path = path.with_name(f"{path.name}.part")
        self.mark = Mark()
        self._final_path = path
        self._state_path = path.with_name(f"{path.name}.part.state")
        self._order = dict(order)
        self._restart = restart
        self._checkpoint_at = 0.0

    def __enter__(self) -> Self:
        number = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        self._file = open(number, "r+b", buffering=0)
        try:
            self._lock()
            self._resume()
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _resume(self) -> None:
        self.mark = Mark() if self._restart else self._read_mark()
        if self._file.seek(0, os.SEEK_END) < self.mark.size_bytes:
            self.mark = Mark()
        if not self.mark.cursor:
            self._state_path.unlink(missing_ok=True)
        self._file.truncate(self.mark.size_bytes)
        self._file.seek(self.mark.size_bytes)
        self._checkpoint_at = time.monotonic() + _CHECKPOINT_SECONDS

    def append(self, block: bytes, *, mark: Mark) -> None:
        """Adds a block; the mark says what is then in the part, and gets its size here."""
        view = memoryview(block)
        while view:
            view = view[self._file.write(view) :]
        size_bytes = self.mark.size_bytes + len(block)
        self.mark = Mark(mark.cursor, size_bytes, mark.events, mark.erased_cursors)
        if mark.cursor and time.monotonic() >= self._checkpoint_at:
            self.checkpoint()

    def checkpoint(self) -> None:
        """From here on it goes on, whatever happens."""
        os.fsync(self._file.fileno())
        scratch = self._state_path.with_name(f"{self._state_path.name}.new")
        scratch.write_text(json.dumps({"order": self._order, "mark": asdict(self.mark)}))
        os.replace(scratch, self._state_path)
        self._checkpoint_at = time.monotonic() + _CHECKPOINT_SECONDS

    def complete(self, finished: Path) -> None:
        """Gives the finished file, which may be another one than the part, its final name."""
        with finished.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(finished, self._final_path)
        self.remove()

    def remove(self) -> None:
        """Removes the part and what is known about it."""
        self.path.unlink(missing_ok=True)
        self._state_path.unlink(missing_ok=True)

    def _lock(self) -> None:
        """Two commands that write one part would make rubbish of it."""
        if sys.platform != "win32":
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise CommandError(f"Another command is writing {self.path}.") from None

    def _read_mark(self) -> Mark:
        try:
            state = json.loads(self._state_path.read_text())
            order, mark = state["order"], Mark(**state["mark"])
        except FileNotFoundError:
            return Mark()
        except (ValueError, TypeError, KeyError) as error:
            raise CommandError(f"Cannot make sense of {self._state_path}; --restart begins anew.") from error
        if order != self._order:
            raise CommandError(
                f"{self.path} was begun with {json.dumps(order, ensure_ascii=False)}, and this is "
                f"{json.dumps(self._order, ensure_ascii=False)}.\n"
                "Name another file, repeat the first command, or begin anew with --restart."
            )
        return mark
