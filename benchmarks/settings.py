"""What one run measures with."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from engagement.limits import MAX_CHUNK_EVENTS

_WINDOW_EVENTS = 100_000


@dataclass(frozen=True, slots=True)
class Settings:
    """The size of a run, and the temporary folder that it writes to."""

    events: int
    folder: Path

    @property
    def window_events(self) -> int:
        """Events that one rate is measured over: at least two windows fit into the run, in whole chunks."""
        return min(_WINDOW_EVENTS, self.events // 2 // MAX_CHUNK_EVENTS * MAX_CHUNK_EVENTS)


def announce(progress: str) -> None:
    """Tells people who wait where the run is; the report itself goes to the standard output."""
    print(progress, file=sys.stderr, flush=True)
