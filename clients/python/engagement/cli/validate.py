"""`engagement validate`: checks files of events against the contract, without a server."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import click

from engagement import rules
from engagement.cli import summary
from engagement.cli.input_events import Format, InputEvents, in_batches
from engagement.cli.input_file import open_input
from engagement.cli.options import files_argument, format_option, source_option
from engagement.cli.outcomes import FoundEvent, Rejection
from engagement.cli.progress import ProgressBar
from engagement.cli.rejection_file import RejectionFile

_MAX_VIOLATIONS = 32
_NOT_CHECKED = (
    "duplicates and ids that are taken by other content",
    "suppressed consumers",
    "closed lists of customer statuses and types",
)
_EPILOG = """\b
Examples:
  engagement validate events.ndjson
  engagement validate export.json.gz other.json --json
  zcat events.ndjson.gz | engagement validate -

Exit status: 0 all events are valid, 1 some are not or a file is damaged,
2 wrong usage.
"""


@click.command(epilog=_EPILOG)
@files_argument
@format_option
@source_option
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object.")
def validate(files: Sequence[str], *, input_format: Format, source: str | None, as_json: bool) -> int:
    """Check files of events against the contract, offline.

    - is standard input. Reads files as upload does, applies the server's rules,
    and writes rejected events with their reasons to FILE.rejected.ndjson (for
    standard input: stdin.rejected.ndjson). Without rejections there is no such
    file.

    Only the server can detect duplicates, ids that are taken by other content,
    suppressed consumers, and values that are missing from a closed list. Times
    in the future are compared with the clock of this machine.
    """
    summaries = [_check_file(path, input_format=input_format, source=source) for path in files]
    if as_json:
        summary.print_json(summaries, not_checked=_NOT_CHECKED)
    else:
        summary.print_text(summaries)
        click.echo(f"Only the server can check: {'; '.join(_NOT_CHECKED)}.", err=True)
    return summary.exit_status(summaries)


def _check_file(path: str, *, input_format: Format, source: str | None) -> summary.InputSummary:
    started = time.monotonic()
    with open_input(path) as file, RejectionFile(path) as rejections, ProgressBar(file) as bar:
        events = InputEvents(file, format=input_format, source=source)
        for batch in in_batches(events):
            for rejection in _check(batch):
                rejections.write(rejection)
            bar.show(events.events_read, rejected=rejections.count)
    return summary.InputSummary(
        file=file.name if path == "-" else path,
        events_read=events.events_read,
        outcomes={"valid": events.events_read - rejections.count, "rejected": rejections.count},
        skipped=events.skipped,
        seconds=time.monotonic() - started,
        rejected_file=str(rejections.path) if rejections.count else "",
        damage=events.damage,
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
                violations=broken[:_MAX_VIOLATIONS],
                event=found.event,
            )
