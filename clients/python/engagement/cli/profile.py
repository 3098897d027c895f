"""`engagement profile`: shows the latest attributes of one consumer, with the event of each value."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Final

import click
from google.protobuf.timestamp_pb2 import Timestamp

from engagement import v1
from engagement.cli import printing, stored_events
from engagement.cli.connection import Connection, connect
from engagement.cli.connection_options import account_option, server_option
from engagement.cli.failures import CommandError, ExitStatus
from engagement.cli.moment import read_moment, write_epoch_ms

_NAMES: Final = ("attribute", "value", "time", "authenticated", "event_id", "source")
_BEATEN_NAMES: Final = ("attribute", "why", "time", "authenticated", "event_id", "source")
_WHY: Final = {
    v1.BeatenValue.RULE_AUTHENTICATED: "only the source of the value shown vouched for the customer",
    v1.BeatenValue.RULE_LATER: "the value shown is of a later time",
    v1.BeatenValue.RULE_FUTURE: "its time has not come yet",
}
_EPILOG = """\b
Examples:
  engagement profile --consumer c-17 --account acme
  engagement profile --customer NW-20418 --replace --account acme
  engagement profile --consumer c-17 --as-of 2024-05-31 --account acme
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
@click.option(
    "--as-of",
    callback=read_moment,
    metavar="TIME",
    help="Show the profile as it was at this time: only of events with an earlier time.",
)
@click.option(
    "--accepted-before",
    callback=read_moment,
    metavar="TIME",
    help="Show what the server would have answered at this time: only events accepted earlier.",
)
@server_option
@account_option
@click.option("--json", "as_json", is_flag=True, help="Print the Profile as one line of proto-JSON.")
def profile(  # noqa: PLR0913 - one for each option
    *,
    consumer: str | None,
    customer: str | None,
    replace: bool,
    as_of: Timestamp | None,
    accepted_before: Timestamp | None,
    server: str,
    account: str,
    as_json: bool,
) -> int:
    """Show the latest attributes of one consumer.

    Each attribute keeps its latest value, even if later events omit it. Values
    whose source vouched for the customer win over all others. Beside each value
    are the time, the id and the source of its event. matchedCustomerStatus and
    matchedCustomerType are the names in the account's lists that they matched.

    A second table shows the values that were accepted later and lost
    nevertheless: of each attribute the one accepted last, and why.

    A profile of the past has only events that are still stored.
    """
    if (consumer is None) == (customer is None):
        raise click.UsageError("Give either --consumer or --customer.")
    folding = v1.Folding.FOLDING_REPLACE if replace else v1.Folding.FOLDING_MERGE
    with connect(server, account=account) as connection:
        found = connection.call(
            lambda client: client.get_profile(
                consumer_id=consumer,
                customer_id=customer,
                folding=folding,
                before=as_of,
                accepted_before=accepted_before,
            )
        )
        others = [] if customer is None or as_json else _other_consumers(connection, customer, found)
    if as_json:
        sys.stdout.write(printing.proto_json(found) + "\n")
    else:
        show(found)
    sys.stdout.flush()
    if others:
        ids = ", ".join(map(printing.quoted, others))
        click.echo(f"Other consumers were seen with this customer id: {ids}.", err=True)
    return ExitStatus.OK


def _other_consumers(connection: Connection, customer_id: str, found: v1.Profile) -> list[str]:
    """The consumers of a customer whose events the profile has not; none if that cannot be told now."""
    try:
        person = connection.call(lambda client: client.get_person(customer_id))
    except CommandError:
        return []
    together = v1.RelatedId.RELATION_SEEN_TOGETHER
    consumers = [
        each.id
        for each in person.related
        if each.kind == v1.SubjectKind.SUBJECT_KIND_CONSUMER_ID and each.relation == together
    ]
    return [each for each in consumers if each != found.consumer_id]


def show(found: v1.Profile) -> None:
    """Prints a profile, a row for each value, and one for each value that lost."""
    rows = printing.Rows(*_NAMES, flexible="value")
    for row in _to_rows(found):
        rows.add(row)
    rows.finish()
    lost = [*_to_beaten_rows(found)]
    if lost:
        printing.print_lines(["", "Accepted later, but not shown:"])
        rows = printing.Rows(*_BEATEN_NAMES, flexible="why")
        for row in lost:
            rows.add(row)
        rows.finish()


def _to_rows(found: v1.Profile) -> Iterator[tuple[str, ...]]:
    """The rows for _NAMES, starting with the consumer's id. Values that were left out come last."""
    if found.consumer_id:
        yield "consumerId", printing.visible(found.consumer_id), "", "", "", ""
    for set_name in ("customer_info", "personal_info"):
        attributes = getattr(found, set_name)
        for field_name, name, value in stored_events.values_of(attributes):
            source = found.sources[f"{set_name}.{field_name}"]
            yield _to_row(name, value, source)
            if field_name == "customer_status" and found.matched_customer_status:
                yield _to_row("matchedCustomerStatus", found.matched_customer_status, source)
            if field_name == "customer_type" and found.matched_customer_type:
                yield _to_row("matchedCustomerType", found.matched_customer_type, source)
    for path in found.omitted_fields:
        set_name, _, field_name = path.partition(".")
        name = getattr(found, set_name).DESCRIPTOR.fields_by_name[field_name].json_name
        yield _to_row(name, "(too large to show here: get the event)", found.sources[path])


def _to_beaten_rows(found: v1.Profile) -> Iterator[tuple[str, ...]]:
    """The rows for _BEATEN_NAMES, in the order of the attributes, without the time stamp of the event."""
    for set_name in ("customer_info", "personal_info"):
        for field in getattr(found, set_name).DESCRIPTOR.fields:
            path = f"{set_name}.{field.name}"
            if path in found.beaten and field.name != "server_time_stamp":
                beaten = found.beaten[path]
                yield _to_row(field.json_name, _WHY.get(beaten.rule, "unknown"), beaten.source)


def _to_row(name: str, value: str, source: v1.ValueSource) -> tuple[str, ...]:
    return (
        name,
        printing.visible(value) if name == stored_events.CUSTOMER_ID else value,
        write_epoch_ms(source.server_time_stamp),
        "true" if source.authenticated else "false",
        printing.visible(source.event_id),
        printing.visible(source.source),
    )
