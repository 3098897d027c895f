"""The age of a view: the time since it was known to hold every commit. It knows no network."""

from __future__ import annotations

import time
from collections import deque

_MAX_PROBES = 1000


class ViewAge:
    """Computes the age from probes, each of which found the end of the log at some time."""

    def __init__(self, *, sequence: int, time_ms: int) -> None:
        """A view that has applied everything up to a sequence, and everything before a time."""
        self.sequence = sequence
        """The last entry that the view has applied."""
        self.time_ms = time_ms
        """The view holds everything committed before this time, in epoch milliseconds."""
        self.is_known = False
        """Whether the view has reached the end that some probe found; before that, its age is unknown."""
        self._probes: deque[tuple[int, int]] = deque(maxlen=_MAX_PROBES)

    @property
    def seconds(self) -> float:
        """The time since `time_ms`."""
        return max(0.0, time.time() - self.time_ms / 1000)

    def probe(self, last_sequence: int, *, time_ms: int) -> None:
        """Notes that the log ended with a sequence at a time, or later."""
        self._probes.append((last_sequence, time_ms))
        self.advance(self.sequence)

    def advance(self, sequence: int) -> None:
        """Notes that the view has applied everything up to a sequence."""
        self.sequence = sequence
        while self._probes and self._probes[0][0] <= sequence:
            self.time_ms = self._probes.popleft()[1]
            self.is_known = True
