"""A file that grows across interruptions: `FILE.part`, and beside it how much of it is valid.

Only a complete file ever gets the final name.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Self  # Any: JSON of unknown shape

from engagement.cli.failures import CommandError

if sys.platform != "win32":
    import fcntl

_CHECKPOINT_SECONDS: Final = 1.0
_OWNER_ONLY: Final = 0o600
"""The mode of files that hold what is known of people."""


def create_private(path: Path) -> None:
    """Creates a file that only its owner can read."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, _OWNER_ONLY))


@dataclass(frozen=True, slots=True)
class Mark:
    """The end of the valid content of a part."""

    cursor: str = ""
    """Covers the content of the part."""
    size_bytes: int = 0
    events: int = 0
    erased_cursors: Sequence[str] = ()
    """Events that were erased up to here; the part may hold some of them."""
    leaves_out_damage: bool = False
    """Whether damaged events up to here were left out."""


class OtherOrderError(CommandError):
    """A part belongs to another order, and must not be mixed with this one."""

    def __init__(self, path: Path, order: Mapping[str, Any]) -> None:
        super().__init__(
            f"{path} belongs to another export: {json.dumps(order, ensure_ascii=False)}. "
            "Name another file, or discard it with --restart."
        )
        self.path = path
        self.order = order


class PartFile:
    """The unfinished file of an order, which defines its content.

    Only its owner can read it. Entering it resumes at the last checkpoint, if there is one, and raises
    OtherOrderError if that belongs to another order. Leaving it closes it; data written after the last
    checkpoint is discarded on the next run.
    """

    def __init__(self, path: Path, *, order: Mapping[str, Any], restart: bool = False) -> None:
        """`restart` discards an existing part."""
        self.path = path.with_name(f"{path.name}.part")
        self.mark = Mark()
        self._final_path = path
        self._state_path = path.with_name(f"{path.name}.part.state")
        self._order = dict(order)
        self._restart = restart
        self._checkpoint_at = 0.0

    def __enter__(self) -> Self:
        number = os.open(self.path, os.O_RDWR | os.O_CREAT, _OWNER_ONLY)
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
        """Adds a block; the mark describes the part with it, and gets its size here."""
        view = memoryview(block)
        while view:
            view = view[self._file.write(view) :]
        size_bytes = self.mark.size_bytes + len(block)
        self.mark = replace(mark, size_bytes=size_bytes)
        if mark.cursor and time.monotonic() >= self._checkpoint_at:
            self.checkpoint()

    def checkpoint(self) -> None:
        """Makes the present state durable: a later run resumes here."""
        os.fsync(self._file.fileno())
        scratch = self._state_path.with_name(f"{self._state_path.name}.new")
        create_private(scratch)
        scratch.write_text(json.dumps({"order": self._order, "mark": asdict(self.mark)}))
        os.replace(scratch, self._state_path)
        self._checkpoint_at = time.monotonic() + _CHECKPOINT_SECONDS

    def complete(self, finished: Path) -> None:
        """Gives the finished file, which may be another file than the part, its final name."""
        with finished.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(finished, self._final_path)
        self.remove()

    def remove(self) -> None:
        """Removes the part and its state."""
        self.path.unlink(missing_ok=True)
        self._state_path.unlink(missing_ok=True)

    def _lock(self) -> None:
        """Two commands that write to one part would corrupt it."""
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
            raise CommandError(f"{self._state_path} is damaged; start over with --restart.") from error
        if order != self._order:
            raise OtherOrderError(self.path, order)
        return mark
