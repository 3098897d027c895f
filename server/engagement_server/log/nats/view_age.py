"""How old a view is: until when it is known to hold everything that was committed."""

from __future__ import annotations

import time
from collections import deque

_MAX_SOUNDINGS = 1000


class ViewAge:
    """Learns from soundings, each of which says how far the log reached at a time."""

    def __init__(self, *, sequence: int, time_ms: int) -> None:
        """A view that has applied everything up to a sequence, and everything until a time."""
        self.sequence = sequence
        """The last message that the view has applied."""
        self.time_ms = time_ms
        """The view holds all that was committed before this time, in epoch milliseconds."""
        self.is_sounded = False
        """Whether the view has reached what a sounding found; until then nobody knows how old it is."""
        self._soundings: deque[tuple[int, int]] = deque(maxlen=_MAX_SOUNDINGS)

    @property
    def seconds(self) -> float:
        """How long ago that was."""
        return max(0.0, time.time() - self.time_ms / 1000)

    def sound(self, last_sequence: int, *, time_ms: int) -> None:
        """The log ended with a sequence at a time, or later."""
        self._soundings.append((last_sequence, time_ms))
        self.advance(self.sequence)

    def advance(self, sequence: int) -> None:
        """The view has applied everything up to a sequence."""
        self.sequence = sequence
        while self._soundings and self._soundings[0][0] <= sequence:
            self.time_ms = self._soundings.popleft()[1]
            self.is_sounded = True
