"""Durations and times as log lines and errors show them."""

from __future__ import annotations

from datetime import UTC, datetime

from engagement.limits import END_OF_TIME_MS

DAY_MS = 24 * 3_600_000
_UNITS = (("day", DAY_MS), ("hour", 3_600_000), ("minute", 60_000), ("second", 1000))


def duration_text(duration_ms: int) -> str:
    """A duration, in the largest unit that it has at least one of, such as `396 days`."""
    for name, unit_ms in _UNITS:
        if abs(duration_ms) >= unit_ms:
            number = f"{duration_ms / unit_ms:.4g}"
            return f"{number} {name}" if number == "1" else f"{number} {name}s"
    return f"{duration_ms} ms"


def time_text(time_ms: int) -> str:
    """A time in UTC, to a second."""
    shown = datetime.fromtimestamp(min(max(time_ms, 0), END_OF_TIME_MS - 1) / 1000, UTC)
    return f"{shown:%Y-%m-%d %H:%M:%S} UTC"
