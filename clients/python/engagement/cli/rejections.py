"""`engagement rejections`: counts rejected events by source, field and rule."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Final

import click
from google.protobuf.timestamp_pb2 import Timestamp

from engagement import v1
from engagement.cli import printing
from engagement.cli.connection import connect
from engagement.cli.connection_options import account_option, server_option
from engagement.cli.failures import ExitStatus
from engagement.cli.moment import read_moment
from engagement.cli.outcomes import reason_name

_COUNT_COLUMNS: Final = ("source", "field", "rule", "events", "first hour", "last hour")
_RECENT_COLUMNS: Final = ("time", "method", "source", "field", "rule", "shape", "problem")
_OTHER: Final = "(others)"
_EPILOG = """\b
Examples:
  engagement rejections --account acme
  engagement rejections --account acme --source crm --since 2024-05-31
  engagement rejections --account acme --json | jq '.counts[0]'

Exit status: 0 done, 2 wrong usage or no connection.
"""


@click.command(epilog=_EPILOG)
@click.option(
    "--since",
    callback=read_moment,
    metavar="TIME",
    help="Only events rejected in the hour of this time or later.",
)
@click.option(
    "--until",
    callback=read_moment,
    metavar="TIME",
    help="Only events rejected before this time, or in the same hour.",
)
@click.option(
    "--source", metavar="NAME", help='Only events with exactly this source; "" means events without one.'
)
@server_option
@account_option
@click.option("--json", "as_json", is_flag=True, help="Print the ListRejectionsResponse in proto-JSON.")
def rejections(  # noqa: PLR0913 - one for each option
    *,
    since: Timestamp | None,
    until: Timestamp | None,
    source: str | None,
    server: str,
    account: str,
    as_json: bool,
) -> int:
    """Count the rejected events of an account by source, field and rule.

    Single calls, batches and uploads count, the rules of most events first; the
    last few events follow with the shape of the value: 9 stands for a digit, a and
    A for letters. A server counts what it has rejected itself in the last 48
    hours, since its start; ask each node of a cluster.

    TIME is a date, RFC 3339 or epoch milliseconds, in UTC unless it names a zone.
    """
    with connect(server, account=account) as connection:
        found = connection.call(
            lambda client: client.list_rejections(start_time=since, end_time=until, source=source)
        )
    if as_json:
        sys.stdout.write(printing.proto_json(found) + "\n")
    elif found.rejected_events or found.recent:
        _print_rows(_COUNT_COLUMNS, map(_count_row, found.counts), flexible="field")
        if found.recent:
            sys.stdout.write("\n")
            _print_rows(_RECENT_COLUMNS, map(_recent_row, found.recent), flexible="problem")
    sys.stdout.flush()
    _report(found)
    return ExitStatus.OK


def _report(found: v1.ListRejectionsResponse) -> None:
    """Says on standard error how many events these are, and since when the server counts."""
    number = f"{found.rejected_events:,}" if found.rejected_events else "No"
    events = "events" if found.rejected_events > 1 else "event"
    counted = " is counted" if found.incomplete and not found.rejected_events else ""
    click.echo(
        f"{number} rejected {events}{counted};"
        f" the server counts since {found.record_start_time.ToJsonString()}.",
        err=True,
    )
    if found.incomplete:
        click.echo("There were too many accounts, sources or rules to count them all apart.", err=True)


def _print_rows(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]], *, flexible: str) -> None:
    printed = printing.Rows(*columns, flexible=flexible)
    for row in rows:
        printed.add(row)
    printed.finish()


def _count_row(count: v1.RejectionCount) -> tuple[str, ...]:
    hours = [hour.start_time.ToJsonString() for hour in count.hours]
    return (
        _OTHER if count.other else printing.visible(count.source),
        _OTHER if count.other and not count.reason else count.field,
        count.rule or _reason(count.reason),
        str(count.events),
        hours[0],
        hours[-1],
    )


def _recent_row(recent: v1.RecentRejection) -> tuple[str, ...]:
    return (
        recent.reject_time.ToJsonString(),
        recent.method,
        printing.visible(recent.source),
        recent.field,
        recent.rule or _reason(recent.reason),
        recent.value_shape,
        recent.description,
    )


def _reason(reason: v1.ErrorReason) -> str:
    return reason_name(reason) if reason else ""
