"""The command line: `engagement serve`, `upload`, `validate`, `get`, `list` and `info`."""

from engagement.cli.program import main

__all__ = ["main"]
