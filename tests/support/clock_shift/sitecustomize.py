"""Shifts the clock of a Python process by the seconds in a file: see `tests.support.shifted_clock`.

The interpreter imports this by itself, in every process of a server, before anything reads the clock.
"""

import os
import time
from pathlib import Path

_real_time_ns = time.time_ns


def _shifted_time_ns() -> int:
    # Read each time: a process that is forked for a test gets its file then.
    if shift_file := os.environ.get("TEST_CLOCK_SHIFT_FILE"):
        return _real_time_ns() + int(Path(shift_file).read_text()) * 1_000_000_000
    return _real_time_ns()


time.time_ns = _shifted_time_ns
time.time = lambda: _shifted_time_ns() / 1e9
