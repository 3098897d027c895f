"""`engagement expiry`: says whether a server holds expiry and why, and ends a hold."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click
from google.protobuf import json_format

from engagement import v1
from engagement.cli.connection import connect
from engagement.cli.connection_options import server_option
from engagement.cli.expiry_texts import hold_text, removal_text, time_text
from engagement.cli.failures import ExitStatus
from engagement.cli.help import Group
from engagement.cli.partitions import print_partitions, report_unreached
from engagement.client import EngagementClient

_EPILOG = """\b
Examples:
  engagement expiry status
  engagement expiry release --yes
"""
_STATUS_EPILOG = """\b
Examples:
  engagement expiry status
  engagement expiry status --json

Exit status: 0 expiry goes on, 1 it is held, 2 wrong usage or no connection.
"""
_RELEASE_EPILOG = """\b
Examples:
  engagement expiry release
  engagement expiry release --yes

Exit status: 0 expiry is not held any more, 1 not confirmed, 2 wrong usage or no connection.
"""


@click.group(cls=Group, epilog=_EPILOG)
def expiry() -> None:
    """Show whether the removal of old events is held, and release it.

    A server holds expiry if a wrong clock could make it remove what is not old.
    Nothing is removed then; everything else goes on.
    """


@expiry.command(epilog=_STATUS_EPILOG)
@server_option
@click.option("--json", "as_json", is_flag=True, help="Print a Partition in proto-JSON on each line.")
def status(server: str, *, as_json: bool) -> int:
    """Show whether expiry is held, why, and what it would remove."""
    with connect(server) as connection:
        answer = connection.call(EngagementClient.get_server_info)
    print_partitions(answer, _describe, as_json=as_json)
    is_held = any(partition.HasField("expiry_hold") for partition in answer.partitions)
    return ExitStatus.INCOMPLETE if is_held else ExitStatus.OK


@expiry.command(epilog=_RELEASE_EPILOG)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@server_option
@click.option("--json", "as_json", is_flag=True, help="Print ReleaseExpiryResponse in proto-JSON.")
def release(*, yes: bool, server: str, as_json: bool) -> int:
    """End a hold on all nodes: remove what is due by the server's clock.

    Shows why expiry is held and how many events go, and asks for confirmation.
    Check the server's clock first: removed events cannot be brought back.
    """
    if not yes and not sys.stdin.isatty():
        raise click.UsageError(
            "Standard input is not a terminal; give --yes to release without confirmation."
        )
    with connect(server) as connection:
        report_unreached(connection.call(EngagementClient.get_server_info))
        if not yes:
            would = connection.call(lambda client: client.release_expiry(validate_only=True))
            if would.HasField("expiry_hold"):
                click.echo(f"Held: {hold_text(would.expiry_hold)}.", err=True)
                click.echo(f"Removed at once: {removal_text(would)}.", err=True)
                if not click.confirm("Is the clock right, and are these to go?", err=True):
                    return ExitStatus.INCOMPLETE
        done = connection.call(EngagementClient.release_expiry)
    if as_json:
        click.echo(json_format.MessageToJson(done, indent=None, always_print_fields_with_no_presence=True))
    elif done.HasField("expiry_hold"):
        click.echo(f"Expiry goes on. Removed now: {removal_text(done)}.")
    else:
        click.echo("Expiry was not held.")
    return ExitStatus.OK


def _describe(partition: v1.Partition) -> Iterator[tuple[str, str]]:
    if not partition.HasField("expiry_hold"):
        yield "expiry", "goes on"
        yield "removed so far", f"{partition.expired_events:,} events"
        return
    hold = partition.expiry_hold
    yield "expiry", "held"
    yield "reason", hold_text(hold)
    yield "since", time_text(hold.hold_time)
    yield "would remove", f"{hold.due_events:,} of {hold.stored_events:,} events"
    yield "removed so far", f"{partition.expired_events:,} events"
    yield "release with", "engagement expiry release"
