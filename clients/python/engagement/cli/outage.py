"""Tells of an outage in a line when it begins, and in one when it ends."""

from __future__ import annotations

import time
from typing import Final

import click

from engagement.errors import EngagementError

# Words of gRPC, in front of what matters.
_PREAMBLE: Final = "Failed to connect to remote host: "


class OutageReport:
    """The outages of one stream, for the user; attempts in between are silent."""

    def __init__(self) -> None:
        self._since = 0.0
        self._has_told_loss = False
        self._has_told_refusal = False

    def begin(self, error: EngagementError) -> None:
        """Notes that a stream has lost its connection, or is refused for now, and resumes."""
        if not (self._has_told_loss or self._has_told_refusal):
            self._since = time.monotonic()
        text = cause_of(error)
        if error.reason and not self._has_told_refusal:
            self._has_told_refusal = True
            click.echo(f"engagement: The server cannot go on now: {text}. Waiting for it.", err=True)
        elif not error.reason and not self._has_told_loss:
            self._has_told_loss = True
            click.echo(f"engagement: Connection lost ({text}); reconnecting.", err=True)

    def end(self) -> None:
        """Notes that the stream goes on."""
        if self._has_told_loss or self._has_told_refusal:
            self._has_told_loss = self._has_told_refusal = False
            seconds = time.monotonic() - self._since
            click.echo(f"engagement: Connected again after {seconds:.1f} s.", err=True)


def cause_of(error: EngagementError) -> str:
    """The message of an error in a line, without words of gRPC."""
    return " ".join(error.message.split()).rpartition(_PREAMBLE)[2]
