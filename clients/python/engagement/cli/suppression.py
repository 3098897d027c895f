"""`engagement suppression` and `lift`: show whether a subject is suppressed, end a suppression."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click

from engagement import v1
from engagement.cli import printing, related_ids
from engagement.cli.connection import connect
from engagement.cli.connection_options import account_option, server_option
from engagement.cli.failures import ExitStatus

_Command = TypeVar("_Command", bound=Callable[..., int])
_COLUMNS = ("by", "suppressed", "lifted", "erasure id", "request id")
_SUPPRESSION_EPILOG = """\b
Examples:
  engagement suppression --consumer c-17 --account acme
  engagement suppression --customer 138766 --account acme --json

Exit status: 0 suppressed, 1 not suppressed, 2 wrong usage or no connection.
"""
_LIFT_EPILOG = """\b
Examples:
  engagement lift --consumer c-17 --account acme
  engagement lift --erasure 0198a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b --account acme

Exit status: 0 nothing is suppressed any more, 1 there is no erasure with this id,
2 wrong usage or no connection.
"""


def _subject_options(command: _Command) -> _Command:
    for option in (
        click.option(
            "--conversation", "conversation_id", metavar="ID", help="The conversation with this id."
        ),
        click.option("--customer", "customer_id", metavar="ID", help="The customer with this id."),
        click.option("--consumer", "consumer_id", metavar="ID", help="The consumer with this id."),
    ):
        command = option(command)
    return command


@click.command(epilog=_SUPPRESSION_EPILOG)
@_subject_options
@server_option
@account_option
@click.option("--json", "as_json", is_flag=True, help="Print the response as one line of proto-JSON.")
def suppression(*, server: str, account: str, as_json: bool, **subject: Any) -> int:  # Any: ids, or None
    """Show whether later events of a subject are suppressed, since when, and by which request.

    Lists suppressions that were lifted as well, latest first.
    """
    if list(subject.values()).count(None) != len(subject) - 1:
        raise click.UsageError("Give exactly one of --consumer, --customer and --conversation.")
    with connect(server, account=account) as connection:
        found = connection.call(lambda client: client.get_suppression(**subject))
    if as_json:
        sys.stdout.write(printing.proto_json(found) + "\n")
    else:
        show(found.suppressions)
    sys.stdout.flush()
    if not found.suppressed:
        click.echo("It is not suppressed.", err=True)
    return ExitStatus.OK if found.suppressed else ExitStatus.INCOMPLETE


def show(suppressions: Iterable[v1.Suppression]) -> None:
    """Prints suppressions, a row for each."""
    rows = printing.Rows(*_COLUMNS, flexible="request id")
    for each in suppressions:
        lifted = each.lift_time.ToJsonString() if each.HasField("lift_time") else ""
        kind = related_ids.kind_name(each.subject_kind)
        rows.add((kind, each.create_time.ToJsonString(), lifted, each.erasure_id, each.request_id))
    rows.finish()


@click.command(epilog=_LIFT_EPILOG)
@_subject_options
@click.option("--erasure", "erasure_id", metavar="ID", help="All subjects of this erasure.")
@server_option
@account_option
def lift(*, server: str, account: str, **subject: Any) -> int:  # Any: its ids, each a text or None
    """Lift a suppression: store new events of a consumer, customer or conversation again.

    Events that were erased never come back, even if they are uploaded again.
    """
    if list(subject.values()).count(None) != len(subject) - 1:
        raise click.UsageError("Give exactly one of --consumer, --customer, --conversation and --erasure.")
    with connect(server, account=account) as connection:
        lifted = connection.call(lambda client: client.lift_suppression(**subject))
    click.echo("The suppression is lifted." if lifted else "Nothing was suppressed.")
    return ExitStatus.OK
