"""Sums equal lines by the second: the first is written at once, the rest as one line with their count.

Whoever causes such lines at any rate can fill a disk with none of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, NamedTuple

from engagement_server.access.audit_lines import Line, now_text

WINDOW_SECONDS: Final = 1.0
MAX_KEYS: Final = 100
"""Different lines in a window; all others together are one a kind."""
OTHERS: Final = "OTHERS"
"""The outcome of these."""


class _Key(NamedTuple):
    """What equal lines have in common."""

    kind: str
    event: str
    principal: str = ""
    credential: str = ""
    address: str = ""
    method: str = ""
    account: str = ""
    outcome: str = OTHERS


class Sums:
    """The lines of the present window."""

    def __init__(self, write: Callable[[Line], None], *, now: Callable[[], float] = time.monotonic) -> None:
        """Hands on what is to be written."""
        self._write = write
        self._now = now
        self._since = now()
        self._unwritten: dict[_Key, int] = {}
        """How many equal lines were not written."""

    def add(self, line: Line) -> None:
        """Takes a line."""
        self.flush()
        key = _Key(
            *(line.kind, line.event, line.principal, line.credential),
            *(line.address, line.method, line.account, line.outcome),
        )
        if key in self._unwritten:
            self._unwritten[key] += line.count
        elif len(self._unwritten) < MAX_KEYS:
            self._unwritten[key] = 0
            self._write(line)
        else:
            others = _Key(line.kind, line.event)
            self._unwritten[others] = self._unwritten.get(others, 0) + line.count

    def flush(self, *, is_last: bool = False) -> None:
        """Writes the sums of a window that is over, or of the last one."""
        now = self._now()
        if not is_last and now - self._since < WINDOW_SECONDS:
            return
        self._since = now
        unwritten, self._unwritten = self._unwritten, {}
        for key, count in unwritten.items():
            if count:
                self._write(Line(time=now_text(), count=count, **key._asdict()))
