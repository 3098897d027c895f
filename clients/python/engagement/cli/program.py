"""The program: its commands, and its exit status."""

from __future__ import annotations

import os
import sys
from importlib.metadata import EntryPoints, entry_points

import click

from engagement.cli.entities import entities
from engagement.cli.erase import erase, erasures, lift
from engagement.cli.expiry import expiry
from engagement.cli.export import export
from engagement.cli.failures import ExitStatus
from engagement.cli.info import info
from engagement.cli.profile import profile
from engagement.cli.read import get, list_events
from engagement.cli.retention import retention
from engagement.cli.tail import tail
from engagement.cli.upload import upload
from engagement.cli.validate import validate

_MAX_SHOWN_CHARACTERS = 200
_EPILOG = """\b
Start here:
  engagement serve                                   run a server
  engagement upload events.ndjson --account acme     send it a file
  engagement list --account acme                     read it back
  engagement tail --account acme                     watch new events

\b
Exit status:
  0    success
  1    some input was rejected or unreadable, or nothing was found
  2    wrong usage, or no connection to the server
  130  stopped with Ctrl-C
"""


class Program(click.Group):
    """Adds the commands of other packages, found by their entry points and imported when needed."""

    def list_commands(self, context: click.Context) -> list[str]:
        """The names of all commands."""
        return sorted([*self.commands, *_added_commands().names])

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """The command with this name."""
        command = super().get_command(context, name)
        if command is None and name in (added := _added_commands()).names:
            command = added[name].load()
        return command


def _added_commands() -> EntryPoints:
    return entry_points(group="engagement.commands")


@click.group(
    cls=Program,
    epilog=_EPILOG,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="engagement-attributes", prog_name="engagement")
@click.pass_context
def program(context: click.Context) -> None:
    """Record, upload and read customer engagement attributes."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(ExitStatus.FAILED)


for _command in (
    upload,
    validate,
    get,
    list_events,
    profile,
    tail,
    export,
    entities,
    erase,
    erasures,
    lift,
    info,
    retention,
    expiry,
):
    program.add_command(_command)


def main() -> int:
    """Runs the command line with the process's arguments and returns its exit status."""
    try:
        status = program.main(prog_name="engagement", standalone_mode=False)
    except click.ClickException as error:
        _report(error)
        return error.exit_code
    except click.Abort:
        click.echo("engagement: Interrupted.", err=True)
        return ExitStatus.INTERRUPTED
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
