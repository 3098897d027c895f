"""Options and arguments that several commands share."""

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
    help="Format of the files: events is one proto-JSON event per line, table is CSV or Parquet, "
    "liveperson any export or page tag of LivePerson. auto detects it from the beginning of each file.",
)
source_option = click.option(
    "--source",
    metavar="NAME",
    help="Source of pushed events and of lines without an id: it is stored with them, and their ids depend "
    "on it. Events of exports have none.  [default: the file's name without folder and .gz; stdin for -]",
)
