"""`engagement profile`: shows the latest attributes of one consumer, with the event of each value."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Final

import click
from google.protobuf import json_format

from engagement import v1
from engagement.cli import printing, stored_events
from engagement.cli.connection import connect
from engagement.cli.connection_options import account_option, server_option
from engagement.cli.failures import ExitStatus
from engagement.cli.moment import write_epoch_ms

_NAMES: Final = ("attribute", "value", "time", "authenticated", "event_id")
_EPILOG = """\b
Examples:
  engagement profile --consumer c-17 --account acme
  engagement profile --customer NW-20418 --replace --account acme
  engagement profile --consumer c-17 --account acme --json | jq .customerInfo

Exit status: 0 found, 1 not found, 2 wrong usage or no connection.
"""


@click.command(epilog=_EPILOG)
@click.option("--consumer", metavar="ID", help="The consumer with this id.")
@click.option("--customer", metavar="ID", help="The consumer last seen with this customer id.")
@click.option(
    "--replace",
    is_flag=True,
    help="Show only the latest event of each attribute set, instead of merging all events.",
)
@server_option
@account_option
@click.option("--json", "as_json", is_flag=True, help="Print the Profile as one line of proto-JSON.")
def profile(  # noqa: PLR0913 - one for each option
    *,
    consumer: str | None,
    customer: str | None,
    replace: bool,
    server: str,
    account: str,
    as_json: bool,
) -> int:
    """Show the latest attributes of one consumer.

    Each attribute keeps its latest value, even if later events omit it. Values
    whose source vouched for the customer win over all others. Beside each value
    are the time and the id of its event.
    """
    if (consumer is None) == (customer is None):
        raise click.UsageError("Give either --consumer or --customer.")
    folding = v1.Folding.FOLDING_REPLACE if replace else v1.Folding.FOLDING_MERGE
    with connect(server, account=account) as connection:
        found = connection.call(
            lambda client: client.get_profile(consumer_id=consumer, customer_id=customer, folding=folding)
        )
    if as_json:
        sys.stdout.write(json_format.MessageToJson(found, indent=None, ensure_ascii=False) + "\n")
    else:
        show(found)
    sys.stdout.flush()
    return ExitStatus.OK


def show(found: v1.Profile) -> None:
    """Prints a profile, a row for each value."""
    rows = printing.Rows(*_NAMES, flexible="value")
    for row in _to_rows(found):
        rows.add(row)
    rows.finish()


def _to_rows(found: v1.Profile) -> Iterator[tuple[str, ...]]:
    """The rows for _NAMES, starting with the consumer's id. Values that were left out come last."""
    if found.consumer_id:
        yield "consumerId", printing.visible(found.consumer_id), "", "", ""
    for set_name in ("customer_info", "personal_info"):
        attributes = getattr(found, set_name)
        for field_name, name, value in stored_events.values_of(attributes):
            yield _to_row(name, value, found.sources[f"{set_name}.{field_name}"])
    for path in found.omitted_fields:
        set_name, _, field_name = path.partition(".")
        name = getattr(found, set_name).DESCRIPTOR.fields_by_name[field_name].json_name
        yield _to_row(name, "(too large to show here: get the event)", found.sources[path])


def _to_row(name: str, value: str, source: v1.ValueSource) -> tuple[str, ...]:
    return (
        name,
        printing.visible(value) if name == stored_events.CUSTOMER_ID else value,
        write_epoch_ms(source.server_time_stamp),
        "true" if source.authenticated else "false",
        printing.visible(source.event_id),
    )
