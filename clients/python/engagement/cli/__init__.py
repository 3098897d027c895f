"""The command line: the commands of `engagement`."""

from engagement.cli.entry import main

__all__ = ["main"]
