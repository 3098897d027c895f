"""What ends a command early: exit statuses, and errors that say what to do next."""

from __future__ import annotations

from enum import IntEnum

import click


class ExitStatus(IntEnum):
    """What a command's exit status means; the same for all commands."""

    OK = 0
    INCOMPLETE = 1
    """The command ran; some of its input was refused or unreadable, or what it looked for is not there."""
    FAILED = 2
    """Wrong usage, or the server could not be asked."""
    INTERRUPTED = 130
    """Stopped with Ctrl-C."""


class CommandError(click.ClickException):
    """A command cannot go on; the message tells what is wrong and what to try."""

    exit_code = ExitStatus.FAILED


class NothingFoundError(CommandError):
    """What the command was to show is not there."""

    exit_code = ExitStatus.INCOMPLETE
