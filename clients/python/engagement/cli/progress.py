"""Shows the progress of an input or an export on a terminal, and nothing elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from engagement.cli.input_file import InputFile
from engagement.cli.inputs import Inputs

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class _NoProgress:
    """Stands in for rich, which takes longer to import than many commands to run."""

    disable = True

    def add_task(self, *_: object, **__: object) -> Any:  # Any: a number of a type of rich
        """Shows nothing."""

    def start(self) -> None:
        """Shows nothing."""

    def stop(self) -> None:
        """Shows nothing."""

    def update(self, _: TaskID, **__: object) -> None:
        """Shows nothing."""


def _make_progress() -> Progress | _NoProgress:
    if not sys.stderr.isatty():
        return _NoProgress()
    from rich.console import Console  # noqa: PLC0415 - for terminals only
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[counts]}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )


class ProgressBar:
    """The bar of all inputs: bytes read, if their sizes are known, with counts of events and rejections."""

    def __init__(self, inputs: Inputs) -> None:
        self._files = len(inputs.paths)
        self._started = time.monotonic()
        self._progress = _make_progress()
        self._task = self._progress.add_task("", total=inputs.size_bytes, counts="")
        self._path = ""
        self._file: InputFile | None = None
        self._files_done = -1
        self._bytes_done = self._events_done = self._rejected_done = self._events = self._rejected = 0

    def __enter__(self) -> ProgressBar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def begin(self, path: str, file: InputFile) -> None:
        """Goes on to the next input, or begins the same one again."""
        if self._progress.disable:
            return
        if self._path != path:
            self._files_done += 1
            self._bytes_done += self._file.bytes_read if self._file is not None else 0
            self._events_done += self._events
            self._rejected_done += self._rejected
        self._events = self._rejected = 0
        self._path, self._file = path, file
        description = file.name if self._files == 1 else f"{self._files_done:,} of {self._files:,} files"
        self._progress.update(self._task, description=description)

    def show(self, events: int, *, rejected: int) -> None:
        """Shows the number of events of the input that are done so far, and of those that were rejected."""
        if self._progress.disable or self._file is None:
            return
        self._events, self._rejected = events, rejected
        events += self._events_done
        rejected += self._rejected_done
        speed = events / max(time.monotonic() - self._started, 0.001)
        counts = f"{events:,} events, {speed:,.0f}/s, {rejected:,} rejected"
        completed = self._bytes_done + self._file.bytes_read
        self._progress.update(self._task, completed=completed, counts=counts)


class ExportBar:
    """The bar of an export: the events written, out of these and those that may remain."""

    def __init__(self, name: str) -> None:
        self._started = time.monotonic()
        self._first_events: int | None = None
        self._progress = _make_progress()
        self._task = self._progress.add_task(name, total=None, counts="")

    def __enter__(self) -> ExportBar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, events: int, lag_events: int) -> None:
        """Shows the number of events written so far, and at most how many remain."""
        if self._progress.disable:
            return
        if self._first_events is None:
            self._first_events = events
        speed = (events - self._first_events) / max(time.monotonic() - self._started, 0.001)
        self._progress.update(
            self._task,
            completed=events,
            total=events + lag_events,
            counts=f"{events:,} events, {speed:,.0f}/s",
        )
