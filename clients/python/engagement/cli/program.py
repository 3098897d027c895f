"""The program: its commands, each imported when it is needed, and its exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final  # Any: what click passes on

import click

from engagement.cli import interrupts
from engagement.cli.failures import ExitStatus
from engagement.cli.help import MAX_COLUMNS, Group

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints

    from click.shell_completion import CompletionItem

_MAX_SHOWN_CHARACTERS = 200
# The module of a command, and its help in the list of commands: the first sentence of its own.
_COMMANDS: Final = {
    "accounts": ("accounts:accounts", "List the accounts of a server, with the number of their events."),
    "config": ("config:config", "Keep the addresses, accounts and files of servers as profiles."),
    "entities": ("entities:entities", "Manage the lists that statuses and types are matched against."),
    "erase": ("erase:erase", "Permanently erase all events of a person, or single events."),
    "erasures": ("erase:erasures", "List the erasures of an account, newest first, or show one."),
    "expiry": ("expiry:expiry", "Show whether the removal of old events is held, and release it."),
    "export": ("export:export", "Write stored events to FILE, in the order of their acceptance."),
    "get": ("read:get", "Show one stored event in full."),
    "info": ("info:info", "Show the version and the limits of a server, and which partitions it serves."),
    "lift": (
        "suppression:lift",
        "Lift a suppression: store new events of a consumer, customer or conversation again.",
    ),
    "list": ("read:list_events", "List stored events in the order of their acceptance."),
    "person": ("person:person", "Show what is stored under ID, as a consumer id or a customer id."),
    "profile": ("profile:profile", "Show the latest attributes of one consumer."),
    "rejections": (
        "rejections:rejections",
        "Count the rejected events of an account by source, field and rule.",
    ),
    "retention": ("retention:retention", "Show or set how long a server keeps events."),
    "suppression": (
        "suppression:suppression",
        "Show whether later events of a subject are suppressed, since when, and by which request.",
    ),
    "tail": ("tail:tail", "Show events as they are accepted, until stopped with Ctrl-C."),
    "top": ("top.command:top", "Show what a server does now, live: rates, rejected events, lag, store."),
    "upload": ("upload:upload", "Upload files of events, optionally packed with gzip or zstd."),
    "uploads": (
        "uploads:uploads",
        "List the uploads of an account, newest first, or show one with its rejections.",
    ),
    "validate": ("validate:validate", "Check files of events against the contract, offline."),
    "whoami": ("whoami:whoami", "Show as whom a server sees you, and what you may do there."),
}
_FIRST_STEPS: Final = (
    ("engagement serve", "run a server"),
    ("engagement upload events.ndjson --account acme", "send it a file"),
    ("engagement list --account acme", "read it back"),
    ("engagement tail --account acme", "watch new events"),
    ("engagement top", "watch the server"),
)
_EXIT_STATUSES: Final = (
    ("0", "success"),
    ("1", "some input was rejected or unreadable, or what you name does not exist"),
    ("2", "wrong usage, or no connection to the server"),
    ("130", "stopped with Ctrl-C"),
    ("141", "the reader of the output has ended, as head does"),
)


class Program(Group):
    """Imports its commands when they are run; those of other packages are found by their entry points."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Parses arguments, or prints help. Raises ReaderGoneError."""
        with _noticing_readers():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, context: click.Context) -> Any:  # the status of the command
        """Runs the command. Raises ReaderGoneError."""
        with _noticing_readers():
            status = super().invoke(context)
            sys.stdout.flush()
            return status

    def list_commands(self, context: click.Context) -> list[str]:
        """The names of all commands."""
        return sorted([*_COMMANDS, *_added_commands().names])

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """The command with this name."""
        if name not in self.commands:
            if name in _COMMANDS:
                module, _, attribute = _COMMANDS[name][0].partition(":")
                self.add_command(getattr(import_module(f"engagement.cli.{module}"), attribute), name)
            elif name in (added := _added_commands()).names:
                self.add_command(added[name].load(), name)
        # All is imported: from here on the command itself says how it was interrupted.
        interrupts.catch()
        return super().get_command(context, name)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the list of commands."""
        with formatter.section("Commands"):
            formatter.write_dl([*self._short_helps(context)])

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the first steps and the exit statuses."""
        with formatter.section("Start here"):
            formatter.write_dl(_FIRST_STEPS, col_max=50)
        with formatter.section("Exit status"):
            formatter.write_dl(_EXIT_STATUSES)

    def shell_complete(self, context: click.Context, incomplete: str) -> list[CompletionItem]:
        """The commands or options that begin with a text."""
        from click.shell_completion import CompletionItem  # noqa: PLC0415 - needed for this only

        if incomplete.startswith("-"):
            return click.Command.shell_complete(self, context, incomplete)
        return [
            CompletionItem(name, help=text)
            for name, text in self._short_helps(context)
            if name.startswith(incomplete)
        ]

    def _short_helps(self, context: click.Context) -> Iterator[tuple[str, str]]:
        for name in self.list_commands(context):
            if name in _COMMANDS:
                yield name, _COMMANDS[name][1]
            elif (command := self.get_command(context, name)) is not None:
                yield name, command.get_short_help_str(MAX_COLUMNS)


class ReaderGoneError(Exception):
    """The reader of the output has ended. Not an OSError, for which click has a status of its own."""


@contextmanager
def _noticing_readers() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise ReaderGoneError from error


def _added_commands() -> EntryPoints:
    from importlib.metadata import entry_points  # noqa: PLC0415 - most runs need none

    return entry_points(group="engagement.commands")


@click.group(
    cls=Program,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": MAX_COLUMNS},
)
@click.version_option(package_name="engagement-attributes", prog_name="engagement")
@click.pass_context
def program(context: click.Context) -> None:
    """Record, upload and read customer engagement attributes."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(ExitStatus.FAILED)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line, with the process's arguments by default, and returns its exit status."""
    try:
        status = program.main(arguments, prog_name="engagement", standalone_mode=False)
    except click.ClickException as error:
        _report(error)
        return error.exit_code
    except click.Abort:
        click.echo("engagement: Interrupted.", err=True)
        return ExitStatus.INTERRUPTED
    except ReaderGoneError:
        _discard_output()
        return ExitStatus.READER_GONE
    except UnicodeEncodeError as error:
        # Only arguments and variables of the environment may hold bytes that are not text.
        _report_bytes(error)
        return ExitStatus.FAILED
    except OSError as error:
        click.echo(f"engagement: {error.filename or 'Cannot read or write'}: {error.strerror}", err=True)
        _discard_output()
        return ExitStatus.FAILED
    return status if isinstance(status, int) else ExitStatus.OK


def _report(error: click.ClickException) -> None:
    """Prints the error, and for wrong usage where to find help."""
    click.echo(f"engagement: {error.format_message()}", err=True)
    if isinstance(error, click.UsageError) and error.ctx is not None:
        click.echo(f"Try '{error.ctx.command_path} --help'.", err=True)


def _report_bytes(error: UnicodeEncodeError) -> None:
    shown = ascii(error.object[:_MAX_SHOWN_CHARACTERS])
    click.echo(f"engagement: {shown} is not text in {sys.getfilesystemencoding()}.", err=True)


def _discard_output() -> None:
    """Drops unwritten output, which would fail again, with a traceback, when the interpreter exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
