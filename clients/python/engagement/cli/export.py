"""`engagement export`: writes all events that match a filter to a file."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final  # Any: JSON of the state of a part

import click
from google.protobuf import json_format

from engagement import v1
from engagement.cli.connection import connect
from engagement.cli.connection_options import account_option, current_access, server_option
from engagement.cli.damage import LeftOut, skip_damaged_option
from engagement.cli.event_filter import filter_options, to_arguments
from engagement.cli.export_format import ExportFormat
from engagement.cli.export_text import CsvFormat, NdjsonFormat
from engagement.cli.failures import CommandError, CommandInterruptedError, ExitStatus
from engagement.cli.part_file import OtherOrderError, PartFile
from engagement.cli.progress import ExportBar
from engagement.cli.tables.options import require_usable, style_arguments, table_options
from engagement.cli.tables.style import TableStyle
from engagement.cli.transfer import ErasedMeanwhileError, Transfer
from engagement.client import EngagementClient
from engagement.errors import PreconditionError
from engagement.extras import explain_missing

_EPILOG = """\b
Examples:
  engagement export events.ndjson.gz --account acme
  engagement export vips.csv --account acme --type vip --since 2024-05-01
  engagement export may.ndjson --account acme --accepted-since 2024-05-01 --accepted-until 2024-06-01
  engagement export events.parquet --account acme --set customer
  engagement export events.csv --account acme --excel

