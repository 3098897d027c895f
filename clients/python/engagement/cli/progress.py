"""Shows on a terminal how far an input is; elsewhere it shows nothing."""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from engagement.cli.input_file import InputFile


class ProgressBar:
    """One input's bar, by the bytes read of it where its size is known, with events and rejections."""

    def __init__(self, file: InputFile) -> None:
        self._file = file
        self._started = time.monotonic()
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[counts]}"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
            transient=True,
        )
        self._task = self._progress.add_task(file.name, total=file.size_bytes, counts="")

    def __enter__(self) -> ProgressBar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, events: int, *, rejected: int) -> None:
        """How many events are done so far, and how many of them were rejected."""
        if self._progress.disable:
            return
        speed = events / max(time.monotonic() - self._started, 0.001)
        counts = f"{events:,} events, {speed:,.0f}/s, {rejected:,} rejected"
        self._progress.update(self._task, completed=self._file.bytes_read, counts=counts)
