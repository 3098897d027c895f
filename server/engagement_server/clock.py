"""The clock that events and commits are timed by."""

from __future__ import annotations

import time


def now_ms() -> int:
    """Milliseconds since the epoch, in UTC."""
    return time.time_ns() // 1_000_000


def ceil_ms(nanoseconds: int) -> int:
    """Whole milliseconds: a moment between two of them means the later one."""
    return -(-nanoseconds // 1_000_000)
