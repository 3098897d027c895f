"""`engagement erase` and `erasures`: erase a person, list erasures."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence

import click

from engagement import v1
from engagement.cli import printing, related_ids, wrong_account
from engagement.cli.connection import Connection, connect
from engagement.cli.connection_options import account_option, server_option
from engagement.cli.failures import CommandError, CommandInterruptedError, ExitStatus
from engagement.client import EngagementClient
from engagement.errors import DeadlineError, InternalError, UnavailableError
from engagement.privacy_calls import Ids
from engagement.uuid7 import uuid7

_SHOWN_SAMPLES = 5
_COLUMNS = ("erasure id", "created", "completed", "by", "erased", "cleared", "suppressing", "request id")

_ERASE_EPILOG = """\b
Examples:
  engagement erase --consumer c-17 --dry-run --account acme
  engagement erase --consumer c-17 --customer 138766 --account acme
  engagement erase --customer 138766 --suppress --request-id ticket-881 --yes --account acme
  engagement erase --event 0198a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b --account acme

Exit status: 0 erased (or found, with --dry-run), 1 nothing found or not confirmed,
2 wrong usage or no connection, 130 stopped with Ctrl-C.
"""
_ERASURES_EPILOG = """\b
Examples:
  engagement erasures --account acme
  engagement erasures --request-id ticket-881 --account acme
  engagement erasures --subject 138766 --account acme
  engagement erasures 0198a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b --account acme --json

