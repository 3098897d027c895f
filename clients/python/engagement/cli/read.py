"""`engagement get` and `engagement list`: read stored events."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import click
from google.protobuf import json_format
from google.protobuf.timestamp_pb2 import Timestamp

from engagement import v1
from engagement.cli import printing, stored_events
from engagement.cli.connection import connect
from engagement.cli.failures import ExitStatus
from engagement.cli.moment import read_moment
from engagement.cli.options import account_option, server_option

_TERMINAL_LIMIT = 100
_MAX_PAGE_EVENTS = 1000
_MAX_CELL_CHARACTERS = 60
_SETS = {
    "customer": v1.AttributeSet.ATTRIBUTE_SET_CUSTOMER_INFO,
    "personal": v1.AttributeSet.ATTRIBUTE_SET_PERSONAL_INFO,
}

_GET_EPILOG = """\b
Examples:
  engagement get 0198a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b --account acme
  engagement get --cursor CURSOR --account acme --json

\b
Exit status: 0 found, 1 not found, 2 wrong usage or no connection.
"""
_LIST_EPILOG = """\b
Examples:
  engagement list --account acme --consumer c-17 --newest-first
  engagement list --account acme --set customer --status vip --since 2024-05-01
  engagement list --account acme --text '"bank corp" broker'
  engagement list --account acme --json > backup.ndjson
  engagement list --account acme --json | jq -c .event > events.ndjson
"""


@click.command(epilog=_GET_EPILOG)
@click.argument("event_id", required=False)
@click.option("--cursor", help="Get the event at this cursor instead of the one with an id.")
@server_option
@account_option
@click.option("--json", "as_json", is_flag=True, help="Print the StoredEvent as one line of proto-JSON.")
def get(event_id: str | None, *, cursor: str | None, server: str, account: str, as_json: bool) -> int:
    """Show one stored event with everything that is known about it."""
    if (event_id is None) == (cursor is None):
        raise click.UsageError("Give either an EVENT_ID or --cursor.")
    with connect(server, account=account) as connection:
        stored = connection.ask(lambda client: client.get_event(event_id=event_id, cursor=cursor))
    if as_json:
        _print_json(stored)
    else:
        printing.print_pairs(stored_events.to_pairs(stored))
    sys.stdout.flush()
    return ExitStatus.OK


@click.command("list", epilog=_LIST_EPILOG)
@click.option("--consumer", "consumers", multiple=True, metavar="ID", help="Events about this consumer.")
@click.option("--conversation", "conversations", multiple=True, metavar="ID", help="Of this conversation.")
@click.option("--customer", "customers", multiple=True, metavar="ID", help="With this customer id.")
@click.option(
    "--status", "statuses", multiple=True, metavar="STATUS", help="With this customer status, in any case."
)
@click.option("--type", "types", multiple=True, metavar="TYPE", help="With this customer type, in any case.")
@click.option("--set", "sets", multiple=True, type=click.Choice(list(_SETS)), help="Of this attribute set.")
@click.option(
    "--authenticated/--unauthenticated",
    default=None,
    help="Only events whose source vouched for the customer, or only others.  [default: both]",
)
@click.option("--since", callback=read_moment, metavar="TIME", help="Not before this time.")
@click.option("--until", callback=read_moment, metavar="TIME", help="Before this time.")
@click.option("--text", default="", metavar="WORDS", help='With all these words; "a phrase" keeps its order.')
@click.option("--newest-first", is_flag=True, help="Latest accepted first, instead of last.")
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(min=0),
    help=f"At most so many; 0 is all.  [default: {_TERMINAL_LIMIT} on a terminal, else all]",
)
@server_option
@account_option
@click.option("--json", "as_json", is_flag=True, help="Print a StoredEvent in proto-JSON on each line.")
def list_events(
    *,
    newest_first: bool,
    limit: int | None,
    server: str,
    account: str,
    as_json: bool,
    **choices: Any,  # the options of _to_filter, which has their types
) -> int:
    """List stored events in the order of their acceptance.

    Several different options must all hold; of one option given several times
    any value will do. TIME is RFC 3339, a date, or epoch milliseconds; without a
    zone it is UTC.

    On a terminal this is a table that leaves out ids and cuts long values. In a
    pipe or file it is tab-separated, with a line of names, control characters as
    escapes, and the ids at the end. --json is complete and exact.
    """
    wanted = _to_filter(**choices)
    has_default_limit = limit is None and printing.is_terminal()
    limit = _TERMINAL_LIMIT if has_default_limit else limit or 0
    show, finish = _printer(as_json=as_json)
    page_size = min(limit + 1, _MAX_PAGE_EVENTS) if limit else _MAX_PAGE_EVENTS
    with connect(server, account=account) as connection:
        events = connection.walk(
            lambda client: client.list_events(wanted, newest_first=newest_first, page_size=page_size),
            at_once=page_size,
        )
        for stored in islice(events, limit or None):
            show(stored)
        is_cut = has_default_limit and next(events, None) is not None
    finish()
    sys.stdout.flush()
    if is_cut:
        click.echo(f"There are more than these {limit:,} events; --limit 0 shows them all.", err=True)
    return ExitStatus.OK


def _to_filter(  # noqa: PLR0913 - one for each option
    *,
    consumers: Sequence[str],
    conversations: Sequence[str],
    customers: Sequence[str],
    statuses: Sequence[str],
    types: Sequence[str],
    sets: Sequence[str],
    authenticated: bool | None,
    since: Timestamp | None,
    until: Timestamp | None,
    text: str,
) -> v1.EventFilter:
    return v1.EventFilter(
        attribute_sets=[_SETS[name] for name in sets],
        consumer_ids=consumers,
        conversation_ids=conversations,
        customer_ids=customers,
        customer_statuses=statuses,
        customer_types=types,
        authenticated=authenticated,
        start_time=since,
        end_time=until,
        text=text,
    )


def _printer(*, as_json: bool) -> tuple[Callable[[v1.StoredEvent], None], Callable[[], None]]:
    """What prints one event, and what ends the printing."""
    if as_json:
        return _print_json, lambda: None
    if printing.is_terminal():
        table = printing.Rows(*stored_events.ROW_NAMES)
        return (
            lambda stored: table.add(stored_events.to_row(stored, max_value_characters=_MAX_CELL_CHARACTERS)),
            table.finish,
        )
    lines = printing.Rows(*stored_events.FULL_ROW_NAMES)
    return lambda stored: lines.add(stored_events.to_full_row(stored)), lines.finish


def _print_json(stored: v1.StoredEvent) -> None:
    sys.stdout.write(json_format.MessageToJson(stored, indent=None, ensure_ascii=False) + "\n")
