"""`engagement uploads`: lists uploads, or shows one with the events that it rejected."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Final

import click
from google.protobuf.timestamp_pb2 import Timestamp

from engagement import v1
from engagement.cli import printing, wrong_account
from engagement.cli.connection import Connection, connect
from engagement.cli.connection_options import account_option, server_option
from engagement.cli.failures import ExitStatus
from engagement.cli.moment import read_moment
from engagement.cli.outcomes import reason_name

_COLUMNS: Final = (
    "opened",
    "changed",
    "source",
    "state",
    "accepted",
    "duplicate",
    "rejected",
    "suppressed",
    "unreadable",
    "upload id",
)
# Narrow enough for most terminals: a pipe gets all.
_TERMINAL_COLUMNS: Final = ("changed", "source", "events", "upload id")
_REJECTION_COLUMNS: Final = ("chunk", "event", "time", "event id", "field", "rule", "message")
_STATES: Final = {v1.Upload.STATE_OPEN: "open", v1.Upload.STATE_FINISHED: "finished"}
_PAGE_UPLOADS: Final = 1000
_EPILOG = """\b
Examples:
  engagement uploads --account acme
  engagement uploads --account acme --since 2024-05-31 --rejected
  engagement uploads --account acme --source customers.csv --json
  engagement uploads --account acme --subject 138766
  engagement uploads file-5be1b0d5c3f2a7 --account acme

Exit status: 0 done, also if no upload matches; 1 there is no upload with this id;
2 wrong usage or no connection.
"""


@click.command(epilog=_EPILOG)
@click.argument("upload_id", required=False)
@click.option(
    "--since", callback=read_moment, metavar="TIME", help="Only uploads that changed at this time or later."
)
@click.option(
    "--until", callback=read_moment, metavar="TIME", help="Only uploads that changed before this time."
)
@click.option("--source", metavar="NAME", help="Only uploads of the file with this name.")
@click.option("--rejected", is_flag=True, help="Only uploads with rejected events or unreadable lines.")
@click.option(
    "--subject",
    metavar="ID",
    help="Only rejected events with exactly this consumer id or customer id, and uploads that have any.",
)
@server_option
@account_option
@click.option(
    "--json", "as_json", is_flag=True, help="Print an Upload a line, or the GetUploadResponse, in proto-JSON."
)
def uploads(  # noqa: PLR0913 - one for each option
    upload_id: str | None,
    *,
    since: Timestamp | None,
    until: Timestamp | None,
    source: str | None,
    rejected: bool,
    subject: str | None,
    server: str,
    account: str,
    as_json: bool,
) -> int:
    """List the uploads of an account, newest first, or show one with its rejections.

    An upload is on record for as long as events are kept after it is finished, and
    for a day after its last chunk if it is not. Every rejected event has its number
    among all events of the upload and, for each rule that it broke, a row. Events
    that the client could not read never reached the server; they are only counted.
    Of the consumers and customers of rejected events the server keeps hashes only.

    On a terminal the list is shortened; --json and pipes have all.

    TIME is a date, RFC 3339 or epoch milliseconds, in UTC unless it names a zone.
    """
    is_filtered = rejected or any(each is not None for each in (since, until, source))
    if upload_id is not None and is_filtered:
        raise click.UsageError("Give either an UPLOAD_ID or options that select uploads.")
    if subject == "":
        raise click.UsageError("--subject needs an ID.")
    with connect(server, account=account) as connection:
        if upload_id is not None:
            _show_one(connection, upload_id, subject_id=subject or "", as_json=as_json)
        else:
            found = connection.iterate(
                lambda client: client.list_uploads(
                    start_time=since,
                    end_time=until,
                    source_name=source or "",
                    outcomes=[v1.Outcome.OUTCOME_REJECTED] if rejected else (),
                    subject_id=subject or "",
                    page_size=_PAGE_UPLOADS,
                ),
                at_once=_PAGE_UPLOADS,
            )
            if not _show_all(found, as_json=as_json):
                click.echo("No upload is on record that matches.", err=True)
                wrong_account.report_if_empty(connection, account)
    sys.stdout.flush()
    return ExitStatus.OK


def _show_all(found: Iterable[v1.Upload], *, as_json: bool) -> bool:
    """Prints uploads; returns whether there are any."""
    is_terminal = printing.is_terminal()
    rows = printing.Rows(*(_TERMINAL_COLUMNS if is_terminal else _COLUMNS), flexible="source")
    upload = None
    for upload in found:
        if as_json:
            sys.stdout.write(printing.proto_json(upload) + "\n")
        else:
            rows.add(_short_row(upload) if is_terminal else _row(upload))
    if not as_json:
        rows.finish()
    return upload is not None


def _show_one(connection: Connection, upload_id: str, *, subject_id: str, as_json: bool) -> None:
    upload = connection.call(lambda client: client.get_upload(upload_id))
    rejections = connection.iterate(
        lambda client: client.upload_rejections(upload_id, subject_id=subject_id), at_once=_PAGE_UPLOADS
    )
    if as_json:
        sys.stdout.write(f'{{"upload": {printing.proto_json(upload)}, "rejections": [')
        for number, each in enumerate(rejections):
            sys.stdout.write((", " if number else "") + printing.proto_json(each))
        sys.stdout.write("]}\n")
        return
    printing.print_pairs(zip(_COLUMNS, _row(upload), strict=True))
    rows = printing.Rows(*_REJECTION_COLUMNS, flexible="message")
    has_any = False
    for each in rejections:
        if not has_any:
            sys.stdout.write("\n")
        has_any = True
        for row in _rejection_rows(each):
            rows.add(row)
    if has_any:
        rows.finish()
    elif subject_id:
        click.echo("No rejected event of this upload has exactly this id.", err=True)


def _row(upload: v1.Upload) -> tuple[str, ...]:
    tally = upload.tally
    counts = (tally.accepted, tally.duplicate, tally.rejected, tally.suppressed, upload.unreadable)
    return (
        upload.create_time.ToJsonString(),
        upload.update_time.ToJsonString(),
        upload.source_name,
        _STATES.get(upload.state, ""),
        *map(str, counts),
        upload.upload_id,
    )


def _short_row(upload: v1.Upload) -> tuple[str, ...]:
    counts = {
        "accepted": upload.tally.accepted,
        "duplicate": upload.tally.duplicate,
        "rejected": upload.tally.rejected,
        "suppressed": upload.tally.suppressed,
        "unreadable": upload.unreadable,
    }
    events = [f"{count} {outcome}" for outcome, count in counts.items() if count] or ["none"]
    if upload.state == v1.Upload.STATE_OPEN:
        events.insert(0, "open")
    changed = f"{upload.update_time.ToDatetime():%Y-%m-%dT%H:%M:%SZ}"
    return changed, upload.source_name, ", ".join(events), upload.upload_id


def _rejection_rows(rejection: v1.UploadResult) -> Iterator[tuple[str, ...]]:
    result = rejection.result
    start = (
        str(rejection.chunk_sequence),
        str(rejection.event_number),
        rejection.reject_time.ToJsonString(),
        result.event_id,
    )
    for violation in result.error.violations:
        yield *start, violation.field, violation.rule, violation.description
    if not result.error.violations:
        yield *start, "", reason_name(result.error.reason), result.error.message
