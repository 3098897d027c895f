"""`engagement upload`: uploads files of events to a server."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass

import click

from engagement.cli.connection import Connection, connect
from engagement.cli.delivery import Delivery
from engagement.cli.failures import CommandError, CommandInterruptedError
from engagement.cli.input_events import Format, InputEvents
from engagement.cli.input_file import open_input
from engagement.cli.options import account_option, files_argument, format_option, server_option, source_option
from engagement.cli.progress import ProgressBar
from engagement.cli.rejection_file import RejectionFile
from engagement.cli.summary import InputSummary, exit_status, print_json, print_text
from engagement.client import EngagementClient
from engagement.errors import SourceMismatchError
from engagement.uuid7 import uuid7

_EPILOG = """\b
Examples:
  engagement upload events.ndjson.gz --account acme
  engagement upload export-1.json export-2.json --account acme --json
  engagement upload customers.csv --account acme
  zcat *.ndjson.gz | engagement upload - --account acme --source crm

\b
Exit status: 0 every event is stored, 1 some were rejected or a file is
damaged, 2 wrong usage or no connection, 130 stopped with Ctrl-C.
"""


@click.command(epilog=_EPILOG)
@files_argument
@server_option
@account_option
@format_option
@source_option
@click.option(
    "--upload-id",
    metavar="ID",
    help="Id of the upload of a single file, such as its name and day. Resumes that upload if it exists.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object.")
def upload(  # noqa: PLR0913 - one for each option
    files: Sequence[str],
    *,
    server: str,
    account: str,
    input_format: Format,
    source: str | None,
    upload_id: str | None,
    as_json: bool,
) -> int:
    """Upload files of events, optionally packed with gzip or zstd.

    - is standard input. Each file is an upload of its own, which survives lost
    connections and restarts of the server. Uploading a file again adds nothing:
    an event without an id gets one derived from the source, its number in it and
    its content, so that the repeat is a duplicate. An event with an id is sent
    unchanged.

    Events stand one per line, or in any JSON that tools put around them: an
    array, request bodies, pages, or what export and list --json write. CSV and
    Parquet are read by the names of their columns, as export writes them.

    Rejected events are written with their reasons to FILE.rejected.ndjson (for
    standard input: stdin.rejected.ndjson), one JSON object per line. Without
    rejections there is no such file. All other events are stored.

    If a file is damaged, everything before the damage is stored, and the exit
    status is 1. Upload the repaired file; nothing is stored twice.
    """
    if upload_id is not None and len(files) > 1:
        raise click.UsageError("--upload-id names the upload of a single file.")
    summaries: list[InputSummary] = []
    try:
        with connect(server, account=account) as connection:
            # An unreachable server shows before anything is read or removed.
            connection.call(EngagementClient.get_server_info)
            for path in files:
                one = _Upload(path, account=account, server=server, upload_id=upload_id or uuid7())
                summaries.append(one.run(connection, input_format=input_format, source=source))
    finally:
        if summaries and as_json:
            print_json(summaries)
        else:
            print_text(summaries)
    return exit_status(summaries)


@dataclass(frozen=True, slots=True)
class _Upload:
    """The upload of one input."""

    path: str
    account: str
    server: str
    upload_id: str

    def run(self, connection: Connection, *, input_format: Format, source: str | None) -> InputSummary:
        """Uploads it to its end or up to damage; a failure says how to resume."""
        started = time.monotonic()
        with open_input(self.path) as file, RejectionFile(self.path) as rejections, ProgressBar(file) as bar:
            events = InputEvents(file, format=input_format, source=source)
            delivery = Delivery(events, upload_id=self.upload_id, rejections=rejections, bar=bar)
            try:
                connection.call(delivery.run)
            except KeyboardInterrupt:
                raise CommandInterruptedError(f"Interrupted. {self._how_to_resume(source)}") from None
            except CommandError as error:
                if not delivery.has_begun or isinstance(error.__cause__, SourceMismatchError):
                    raise
                raise CommandError(f"{error.message}\n{self._how_to_resume(source)}") from error
        return InputSummary(
            file=file.name if self.path == "-" else self.path,
            events_read=events.events_read,
            outcomes=delivery.outcomes,
            skipped=events.skipped,
            seconds=time.monotonic() - started,
            upload_id=self.upload_id,
            rejected_file=str(rejections.path) if rejections.count else "",
            damage=events.damage,
            resumed_by_count=delivery.resumed_by_count,
        )

    def _how_to_resume(self, source: str | None) -> str:
        arguments = [self.path, "--account", self.account, "--server", self.server]
        if source is not None:
            arguments += ["--source", source]
        command = shlex.join(["engagement", "upload", *arguments, "--upload-id", self.upload_id])
        return f"All acknowledged events are stored. Resume with the same input:\n  {command}"
