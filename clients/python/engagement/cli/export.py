"""`engagement export`: writes all events that a filter takes to a file."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click
from google.protobuf import json_format

from engagement import v1
from engagement.cli.connection import connect
from engagement.cli.event_filter import filter_options, to_arguments
from engagement.cli.export_format import ExportFormat
from engagement.cli.export_text import CsvFormat, NdjsonFormat
from engagement.cli.failures import CommandError, ExitStatus
from engagement.cli.options import account_option, server_option
from engagement.cli.part_file import PartFile
from engagement.cli.progress import ExportBar
from engagement.cli.transfer import ErasedMeanwhileError, Transfer
from engagement.client import EngagementClient
from engagement.extras import explain_missing

_EPILOG = """\b
Examples:
  engagement export events.ndjson.gz --account acme
  engagement export vips.csv --account acme --type vip --since 2024-05-01
  engagement export events.parquet --account acme --set customer

\b
Exit status: 0 the file is complete, 1 events were erased meanwhile, 2 wrong
usage or no connection, 130 stopped with Ctrl-C.
"""


def _parquet() -> ExportFormat:
    try:
        from engagement.cli.export_parquet import ParquetFormat  # noqa: PLC0415 - its library is an extra
    except ModuleNotFoundError as error:
        raise CommandError(explain_missing("The Parquet format", error, extra="parquet")) from error
    return ParquetFormat()


_FORMATS: Final[dict[str, Callable[[], ExportFormat]]] = {
    ".ndjson": lambda: NdjsonFormat(is_packed=False),
    ".ndjson.gz": lambda: NdjsonFormat(is_packed=True),
    ".jsonl": lambda: NdjsonFormat(is_packed=False),
    ".jsonl.gz": lambda: NdjsonFormat(is_packed=True),
    ".csv": lambda: CsvFormat(is_packed=False),
    ".csv.gz": lambda: CsvFormat(is_packed=True),
    ".parquet": _parquet,
}


class ExportInterruptedError(CommandError):
    """Somebody stopped the export."""

    exit_code = ExitStatus.INTERRUPTED


class ExportErasedError(CommandError):
    """The half export held what must not be kept."""

    exit_code = ExitStatus.INCOMPLETE


@click.command(epilog=_EPILOG)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@filter_options
@click.option("--force", is_flag=True, help="Replace FILE where it exists.")
@click.option("--restart", is_flag=True, help="Begin anew instead of going on with an interrupted export.")
@server_option
@account_option
def export(  # noqa: PLR0913 - one for each option
    file: Path, *, force: bool, restart: bool, server: str, account: str, wanted: v1.EventFilter
) -> int:
    """Write stored events to FILE, in the order of their acceptance.

    The name tells the format: .ndjson or .jsonl is a StoredEvent in proto-JSON
    on each line, .csv a table with a line of names, both also with .gz, and
    .parquet a table with types. In CSV an absent value is an empty cell and an
    empty text is "".

    The events are those that are stored when it starts. What is written goes to
    FILE.part; only the complete file gets the name FILE. After an interruption
    the same command goes on where it was.

    Several different options must all hold; of one option given several times
    any value will do.
    """
    format_ = _format_of(file)
    if file.exists() and not force:
        raise CommandError(f"{file} exists; --force replaces it.")
    order = {"account": account, "filter": json_format.MessageToDict(wanted)}
    started = time.monotonic()
    with connect(server, account=account) as connection:
        # Whether there is a server shows before anything is written.
        connection.ask(EngagementClient.get_server_info)
        with PartFile(file, order=order, restart=restart) as part:
            earlier_events = part.mark.events
            if earlier_events:
                click.echo(f"Going on with {part.path}: {earlier_events:,} events are in it.", err=True)
            with ExportBar(file.name) as bar:
                transfer = Transfer(part, format_, wanted=wanted, on_progress=bar.show)
                _run(part, lambda: connection.ask(transfer.run))
            part.complete(format_.finish(part.path))
    _report(file, part, events=part.mark.events - earlier_events, seconds=time.monotonic() - started)
    how = ["engagement", "tail", "--account", account, "--server", server, *to_arguments(wanted)]
    click.echo(f"What comes next:\n  {shlex.join([*how, f'--after={part.mark.cursor}'])}", err=True)
    return ExitStatus.OK


def _format_of(file: Path) -> ExportFormat:
    name = file.name.lower()
    for suffix, make in _FORMATS.items():
        if name.endswith(suffix):
            return make()
    raise click.UsageError(f"The name of {file} tells no format; let it end with {', '.join(_FORMATS)}.")


def _run(part: PartFile, transfer: Callable[[], None]) -> None:
    """Runs the transfer; a failure tells how to go on."""
    try:
        transfer()
    except KeyboardInterrupt:
        raise ExportInterruptedError(f"Interrupted. {_how_to_go_on(part)}") from None
    except ErasedMeanwhileError as error:
        part.remove()
        raise ExportErasedError(
            f"{error.events:,} of the exported events were erased meanwhile, so {part.path} was removed. "
            "Run the command again: it begins anew."
        ) from None
    except CommandError as error:
        raise CommandError(f"{error.message}\n{_how_to_go_on(part)}") from error


def _how_to_go_on(part: PartFile) -> str:
    return (
        f"{part.path} holds {part.mark.events:,} events. "
        "The same command goes on behind them; with --restart it begins anew."
    )


def _report(file: Path, part: PartFile, *, events: int, seconds: float) -> None:
    speed = f"{seconds:.1f} s, {events / max(seconds, 0.001):,.0f}/s"
    click.echo(f"{file}: {part.mark.events:,} events ({speed})", err=True)
