"""`engagement upload`: uploads files of events to a server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from engagement.cli.connection import connect
from engagement.cli.connection_options import account_option, server_option
from engagement.cli.input_events import Format
from engagement.cli.input_upload import InputUploads, UploadOrder
from engagement.cli.inputs import find_inputs
from engagement.cli.options import (
    files_argument,
    format_option,
    rejected_dir_option,
    source_option,
)
from engagement.cli.progress import ProgressBar
from engagement.cli.rejection_file import prepare_reports
from engagement.cli.summary import InputSummary, exit_status, print_json, print_text
from engagement.client import EngagementClient

_EPILOG = """\b
Examples:
  engagement upload events.ndjson.gz --account acme
  engagement upload export-1.json export-2.json --account acme --json
  engagement upload exports --account acme --rejected-dir reports
  engagement upload customers.csv --account acme
  zcat *.ndjson.gz | engagement upload - --account acme --source crm

Exit status: 0 every event of every file is stored, 1 some were rejected, or a
file is damaged or unreadable, 2 wrong usage, nothing to read or no connection,
130 stopped with Ctrl-C.
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
    help="Id of the upload of a single file, such as its name and day. Resumes that upload if it exists.  "
    "[default: derived from the file's name and content]",
)
@rejected_dir_option
@click.option(
    "--keep-going",
    is_flag=True,
    help="Upload all of each file, even if its first 1,000 events are all rejected.",
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
    rejected_dir: Path | None,
    keep_going: bool,
    as_json: bool,
) -> int:
    """Upload files of events, optionally packed with gzip or zstd.

    - is standard input. A FOLDER is the files in it whose names end in .json,
    .ndjson, .jsonl, .csv, .tsv or .parquet, packed or not, in the order of their
    names. All others, hidden files, reports of rejected events, unfinished exports
    and folders inside are left out, and counted in the summary. A file that is
    named itself is always read.

    Each file is an upload of its own, which survives lost connections and restarts
    of the server. Repeat an interrupted command to resume it: files that are stored
    are not sent again, and a file that has changed is uploaded anew. Uploading a
    file again adds nothing: an event without an id gets one derived from the
    source, its number in it and its content, so that the repeat is a duplicate. An
    event with an id is sent unchanged.

    Events stand one per line, or in any JSON that tools put around them: an
    array, request bodies, pages, or what export and list --json write. CSV and
    Parquet are read by the names of their columns, as export writes them.

    Rejected events are written with their reasons to FILE.ID.rejected.ndjson (for
    standard input: stdin.ID.rejected.ndjson), one JSON object per line; ID is that
    of the upload, and the summary names the file. Without rejections there is no
    such file, and none is ever replaced. All other events are stored. Repair the
    member event of its lines and upload that file by its name. If the first 1,000
    events of a file are all rejected, the upload of that file stops; the other
    files are uploaded.

    If a file is damaged, everything before the damage is stored, the other files
    too, and the exit status is 1. Upload the repaired file; nothing is stored
    twice.

    The name of each file is kept with its upload, which engagement uploads shows
    with its rejected events; it should not identify a person.
    """
    inputs = find_inputs(files)
    if upload_id is not None and list(files) != [each.path for each in inputs.paths][:1]:
        raise click.UsageError("--upload-id names the upload of a single file, not of a folder.")
    order = UploadOrder(
        inputs=inputs,
        server=server,
        account=account,
        input_format=input_format,
        source=source,
        rejected_dir=rejected_dir,
        upload_id=upload_id,
        keep_going=keep_going,
    )
    summaries: list[InputSummary] = []
    try:
        with connect(server, account=account) as connection:
            # An unreachable server shows before anything is read.
            limits = connection.call(EngagementClient.get_server_info).limits
            prepare_reports(rejected_dir)
            with ProgressBar(inputs) as bar:
                uploads = InputUploads(order, connection=connection, limits=limits, bar=bar)
                for each in inputs.paths:
                    summaries.append(uploads.run(each))
    finally:
        if summaries and as_json:
            print_json(summaries, inputs)
        elif summaries:
            print_text(summaries, inputs)
    return exit_status(summaries)
