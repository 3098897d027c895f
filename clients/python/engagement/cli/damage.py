"""Damaged events that a command leaves out on request."""

from __future__ import annotations

from collections.abc import Callable

import click

from engagement.cli.failures import ExitStatus
from engagement.errors import EngagementError

skip_damaged_option = click.option(
    "--skip-damaged",
    is_flag=True,
    help="Leave out events that are damaged on the server, say where they are, and end with status 1.",
)


class LeftOut:
    """Reports what is left out, and makes it the exit status of the command."""

    def __init__(self, *, is_allowed: bool) -> None:
        self.on_damage: Callable[[EngagementError], None] | None = self._report if is_allowed else None
        """To be called with the error of a read that goes on behind the damage."""
        self.has_any = False
        """Whether anything has been left out."""

    @property
    def status(self) -> ExitStatus:
        """The exit status of a command that is otherwise done."""
        return ExitStatus.INCOMPLETE if self.has_any else ExitStatus.OK

    def _report(self, error: EngagementError) -> None:
        self.has_any = True
        click.echo(
            f"engagement: Left out damaged events from cursor {error.metadata['cursor']} on.", err=True
        )
