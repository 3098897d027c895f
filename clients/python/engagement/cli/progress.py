"""Shows the progress of an input or an export on a terminal, and nothing elsewhere."""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from engagement.cli.input_file import InputFile


def _make_progress() -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[counts]}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
        transient=True,
    )


class ProgressBar:
    """The bar of one input: bytes read, if its size is known, with counts of events and rejections."""

    def __init__(self, file: InputFile) -> None:
        self._file = file
        self._started = time.monotonic()
        self._progress = _make_progress()
        self._task = self._progress.add_task(file.name, total=file.size_bytes, counts="")

    def __enter__(self) -> ProgressBar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, events: int, *, rejected: int) -> None:
        """Shows the number of events done so far, and of those that were rejected."""
        if self._progress.disable:
            return
        speed = events / max(time.monotonic() - self._started, 0.001)
        counts = f"{events:,} events, {speed:,.0f}/s, {rejected:,} rejected"
        self._progress.update(self._task, completed=self._file.bytes_read, counts=counts)


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
