"""The command line `engagement`."""

from engagement.cli.entry import main

__all__ = ["main"]
