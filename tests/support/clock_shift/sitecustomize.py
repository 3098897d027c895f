"""Shifts the clock of a Python process by the seconds in a file: see `tests.support.shifted_clock`.

The interpreter imports this by itself, in every process of a server, before anything reads the clock.
"""

import os
import time
from pathlib import Path

_shift_file = Path(os.environ["TEST_CLOCK_SHIFT_FILE"])
_real_time_ns = time.time_ns


def _shifted_time_ns() -> int:
    return _real_time_ns() + int(_shift_file.read_text()) * 1_000_000_000


time.time_ns = _shifted_time_ns
time.time = lambda: _shifted_time_ns() / 1e9
