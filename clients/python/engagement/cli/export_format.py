"""What a file format of an export must be able to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from engagement import v1


class ExportFormat(Protocol):
    """A format whose files grow block by block, and may be cut off behind any block."""

    def begin(self) -> bytes:
        """What a file starts with."""
        ...

    def encode(self, events: Sequence[v1.StoredEvent]) -> bytes:
        """The block for some events."""
        ...

    def read_cursors(self, part: Path) -> Iterator[str]:
        """The cursors of all events in a file of whole blocks."""
        ...

    def finish(self, part: Path) -> Path:
        """The finished file, made of a file of whole blocks: that one itself, or one beside it."""
        ...
