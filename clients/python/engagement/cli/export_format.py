"""The interface of the file formats of an export."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from engagement import v1


class ExportFormat(Protocol):
    """A format whose files grow by blocks, and may be truncated after any block."""

    def begin(self) -> bytes:
        """The beginning of a file."""
        ...

    def resume(self, part: Path) -> Sequence[str]:
        """Goes on in a file of complete blocks, with its columns; returns those that only a new file has.

        Raises CommandError if the file has a column that this version does not know.
        """
        ...

    def encode(self, events: Sequence[v1.StoredEvent]) -> bytes:
        """The block with these events."""
        ...

    def read_cursors(self, part: Path) -> Iterator[str]:
        """The cursors of all events in a file of complete blocks."""
        ...

    def finish(self, part: Path) -> Path:
        """Finishes a file of complete blocks; returns the finished file, which may be another."""
        ...
