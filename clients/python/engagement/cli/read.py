"""`engagement get` and `engagement list`: read stored events."""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import islice

import click

from engagement import v1
from engagement.cli import printing, stored_events, wrong_account
from engagement.cli.connection import connect
from engagement.cli.connection_options import account_option, server_option
from engagement.cli.damage import LeftOut, skip_damaged_option
from engagement.cli.event_filter import filter_options
from engagement.cli.event_json import to_json
from engagement.cli.failures import ExitStatus
from engagement.cli.numbers import WholeNumber

_TERMINAL_LIMIT = 100
_MAX_PAGE_EVENTS = 1000
_MAX_CELL_CHARACTERS = 60

_GET_EPILOG = """\b
Examples:
  engagement get 0198a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b --account acme
  engagement get --cursor CURSOR --account acme --json

Exit status: 0 found, 1 not found, 2 wrong usage or no connection.
"""
_LIST_EPILOG = """\b
Examples:
  engagement list --account acme --consumer c-17 --newest-first
  engagement list --account acme --subject c-17
  engagement list --account acme --set customer --status vip --since 2024-05-01
  engagement list --account acme --text '"bank corp" broker'
  engagement list --account acme --json > backup.ndjson
  engagement list --account acme --json | jq -c .event > events.ndjson

Exit status: 0 done, also if no event matches; 1 damaged events were left out; 2 wrong
usage or no connection.
"""


@click.command(epilog=_GET_EPILOG)
@click.argument("event_id", required=False)
@click.option("--cursor", help="Get the event at this cursor.")
@server_option
@account_option
@click.option("--json", "as_json", is_flag=True, help="Print the StoredEvent as one line of proto-JSON.")
def get(event_id: str | None, *, cursor: str | None, server: str, account: str, as_json: bool) -> int:
    """Show one stored event in full."""
    if (event_id is None) == (cursor is None):
        raise click.UsageError("Give either an EVENT_ID or --cursor.")
    with connect(server, account=account) as connection:
        stored = connection.call(lambda client: client.get_event(event_id=event_id, cursor=cursor))
    if as_json:
        _print_json(stored)
    else:
        printing.print_pairs(stored_events.to_pairs(stored))
    sys.stdout.flush()
    return ExitStatus.OK


@click.command("list", epilog=_LIST_EPILOG)
@filter_options
@click.option("--newest-first", is_flag=True, help="Reverse the order: latest accepted first.")
@click.option(
    "--limit",
    metavar="N",
    type=WholeNumber(at_least=0),
    help=f"Maximum number of events; 0 is all.  [default: {_TERMINAL_LIMIT} on a terminal, else all]",
)
@skip_damaged_option
@server_option
@account_option
@click.option("--json", "as_json", is_flag=True, help="Print a StoredEvent in proto-JSON on each line.")
def list_events(  # noqa: PLR0913 - one for each option
    *,
    newest_first: bool,
    limit: int | None,
    skip_damaged: bool,
    server: str,
    account: str,
    as_json: bool,
    wanted: v1.EventFilter,
) -> int:
    """List stored events in the order of their acceptance.

    On a terminal the output is a table without ids, and long values are cut. In
    a pipe or file it is tab-separated and complete: a header, escaped control
    characters, and ids at the end. --json is exact.
    """
    has_default_limit = limit is None and printing.is_terminal()
    limit = _TERMINAL_LIMIT if has_default_limit else limit or 0
    show, finish = _printer(as_json=as_json)
    left_out = LeftOut(is_allowed=skip_damaged)
    page_size = min(limit + 1, _MAX_PAGE_EVENTS) if limit else _MAX_PAGE_EVENTS
    with connect(server, account=account) as connection:
        events = connection.iterate(
            lambda client: client.list_events(
                wanted, newest_first=newest_first, page_size=page_size, on_damage=left_out.on_damage
            ),
            at_once=page_size,
        )
        has_any = False
        for stored in islice(events, limit or None):
            has_any = True
            show(stored)
        is_cut = has_default_limit and next(events, None) is not None
    finish()
    sys.stdout.flush()
    if not has_any and wanted == v1.EventFilter() and not left_out.has_any:
        wrong_account.report(account)
    if is_cut:
        click.echo(f"There are more than these {limit:,} events; --limit 0 shows them all.", err=True)
    return left_out.status


def _printer(*, as_json: bool) -> tuple[Callable[[v1.StoredEvent], None], Callable[[], None]]:
    """A function that prints one event, and one that ends the printing."""
    if as_json:
        return _print_json, lambda: None
    if printing.is_terminal():
        table = printing.Rows(*stored_events.ROW_NAMES, flexible="attributes")
        return (
            lambda stored: table.add(stored_events.to_row(stored, max_value_characters=_MAX_CELL_CHARACTERS)),
            table.finish,
        )
    lines = printing.Rows(*stored_events.FULL_ROW_NAMES, flexible="attributes")
    return lambda stored: lines.add(stored_events.to_full_row(stored)), lines.finish


def _print_json(stored: v1.StoredEvent) -> None:
    sys.stdout.write(to_json(stored) + "\n")
