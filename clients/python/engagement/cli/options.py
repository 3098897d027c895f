"""Options and arguments that several commands have."""

from __future__ import annotations

import click

from engagement.cli.input_events import Format

server_option = click.option(
    "--server",
    metavar="HOST:PORT",
    default="127.0.0.1:50051",
    envvar="ENGAGEMENT_SERVER",
    show_default=True,
    show_envvar=True,
    help="Address of the server.",
)
account_option = click.option(
    "--account",
    metavar="ID",
    required=True,
    envvar="ENGAGEMENT_ACCOUNT",
    show_envvar=True,
    help="The brand's account: 1 to 64 letters, digits, - and _.",
)
files_argument = click.argument(
    "files",
    metavar="FILE...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, readable=True, allow_dash=True),
)
format_option = click.option(
    "--format",
    "input_format",
    type=click.Choice([each.value for each in Format]),
    callback=lambda _context, _option, value: Format(value),
    default=Format.AUTO.value,
    show_default=True,
    help="How events are written: one proto-JSON event a line, or as LivePerson's exports and page tags "
    "have them. auto looks at the beginning of each file.",
)
source_option = click.option(
    "--source",
    metavar="NAME",
    help="Where pushed events and lines without an id come from: they carry it, and their ids depend on it. "
    "Events of exports do not.  [default: the file's name without folder and .gz; stdin for -]",
)
