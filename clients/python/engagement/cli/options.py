"""Options and arguments of the commands that read files of events."""

from __future__ import annotations

from pathlib import Path

import click

from engagement.cli.input_events import Format

files_argument = click.argument(
    "files",
    metavar="FILE|FOLDER...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, readable=True, allow_dash=True),
)
rejected_dir_option = click.option(
    "--rejected-dir",
    metavar="FOLDER",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the reports of rejected events, created if missing. The name of each has a digest "
    "of its file's path.  [default: beside each file]",
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
