"""Runs a program that ends with the process that started it: `python -m benchmarks.leash PARENT PROGRAM …`.

The system ends it, even if its parent is killed and cannot. Only Linux does that.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def main() -> None:
    """Becomes the program, with a signal set for the death of its parent."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() == parent:  # otherwise it has died before
        os.execvp(command[0], command)


if __name__ == "__main__":
    main()
