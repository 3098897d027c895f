"""The command line: the commands of `engagement`."""

from engagement.cli.program import main

__all__ = ["main"]
