"""The command `engagement top`."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from typing import Final

import click
from google.protobuf import json_format

from engagement import v1
from engagement.cli import printing
from engagement.cli.connection import Connection, connect
from engagement.cli.connection_options import server_option
from engagement.cli.failures import ExitStatus
from engagement.cli.numbers import WholeNumber
from engagement.cli.outage import OutageReport
from engagement.cli.top.charset import charset_of
from engagement.cli.top.page import Page
from engagement.client import EngagementClient
from engagement.errors import EngagementError

_EPILOG: Final = """\b
Examples:
  engagement top
  engagement top --server engagement.example.com:50051 --interval 10
  engagement top --once | less -S
  engagement top --once --json | jq '.rejectedRules[0]'
  engagement top --json --interval 5 | jq -c '.samples[-1]'

A bad producer is a row of the rejected events within ten seconds, such as "742 crm
customer_info.last_payment_date.month int32.gte_lte 99": 742 events of the source crm had a month that is
out of range, and the last one had two digits. In a shape, 9 stands for a digit, a and A for letters.

Exit status: 0 done, 2 wrong usage or no connection, 130 stopped with Ctrl-C.
"""


@click.command(epilog=_EPILOG)
@server_option
@click.option(
    "--interval",
    metavar="SECONDS",
    type=WholeNumber(at_least=1),
    default=2,
    show_default=True,
    help="Seconds between two looks at the server, which takes a sample every five.",
)
@click.option("--once", is_flag=True, help="Print one page, or with --json one object, and end.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print GetServerStatsResponse in proto-JSON, a line a look."
)
def top(server: str, *, interval: int, once: bool, as_json: bool) -> int:
    """Show what a server does now, live: rates, rejected events, lag, store.

    The rates are those of this node over the last ten minutes. Below stand the
    events that it rejected in this hour and the last, by source, field and rule;
    then failed calls, the subscriptions that are behind, files and partitions. It
    shows no value of an event.

    On a terminal the screen is live until q or Ctrl-C, and what was there before
    comes back. If the server goes away, the last answer stays with its age. In a
    pipe or file, the command prints one page and ends; --json goes on, a line
    for each look.
    """
    with connect(server) as connection:
        # An unreachable server shows at once, instead of as an outage.
        stats = connection.call(EngagementClient.get_server_stats)
        if as_json:
            _print_json(stats)
            if not once:
                _follow_in_json(connection, interval_seconds=interval)
            return ExitStatus.OK
        if once or not _can_be_live():
            _print_page(stats, server=server)
            return ExitStatus.OK
        ended_by = _show_live(connection, stats, server=server, interval_seconds=interval)
    if ended_by is not None:
        # The caller is to see the signal that ended the process.
        signal.raise_signal(ended_by)
    return ExitStatus.OK


def _can_be_live() -> bool:
    """Whether the output is a terminal that can give its screen back."""
    is_capable = os.environ.get("TERM", "dumb") not in {"", "dumb"} and sys.platform != "win32"
    return is_capable and printing.is_terminal()


def _show_live(
    connection: Connection, stats: v1.GetServerStatsResponse, *, server: str, interval_seconds: int
) -> signal.Signals | None:
    from engagement.cli.top.screen import Screen  # noqa: PLC0415 - needs a terminal of Unix

    async def run(client: EngagementClient) -> signal.Signals | None:
        charset = charset_of(sys.stdout.encoding)
        return await Screen(stats, server=server, interval_seconds=interval_seconds, charset=charset).run(
            client
        )

    return connection.call(run)


def _print_page(stats: v1.GetServerStatsResponse, *, server: str) -> None:
    page = Page(stats, server=server, charset=charset_of(sys.stdout.encoding))
    width = shutil.get_terminal_size().columns if printing.is_terminal() else None
    sys.stdout.writelines(f"{line.plain}\n" for line in page.whole(width=width))
    sys.stdout.flush()


def _follow_in_json(connection: Connection, *, interval_seconds: int) -> None:
    """Prints a line for each answer, forever; outages are told on standard error."""
    outage = OutageReport()

    async def look(client: EngagementClient) -> v1.GetServerStatsResponse | None:
        try:
            return await client.get_server_stats()
        except EngagementError as error:
            outage.begin(error)
            return None

    while True:
        time.sleep(interval_seconds)
        stats = connection.call(look)
        if stats is not None:
            outage.end()
            _print_json(stats)


def _print_json(stats: v1.GetServerStatsResponse) -> None:
    json = json_format.MessageToJson(stats, indent=None, always_print_fields_with_no_presence=True)
    sys.stdout.write(json + "\n")
    sys.stdout.flush()
