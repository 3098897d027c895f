"""`engagement erase`, `erasures` and `lift`: erase a person, list erasures, end a suppression."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import click
from google.protobuf import json_format

from engagement import v1
from engagement.cli import printing
from engagement.cli.connection import Connection, connect
from engagement.cli.connection_options import account_option, server_option
from engagement.cli.failures import ExitStatus
from engagement.client import EngagementClient
from engagement.errors import DeadlineError
from engagement.uuid7 import uuid7

_Command = TypeVar("_Command", bound=Callable[..., int])
_SHOWN_SAMPLES = 5
_COLUMNS = ("erasure id", "created", "completed", "by", "erased", "suppressing", "request id")

_ERASE_EPILOG = """\b
Examples:
  engagement erase --consumer c-17 --account acme
  engagement erase --customer 138766 --suppress --request-id ticket-881 --yes --account acme

Exit status: 0 erased, 1 not confirmed, 2 wrong usage or no connection.
"""
_ERASURES_EPILOG = """\b
Examples:
  engagement erasures --account acme
  engagement erasures 0198a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b --account acme --json
"""
_LIFT_EPILOG = """\b
Examples:
  engagement lift --consumer c-17 --account acme
  engagement lift --erasure 0198a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b --account acme
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


@click.command(epilog=_ERASE_EPILOG)
@_subject_options
@click.option(
    "--suppress",
    is_flag=True,
    help="Do not store later events of the subject, until the suppression is lifted.",
)
@click.option(
    "--request-id",
    metavar="ID",
    help="Id of the request; repeat it to wait for the same erasure.  [default: a new one, printed]",
)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@server_option
@account_option
@click.option("--json", "as_json", is_flag=True, help="Print the Erasure as one line of proto-JSON.")
def erase(  # noqa: PLR0913 - one for each option
    *,
    suppress: bool,
    request_id: str | None,
    yes: bool,
    server: str,
    account: str,
    as_json: bool,
    **subject: Any,  # the options of _subject_options
) -> int:
    """Permanently erase all events of a consumer, a customer or a conversation.

    Shows the number of events and asks for confirmation. Returns once no byte of
    them is left in the server's files. The erasure completes even if the command
    is stopped.
    """
    if list(subject.values()).count(None) != len(subject) - 1:
        raise click.UsageError("Give exactly one of --consumer, --customer and --conversation.")
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("Standard input is not a terminal; give --yes to erase without confirmation.")
    request_id = request_id or uuid7()
    with connect(server, account=account) as connection:
        if not yes:
            preview = connection.call(lambda client: client.erase_consumer(**subject, validate_only=True))
            _show_preview(preview, account=account, suppress=suppress)
            if not click.confirm("Erase them permanently?", err=True):
                return ExitStatus.INCOMPLETE
        click.echo(f"Request id: {request_id}", err=True)
        erasure = _erase(connection, request_id=request_id, suppress=suppress, **subject)
    _show(erasure, as_json=as_json)
    return ExitStatus.OK


@click.command(epilog=_ERASURES_EPILOG)
@click.argument("erasure_id", required=False)
@server_option
@account_option
@click.option("--json", "as_json", is_flag=True, help="Print an Erasure in proto-JSON on each line.")
def erasures(erasure_id: str | None, *, server: str, account: str, as_json: bool) -> int:
    """List the erasures of an account, newest first, or show one."""
    with connect(server, account=account) as connection:
        if erasure_id is not None:
            _show(connection.call(lambda client: client.get_erasure(erasure_id)), as_json=as_json)
            return ExitStatus.OK
        rows = printing.Rows(*_COLUMNS, flexible="request id")
        for erasure in connection.iterate(lambda client: client.list_erasures(), at_once=1000):
            if as_json:
                _print_json(erasure)
            else:
                rows.add([value for _, value in _pairs(erasure)])
        if not as_json:
            rows.finish()
    sys.stdout.flush()
    return ExitStatus.OK


@click.command(epilog=_LIFT_EPILOG)
@_subject_options
@click.option("--erasure", "erasure_id", metavar="ID", help="The subject of this erasure.")
@server_option
@account_option
def lift(*, server: str, account: str, **subject: Any) -> int:  # Any: its ids, each a text or None
    """Lift a suppression: store events of a consumer, customer or conversation again."""
    if list(subject.values()).count(None) != len(subject) - 1:
        raise click.UsageError("Give exactly one of --consumer, --customer, --conversation and --erasure.")
    with connect(server, account=account) as connection:
        lifted = connection.call(lambda client: client.lift_suppression(**subject))
    click.echo("The suppression is lifted." if lifted else "Nothing was suppressed.")
    return ExitStatus.OK


def _erase(
    connection: Connection,
    *,
    request_id: str,
    suppress: bool,
    **subject: Any,  # as above
) -> v1.Erasure:
    """Waits until the erasure is complete, however long it takes."""

    async def attempt(client: EngagementClient) -> v1.Erasure | None:
        try:
            return await client.erase_consumer(**subject, request_id=request_id, suppress=suppress)
        except DeadlineError:
            return None

    while (erasure := connection.call(attempt)) is None:
        click.echo("Still erasing.", err=True)
    return erasure


def _show_preview(preview: v1.Erasure, *, account: str, suppress: bool) -> None:
    click.echo(f"{preview.matched_events:,} events of account {account} would be erased.", err=True)
    for event_id in preview.sample_event_ids[:_SHOWN_SAMPLES]:
        click.echo(f"  {printing.printable(printing.visible(event_id))}", err=True)
    if preview.matched_events > _SHOWN_SAMPLES:
        click.echo(f"  and {preview.matched_events - _SHOWN_SAMPLES:,} more", err=True)
    if suppress:
        click.echo("Later events of the subject would not be stored.", err=True)


def _show(erasure: v1.Erasure, *, as_json: bool) -> None:
    if as_json:
        _print_json(erasure)
    else:
        printing.print_pairs(_pairs(erasure))
    sys.stdout.flush()


def _pairs(erasure: v1.Erasure) -> Iterator[tuple[str, str]]:
    completed = erasure.complete_time.ToJsonString() if erasure.HasField("complete_time") else "still running"
    kind = v1.SubjectKind.Name(erasure.subject_kind).removeprefix("SUBJECT_KIND_").lower()
    values = (
        erasure.erasure_id,
        erasure.create_time.ToJsonString(),
        completed,
        kind.replace("_", " "),
        f"{erasure.erased_events}",
        "yes" if erasure.suppressing else "no",
        erasure.request_id,
    )
    return zip(_COLUMNS, values, strict=True)


def _print_json(erasure: v1.Erasure) -> None:
    sys.stdout.write(json_format.MessageToJson(erasure, indent=None, ensure_ascii=False) + "\n")
