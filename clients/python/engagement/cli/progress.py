"""Shows the progress of an input or an export on a terminal, and nothing elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress

    from engagement.cli.input_file import InputFile


class _Bar:
    """A bar of one task, removed at its end."""

    def __init__(self, name: str, *, total: int | None) -> None:
        self._started = time.monotonic()
        self._progress = _make_progress() if sys.stderr.isatty() else None
        if self._progress is not None:
            self._task = self._progress.add_task(name, total=total, counts="")

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def _speed(self, events: int) -> str:
        return f"{events / max(time.monotonic() - self._started, 0.001):,.0f}/s"


class ProgressBar(_Bar):
    """The bar of one input: bytes read, if its size is known, with counts of events and rejections."""

    def __init__(self, file: InputFile) -> None:
        super().__init__(file.name, total=file.size_bytes)
        self._file = file

    def show(self, events: int, *, rejected: int) -> None:
        """Shows the number of events done so far, and of those that were rejected."""
        if self._progress is not None:
            counts = f"{events:,} events, {self._speed(events)}, {rejected:,} rejected"
            self._progress.update(self._task, completed=self._file.bytes_read, counts=counts)


class ExportBar(_Bar):
    """The bar of an export: the events written, out of these and those that may remain."""

    def __init__(self, name: str) -> None:
        super().__init__(name, total=None)
        self._first_events: int | None = None

    def show(self, events: int, lag_events: int) -> None:
        """Shows the number of events written so far, and at most how many remain."""
        if self._progress is None:
            return
        if self._first_events is None:
            self._first_events = events
        counts = f"{events:,} events, {self._speed(events - self._first_events)}"
        self._progress.update(self._task, completed=events, total=events + lag_events, counts=counts)


def _make_progress() -> Progress:
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