Exit status: 0 the file is complete, 1 events were erased meanwhile or damaged
ones left out, 2 wrong usage or no connection, 130 stopped with Ctrl-C.
"""


def _parquet(style: TableStyle) -> ExportFormat:
    try:
        from engagement.cli.export_parquet import ParquetFormat  # noqa: PLC0415 - its library is an extra
    except ModuleNotFoundError as error:
        raise CommandError(explain_missing("The Parquet format", error, extra="parquet")) from error
    return ParquetFormat(style)


_FORMATS: Final[dict[str, Callable[[TableStyle], ExportFormat]]] = {
    ".ndjson": lambda _: NdjsonFormat(is_compressed=False),
    ".ndjson.gz": lambda _: NdjsonFormat(is_compressed=True),
    ".jsonl": lambda _: NdjsonFormat(is_compressed=False),
    ".jsonl.gz": lambda _: NdjsonFormat(is_compressed=True),
    ".csv": lambda style: CsvFormat(is_compressed=False, style=style),
    ".csv.gz": lambda style: CsvFormat(is_compressed=True, style=style),
    ".parquet": _parquet,
}


class ExportErasedError(CommandError):
    """The unfinished export held events that have been erased."""

    exit_code = ExitStatus.INCOMPLETE


@click.command(epilog=_EPILOG)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@filter_options
@click.option("--force", is_flag=True, help="Replace an existing FILE.")
@click.option("--restart", is_flag=True, help="Discard an interrupted export and start over.")
@table_options
@skip_damaged_option
@server_option
@account_option
def export(  # noqa: PLR0913 - one for each option
    file: Path,
    *,
    force: bool,
    restart: bool,
    skip_damaged: bool,
    style: TableStyle,
    server: str,
    account: str,
    wanted: v1.EventFilter,
) -> int:
    """Write stored events to FILE, in the order of their acceptance.

    The ending of FILE selects the format: .ndjson or .jsonl is a StoredEvent in
    proto-JSON on each line, .csv a table with a header, both also with .gz, and
    .parquet a table with types. In CSV an absent value is an empty cell and an
    empty text is "". upload reads all of them.

    An export holds the events that are stored when the command starts. It is
    written to FILE.part, and renamed to FILE once it is complete. To resume an
    interrupted export, repeat the command. Options that select other events, or
    write them differently, are then refused, with the command that resumes it.
    """
    format_ = _format_of(file, style)
    if file.exists() and not force:
        raise CommandError(f"{file} exists; --force replaces it.")
    options = {"--force": force, "--skip-damaged": skip_damaged}
    order = _Order(
        file=file,
        options=[option for option, is_given in options.items() if is_given],
        style=style,
        server=server,
        account=account,
        wanted=wanted,
    )
    left_out = LeftOut(is_allowed=skip_damaged)
    started = time.monotonic()
    with connect(server, account=account) as connection:
        # An unreachable server shows before anything is written.
        connection.call(EngagementClient.get_server_info)
        with _open_part(order, restart=restart) as part:
            earlier_events = part.mark.events
            if earlier_events:
                click.echo(f"Resuming {part.path}, which holds {earlier_events:,} events.", err=True)
            if part.mark.leaves_out_damage:
                click.echo("Some damaged events were left out of it before.", err=True)
            if part.mark.cursor and (missing := format_.resume(part.path)):
                click.echo(_explain_columns(missing), err=True)
            with ExportBar(file.name) as bar:
                transfer = Transfer(
                    part, format_, wanted=wanted, on_progress=bar.show, on_damage=left_out.on_damage
                )
                _run(order, part, lambda: connection.call(transfer.run))
            part.complete(format_.finish(part.path))
    _report(file, part, events=part.mark.events - earlier_events, seconds=time.monotonic() - started)
    if not wanted.HasField("receive_end_time"):
        click.echo(f"Follow new events with:\n  {order.tail_command(after=part.mark.cursor)}", err=True)
    return ExitStatus.INCOMPLETE if part.mark.leaves_out_damage else ExitStatus.OK


def _format_of(file: Path, style: TableStyle) -> ExportFormat:
    name = file.name.lower()
    require_usable(style, name=name)
    for suffix, make in _FORMATS.items():
        if name.endswith(suffix):
            return make(style)
    raise click.UsageError(f"{file} has no ending of a known format; use one of {', '.join(_FORMATS)}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """A requested export. Its times are absolute, so that they stay the same when it is resumed."""

    file: Path
    options: Sequence[str]
    style: TableStyle
    server: str
    account: str
    wanted: v1.EventFilter

    def to_json(self) -> dict[str, Any]:
        """What defines the content of the file."""
        style = {"table": asdict(self.style)} if self.style != TableStyle() else {}
        return {"account": self.account, "filter": json_format.MessageToDict(self.wanted), **style}

    def with_events(self, selected: Mapping[str, Any]) -> _Order:
        """An order for the same file and other events. Raises ParseError, KeyError and TypeError."""
        wanted = json_format.ParseDict(selected["filter"], v1.EventFilter())
        style = TableStyle(**selected.get("table", {}))
        return replace(self, account=selected["account"], wanted=wanted, style=style)

    def export_command(self) -> str:
        """The command that starts and resumes this export."""
        options = [*self.options, *style_arguments(self.style), *self._arguments()]
        return shlex.join(["engagement", "export", str(self.file), *options])

    def tail_command(self, *, after: str) -> str:
        """The command that follows the events after a cursor."""
        wanted = v1.EventFilter()
        wanted.CopyFrom(self.wanted)
        wanted.ClearField("receive_start_time")  # what follows is accepted later
        arguments = replace(self, wanted=wanted)._arguments()
        return shlex.join(["engagement", "tail", *arguments, f"--after={after}"])

    def _arguments(self) -> list[str]:
        reaching = current_access().arguments(self.server)
        return ["--account", self.account, *reaching, *to_arguments(self.wanted)]


@contextmanager
def _open_part(order: _Order, *, restart: bool) -> Iterator[PartFile]:
    """The part of an order. Raises CommandError if it was started for other events."""
    try:
        with PartFile(order.file, order=order.to_json(), restart=restart) as part:
            yield part
    except OtherOrderError as error:
        try:
            earlier = order.with_events(error.order)
        except (json_format.ParseError, KeyError, TypeError):
            raise error from None
        raise CommandError(
            f"{error.path} was started by another command. Resume it with:\n  {earlier.export_command()}\n"
            "Or discard it with --restart, or name another file."
        ) from error


def _run(order: _Order, part: PartFile, transfer: Callable[[], None]) -> None:
    """Runs the transfer; a failure says how to resume."""
    try:
        transfer()
    except KeyboardInterrupt:
        raise CommandInterruptedError(f"Interrupted. {_how_to_resume(order, part)}") from None
    except ErasedMeanwhileError as error:
        part.remove()
        raise ExportErasedError(
            f"{error.events:,} of the exported events were erased meanwhile, so {part.path} was removed. "
            "Run the command again to start over."
        ) from None
    except CommandError as error:
        # After a cursor that is valid no more, only a new export can go on.
        is_valid = not isinstance(error.__cause__, PreconditionError)
        hint = _how_to_resume(order, part) if is_valid else _how_to_restart(order)
        raise CommandError(f"{error.message}\n{hint}") from error


def _how_to_resume(order: _Order, part: PartFile) -> str:
    return f"{part.path} holds {part.mark.events:,} events. Resume with:\n  {order.export_command()}"


def _how_to_restart(order: _Order) -> str:
    return f"Start over with:\n  {replace(order, options=[*order.options, '--restart']).export_command()}"


def _explain_columns(missing: Sequence[str]) -> str:
    return (
        f"It was begun by an earlier version, without the columns {', '.join(missing)}, and stays so. "
        "--restart exports them too."
    )


def _report(file: Path, part: PartFile, *, events: int, seconds: float) -> None:
    speed = f"{seconds:.1f} s, {events / max(seconds, 0.001):,.0f}/s"
    click.echo(f"{file}: {part.mark.events:,} events ({speed})", err=True)