Exit status: 0 done, also if no erasure matches; 1 there is no erasure with this id;
2 wrong usage or no connection.
"""


@click.command(epilog=_ERASE_EPILOG)
@click.option("--consumer", metavar="ID", multiple=True, help="All events with this consumer id; repeatable.")
@click.option("--customer", metavar="ID", multiple=True, help="All events with this customer id; repeatable.")
@click.option(
    "--conversation", metavar="ID", multiple=True, help="All events with this conversation id; repeatable."
)
@click.option("--event", metavar="ID", multiple=True, help="The event with this id; repeatable.")
@click.option("--cursor", metavar="CURSOR", multiple=True, help="The event at this cursor; repeatable.")
@click.option(
    "--suppress",
    is_flag=True,
    help="Do not store later events of these consumers, customers and conversations.",
)
@click.option(
    "--request-id",
    metavar="ID",
    help="Id of the request, kept for good; repeat it to wait for the same erasure.  [default: a new one]",
)
@click.option(
    "--dry-run", is_flag=True, help="Show what would be erased and what would be left; erase nothing."
)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@server_option
@account_option
@click.option("--json", "as_json", is_flag=True, help="Print the Erasure as one line of proto-JSON.")
def erase(  # noqa: PLR0913 - one for each option
    *,
    consumer: Sequence[str],
    customer: Sequence[str],
    conversation: Sequence[str],
    event: Sequence[str],
    cursor: Sequence[str],
    suppress: bool,
    request_id: str | None,
    dry_run: bool,
    yes: bool,
    server: str,
    account: str,
    as_json: bool,
) -> int:
    """Permanently erase all events of a person, or single events.

    All ids that are given are erased as one, exactly as they are written. Ids
    that were seen together with them, and other spellings, are listed with the
    number of events that stay there: add those that are the same person.

    Shows the number of events and asks for confirmation. Returns once no byte of
    them is left in the server's files. The erasure completes even if the command
    is stopped. Rejected events of uploads lose their ids as well.
    """
    subjects = {"consumer": consumer, "customer": customer, "conversation": conversation}
    _require_usable(subjects, has_events=bool(event or cursor), suppress=suppress)
    if not (yes or dry_run or sys.stdin.isatty()):
        raise click.UsageError(
            "Standard input is not a terminal; give --dry-run to see what would be erased, or --yes to erase"
            " without confirmation."
        )
    with connect(server, account=account) as connection:
        event_ids = [*event, *_ids_at(connection, cursor)]
        erasing = _Erasing(connection, subjects, event_ids, suppress=suppress)
        if dry_run:
            return erasing.rehearse(account=account, request_id=request_id or "", as_json=as_json)
        if not (yes or erasing.is_confirmed(account=account)):
            return ExitStatus.INCOMPLETE
        erasure = erasing.erase(request_id or uuid7())
        if yes and not erasure.erased_events:
            wrong_account.report_if_empty(connection, account)
    erasing.show_unmatched(erasure)
    if erasure.erasure_id or as_json:
        _show(erasure, as_json=as_json)
    if not erasure.erasure_id:
        click.echo("Nothing was erased.", err=True)
    related_ids.show(erasure.related, has_more=erasure.has_more_related, text=related_ids.STAY)
    return ExitStatus.OK if erasure.erasure_id else ExitStatus.INCOMPLETE


def _require_usable(subjects: Mapping[str, Sequence[str]], *, has_events: bool, suppress: bool) -> None:
    """Raises click.UsageError if the options name nothing, or nothing that can be suppressed."""
    if any(subjects.values()):
        return
    if not has_events:
        raise click.UsageError("Give --consumer, --customer, --conversation, --event or --cursor.")
    if suppress:
        raise click.UsageError("--suppress needs --consumer, --customer or --conversation.")


class _Erasing:
    """A request to erase, as the options name it."""

    def __init__(
        self,
        connection: Connection,
        subjects: Mapping[str, Sequence[str]],
        event_ids: Sequence[str],
        *,
        suppress: bool,
    ) -> None:
        """`subjects` are ids by their kind, such as "consumer"."""
        self._connection = connection
        self._ids: dict[str, Ids] = {f"{kind}_id": ids for kind, ids in subjects.items()}
        self._ids["event_id"] = event_ids
        self._suppress = suppress
        self._subjects = [
            f"{kind} id {printing.quoted(each)}" for kind, ids in subjects.items() for each in ids
        ]

    def rehearse(self, *, account: str, request_id: str, as_json: bool) -> ExitStatus:
        """Shows what would be erased."""
        preview = self._preview(request_id)
        if as_json:
            _print_json(preview)
        else:
            self._show_preview(preview, account=account)
        return ExitStatus.OK if _has_found(preview) else ExitStatus.INCOMPLETE

    def is_confirmed(self, *, account: str) -> bool:
        """Shows what would be erased, and asks."""
        preview = self._preview()
        self._show_preview(preview, account=account)
        if not (_has_found(preview) or self._suppress):
            return False
        return click.confirm("Erase them permanently?", err=True)

    def _preview(self, request_id: str = "") -> v1.Erasure:
        return self._connection.call(
            lambda client: self._call(client, request_id=request_id, validate_only=True)
        )

    def erase(self, request_id: str) -> v1.Erasure:
        """Waits until the erasure is complete, however long it takes; a failure says how to wait on."""
        click.echo(f"Request id: {request_id}", err=True)

        async def attempt(client: EngagementClient) -> v1.Erasure | None:
            try:
                return await self._call(client, request_id=request_id, validate_only=False)
            except DeadlineError:
                return None

        hint = (
            "The erasure may have begun; then it completes by itself, once the server runs. Repeat the"
            f" command with --request-id {shlex.quote(request_id)} to wait for it."
        )
        try:
            while (erasure := self._connection.call(attempt)) is None:
                click.echo("Still erasing.", err=True)
        except KeyboardInterrupt:
            raise CommandInterruptedError(f"Interrupted. {hint}") from None
        except CommandError as error:
            if isinstance(error.__cause__, UnavailableError | InternalError):
                raise CommandError(f"{error.message}\n{hint}") from error
            raise
        return erasure

    async def _call(self, client: EngagementClient, *, request_id: str, validate_only: bool) -> v1.Erasure:
        return await client.erase_consumer(
            **self._ids, request_id=request_id, suppress=self._suppress, validate_only=validate_only
        )

    def _show_preview(self, preview: v1.Erasure, *, account: str) -> None:
        """Shows what would be erased, and what would be left."""
        events = f"event{'s' * (preview.matched_events != 1)}"
        click.echo(f"{preview.matched_events:,} {events} of account {account} would be erased.", err=True)
        for event_id in preview.sample_event_ids[:_SHOWN_SAMPLES]:
            click.echo(f"  {printing.printable(printing.visible(event_id))}", err=True)
        if preview.matched_events > _SHOWN_SAMPLES:
            click.echo(f"  and {preview.matched_events - _SHOWN_SAMPLES:,} more", err=True)
        if preview.cleared_rejections:
            count = preview.cleared_rejections
            rejected = f"{related_ids.shown_count(count)} rejected event{'s' * (count != 1)}"
            click.echo(f"{rejected} would lose their ids.", err=True)
        self.show_unmatched(preview)
        if self._suppress:
            click.echo("Later events of these subjects would not be stored.", err=True)
        related_ids.show(preview.related, has_more=preview.has_more_related, text=related_ids.WOULD_STAY)
        if not preview.matched_events:
            wrong_account.report_if_empty(self._connection, account)

    def show_unmatched(self, erasure: v1.Erasure) -> None:
        """Names the ids that nothing has."""
        for index in erasure.unmatched_subjects:
            click.echo(f"Nothing has exactly this {self._subjects[index]}.", err=True)
        for event_id in erasure.unmatched_event_ids:
            click.echo(f"Nothing has exactly this event id {printing.quoted(event_id)}.", err=True)


@click.command(epilog=_ERASURES_EPILOG)
@click.argument("erasure_id", required=False)
@click.option("--request-id", metavar="ID", help="Only the erasure of the request with this id.")
@click.option(
    "--subject",
    metavar="ID",
    help="Only erasures that named exactly this consumer, customer, conversation or event id.",
)
@server_option
@account_option
@click.option("--json", "as_json", is_flag=True, help="Print an Erasure in proto-JSON on each line.")
def erasures(  # noqa: PLR0913 - one for each option
    erasure_id: str | None,
    *,
    request_id: str | None,
    subject: str | None,
    server: str,
    account: str,
    as_json: bool,
) -> int:
    """List the erasures of an account, newest first, or show one.

    The list is permanent, and names nobody: --subject compares hashes. An event that
    was erased because of its consumer, customer or conversation is found by their ids.
    """
    if erasure_id is not None and (request_id, subject) != (None, None):
        raise click.UsageError("Give either an ERASURE_ID or options that select erasures.")
    if "" in (request_id, subject):
        raise click.UsageError("--request-id and --subject need an ID.")
    with connect(server, account=account) as connection:
        if erasure_id is not None:
            _show(connection.call(lambda client: client.get_erasure(erasure_id)), as_json=as_json)
            return ExitStatus.OK
        rows = printing.Rows(*_COLUMNS, flexible="request id")
        found = connection.iterate(
            lambda client: client.list_erasures(request_id=request_id or "", subject_id=subject or ""),
            at_once=1000,
        )
        erasure = None
        for erasure in found:
            if as_json:
                _print_json(erasure)
            else:
                rows.add([value for _, value in _pairs(erasure)])
        if not as_json:
            rows.finish()
    sys.stdout.flush()
    if erasure is None:
        click.echo("There is no erasure that matches.", err=True)
    return ExitStatus.OK


def _ids_at(connection: Connection, cursors: Sequence[str]) -> list[str]:
    """The ids of the events at some cursors."""
    event_ids = []
    for each in cursors:

        async def get(client: EngagementClient, cursor: str = each) -> v1.StoredEvent:
            return await client.get_event(cursor=cursor)

        event_ids.append(connection.call(get).event.event_id)
    return event_ids


def _has_found(preview: v1.Erasure) -> bool:
    return bool(preview.matched_events or preview.cleared_rejections)


def _show(erasure: v1.Erasure, *, as_json: bool) -> None:
    if as_json:
        _print_json(erasure)
    else:
        printing.print_pairs(_pairs(erasure))
    sys.stdout.flush()


def _pairs(erasure: v1.Erasure) -> Iterator[tuple[str, str]]:
    completed = erasure.complete_time.ToJsonString() if erasure.HasField("complete_time") else "still running"
    kinds = dict.fromkeys(map(related_ids.kind_name, erasure.subject_kinds))
    has_ended = erasure.HasField("lift_time")
    values = (
        erasure.erasure_id,
        erasure.create_time.ToJsonString(),
        completed,
        ", ".join(kinds),
        f"{erasure.erased_events}",
        f"{erasure.cleared_rejections}",
        "yes" if erasure.suppressing else f"lifted {erasure.lift_time.ToJsonString()}" if has_ended else "no",
        erasure.request_id,
    )
    return zip(_COLUMNS, values, strict=True)


def _print_json(erasure: v1.Erasure) -> None:
    sys.stdout.write(printing.proto_json(erasure) + "\n")
