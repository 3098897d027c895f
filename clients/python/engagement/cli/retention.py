"""`engagement retention`: shows and sets how long a server keeps events."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import timedelta

import click
from google.protobuf import json_format
from google.protobuf.duration_pb2 import Duration

from engagement import v1
from engagement.cli.connection import connect
from engagement.cli.connection_options import server_option
from engagement.cli.expiry_texts import duration_text, hold_text, removal_text, time_text
from engagement.cli.failures import ExitStatus
from engagement.cli.help import Group
from engagement.cli.numbers import Days
from engagement.cli.partitions import print_partitions, report_unreached
from engagement.client import EngagementClient

_MAX_DAYS = 36_500
_AFTER_HOLD = "once `engagement expiry release` ends the hold"

_EPILOG = """\b
Examples:
  engagement retention show
  engagement retention set --days 90 --preview
"""
_SHOW_EPILOG = """\b
Examples:
  engagement retention show
  engagement retention show --server engagement.example.com:50051 --json
"""
_SET_EPILOG = """\b
Examples:
  engagement retention set --days 90 --preview
  engagement retention set --days 90 --yes

Exit status: 0 set or previewed, 1 not confirmed, 2 wrong usage or no connection.
"""


@click.group(cls=Group, epilog=_EPILOG)
def retention() -> None:
    """Show or set how long a server keeps events.

    The retention is a property of the data, the same for all accounts and nodes.
    It counts from the acceptance of an event, whatever time the event carries.
    """


@retention.command(epilog=_SHOW_EPILOG)
@server_option
@click.option("--json", "as_json", is_flag=True, help="Print a Partition in proto-JSON on each line.")
def show(server: str, *, as_json: bool) -> int:
    """Show how long events are kept, and which are removed now."""
    with connect(server) as connection:
        answer = connection.call(EngagementClient.get_server_info)
    print_partitions(answer, _describe, as_json=as_json)
    return ExitStatus.OK


@retention.command("set", epilog=_SET_EPILOG)
@click.option(
    "--days",
    metavar="DAYS",
    type=Days(at_most=_MAX_DAYS),
    required=True,
    help="Remove events this many days after their acceptance.",
)
@click.option("--preview", is_flag=True, help="Only show what would be removed.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@server_option
@click.option("--json", "as_json", is_flag=True, help="Print SetRetentionResponse in proto-JSON.")
def set_retention(*, days: float, preview: bool, yes: bool, server: str, as_json: bool) -> int:
    """Change how long events are kept, on all nodes and for all accounts.

    Shows how many events go at once, and asks for confirmation. Removed events
    cannot be brought back; a longer retention keeps only what is still there.
    """
    if preview and yes:
        raise click.UsageError("Give --preview to look, or --yes to change the retention.")
    if not (preview or yes) and not sys.stdin.isatty():
        raise click.UsageError("Standard input is not a terminal; give --preview, or --yes to confirm.")
    retention = timedelta(days=days)
    wanted = Duration()
    wanted.FromTimedelta(retention)
    with connect(server) as connection:
        info = connection.call(EngagementClient.get_server_info)
        report_unreached(info)
        is_held = any(partition.HasField("expiry_hold") for partition in info.partitions)
        if not yes:
            would = connection.call(lambda client: client.set_retention(retention, validate_only=True))
            if preview and as_json:
                _print_json(would)
                return ExitStatus.OK
            click.echo(
                f"Removed {_AFTER_HOLD if is_held else 'at once'}: {removal_text(would)}.", err=not preview
            )
            if preview:
                return ExitStatus.OK
            if not click.confirm(f"Keep events for {duration_text(wanted)} from now on?", err=True):
                return ExitStatus.INCOMPLETE
        done = connection.call(lambda client: client.set_retention(retention))
    if as_json:
        _print_json(done)
    else:
        when = _AFTER_HOLD if is_held else "now"
        kept, before = duration_text(wanted), duration_text(done.previous_retention)
        click.echo(f"Events are kept for {kept}; before, {before}. Removed {when}: {removal_text(done)}.")
    return ExitStatus.OK


def _describe(partition: v1.Partition) -> Iterator[tuple[str, str]]:
    if not partition.HasField("retention"):
        yield "retention", "not known yet"
        return
    yield "retention", duration_text(partition.retention)
    yield "removes before", time_text(partition.remove_before_time)
    if partition.HasField("expiry_hold"):
        yield "expiry", f"held: {hold_text(partition.expiry_hold)}"
    else:
        yield "expiry", "goes on"


def _print_json(response: v1.SetRetentionResponse) -> None:
    click.echo(json_format.MessageToJson(response, indent=None, always_print_fields_with_no_presence=True))
