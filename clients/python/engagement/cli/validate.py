"""`engagement validate`: checks files of events against the contract, without a server."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click

from engagement import limits, rules
from engagement.cli import summary
from engagement.cli.blank_ids import BlankIds
from engagement.cli.input_events import Format, InputEvents, in_batches
from engagement.cli.input_file import UnreadableInputError, open_listed
from engagement.cli.inputs import STDIN, InputPath, find_inputs
from engagement.cli.options import files_argument, format_option, rejected_dir_option, source_option
from engagement.cli.outcomes import FoundEvent, Rejection
from engagement.cli.progress import ProgressBar
from engagement.cli.rejection_file import RejectionFile, prepare_reports

_NOT_CHECKED = (
    "duplicates and ids that are taken by other content",
    "suppressed consumers",
    "closed lists of customer statuses and types",
)
_EPILOG = """\b
Examples:
  engagement validate events.ndjson
  engagement validate export.json.gz other.json --json
  engagement validate exports --rejected-dir reports
  zcat events.ndjson.gz | engagement validate -

Exit status: 0 all events are valid, 1 some are not, or a file is damaged or
unreadable, 2 wrong usage or nothing to read.
"""


@click.command(epilog=_EPILOG)
@files_argument
@format_option
@source_option
@rejected_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object.")
def validate(
    files: Sequence[str],
    *,
    input_format: Format,
    source: str | None,
    rejected_dir: Path | None,
    as_json: bool,
) -> int:
    """Check files of events against the contract, offline.

    - is standard input; a FOLDER is the files in it. Reads them as upload does,
    applies the server's rules, and writes rejected events with their reasons to
    FILE.TIME.rejected.ndjson (for standard input: stdin.TIME.rejected.ndjson).
    Without rejections there is no such file. Ids with blanks at an end are valid,
    and told.

    Only the server can detect duplicates, ids that are taken by other content,
    suppressed consumers, and values that are missing from a closed list. Times
    in the future are compared with the clock of this machine.
    """
    inputs = find_inputs(files)
    prepare_reports(rejected_dir)
    with ProgressBar(inputs) as bar:
        checker = _Checker(input_format, source, rejected_dir, f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}", bar)
        summaries = [checker.check(each) for each in inputs.paths]
    if as_json:
        summary.print_json(summaries, inputs, not_checked=_NOT_CHECKED)
    else:
        summary.print_text(summaries, inputs)
        click.echo(f"Only the server can check: {'; '.join(_NOT_CHECKED)}.", err=True)
    return summary.exit_status(summaries)


@dataclass(frozen=True, slots=True)
class _Checker:
    """Checks inputs one after the other."""

    input_format: Format
    source: str | None
    rejected_dir: Path | None
    run: str
    """Names this run in the names of the reports."""
    bar: ProgressBar

    def check(self, one: InputPath) -> summary.InputSummary:
        """The outcomes of an input."""
        started = time.monotonic()
        with ExitStack() as stack:
            try:
                file = stack.enter_context(open_listed(one))
            except UnreadableInputError as error:
                return summary.InputSummary(file=one.path, damage=str(error))
            rejections = stack.enter_context(RejectionFile(one.path, run=self.run, folder=self.rejected_dir))
            self.bar.begin(one.path, file)
            events = InputEvents(file, format=self.input_format, source=self.source)
            blanks = BlankIds()
            for batch in in_batches(events):
                blanks.look_at(batch)
                for rejection in _check(batch):
                    rejections.write(rejection)
                self.bar.show(events.events_read, rejected=rejections.count)
        return summary.InputSummary(
            file=file.name if one.path == STDIN else one.path,
            events_read=events.events_read,
            outcomes={"valid": events.events_read - rejections.count, "rejected": rejections.count},
            skipped=events.skipped,
            converted=events.converted,
            seconds=time.monotonic() - started,
            rejected_file=str(rejections.path) if rejections.count else "",
            rejected_for=rejections.kinds.most_frequent(),
            damage=events.damage,
            warning=blanks.warning,
            is_empty=file.is_empty and not events.damage,
        )


def _check(batch: Sequence[FoundEvent | Rejection]) -> Iterator[Rejection]:
    """The rejections of a batch, in its order."""
    events = [found.event for found in batch if isinstance(found, FoundEvent)]
    violations = iter(rules.check_events(events, now_ms=time.time_ns() // 1_000_000))
    for found in batch:
        if isinstance(found, Rejection):
            yield found
        elif broken := next(violations):
            yield Rejection(
                place=found.place,
                reason="FIELD_INVALID",
                message=f"{broken[0].field or 'the event'}: {broken[0].description}",
                violations=broken[: limits.MAX_VIOLATIONS],
                event=found.event,
            )
