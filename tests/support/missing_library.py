"""Runs the command line in an environment that lacks a library."""

from __future__ import annotations

import subprocess
import sys


def messages_without(library: str, *options: str) -> str:
    """The messages of a command that ends because a library is missing, as of wrong options."""
    script = (
        f"import sys; sys.modules[{library!r}] = None; sys.argv[1:] = {list(options)!r}\n"
        "from engagement.cli import main\n"
        "sys.exit(main())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert library in done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr
