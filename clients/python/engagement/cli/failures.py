"""Exit statuses, and the errors that end a command with a hint at what to do."""

from __future__ import annotations

from enum import IntEnum

import click


class ExitStatus(IntEnum):
    """The meaning of an exit status, the same for all commands."""

    OK = 0
    INCOMPLETE = 1
    """The command ran, but some input was rejected or unreadable, or what it names does not exist."""
    FAILED = 2
    """Wrong usage, or the server could not answer."""
    INTERRUPTED = 130
    """Stopped with Ctrl-C."""
    READER_GONE = 141
    """The reader of the output has ended, as when SIGPIPE ends a program."""


class CommandError(click.ClickException):
    """A command cannot continue; the message says why and what to do."""

    exit_code = ExitStatus.FAILED


class CommandInterruptedError(CommandError):
    """The command was stopped with Ctrl-C; the message says how to resume it."""

    exit_code = ExitStatus.INTERRUPTED


class NothingFoundError(CommandError):
    """The object of the command does not exist."""

    exit_code = ExitStatus.INCOMPLETE
