"""`engagement check`: checks the files of a store. It imports the server itself only when it is run."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engagement_server.commands.reports import ProgressLine, contents_text, count_text, size_text
from engagement_server.errors import ConfigurationError

if TYPE_CHECKING:
    from engagement_server.store.checkup import Report

_DAMAGED = 1
_FAILED = 2
_EPILOG = """\b
Examples:
  engagement check data
  engagement check backup.db --json

Exit status: 0 everything is as it was written, 1 something is not, 2 wrong
usage, or the store is in use.
"""


class CheckError(click.ClickException):
    """The files cannot be checked; the message says why."""

    exit_code = _FAILED


@click.command(epilog=_EPILOG)
@click.argument("store", metavar="FOLDER|FILE", type=click.Path(exists=True, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the result as one line of JSON.")
@click.option(
    "--discard-index",
    is_flag=True,
    help="Check nothing; let the next start rebuild the search index from the events.",
)
def check(store: Path, *, as_json: bool, discard_index: bool) -> int:
    """Check the files of a stopped server, or a backup, and change nothing.

    Reads everything: the checksums of all pages, the write-ahead log, the
    structure of the file, each event, the search index against the events, and
    uploads, lists, erasures and profiles. Each finding comes with what can be done.
    """
    try:
        from engagement_server.store.checkup import check_store  # noqa: PLC0415 - the server is an extra
        from engagement_server.store.data_folder import require_unlocked  # noqa: PLC0415 - so is this
        from engagement_server.store.database import discard_search_index  # noqa: PLC0415 - and this
    except ModuleNotFoundError as error:
        raise CheckError(
            f"This needs {error.name}: run pip install 'engagement-attributes[server]'."
        ) from error
    if discard_index and store.is_file():
        raise click.UsageError("--discard-index takes the FOLDER of a store, not a file.")
    files = _files(store)
    try:
        for file in files:
            require_unlocked(file.parent)
            if discard_index:
                discard_search_index(file.parent)
        if discard_index:
            return 0
        progress = ProgressLine()
        began = time.monotonic()
        reports = [check_store(file, on_progress=progress.show) for file in files]
        progress.clear()
    except ConfigurationError as error:
        raise CheckError(str(error)) from error
    seconds = time.monotonic() - began
    if as_json:
        click.echo(json.dumps(_to_json(reports, seconds=seconds)))
    else:
        _print(reports, seconds=seconds)
    return _DAMAGED if any(report.findings for report in reports) else 0


def _files(store: Path) -> list[Path]:
    """The file of a store, or those of its partitions. Raises CheckError."""
    if store.is_file():
        return [store]
    files = sorted(
        path for pattern in ("", "[0-9]*of[0-9]*/") for path in store.glob(f"{pattern}engagement.db")
    )
    if not files:
        raise CheckError(f"{store} holds no store: there is no engagement.db in it.")
    return files


def _to_json(reports: list[Report], *, seconds: float) -> dict[str, Any]:
    return {
        "seconds": round(seconds, 3),
        "stores": [
            {
                "file": str(report.path),
                "bytes": report.size_bytes,
                "accounts": report.accounts,
                "events": report.events,
                "findings": [{**each._asdict(), "remedy": each.remedy} for each in report.findings],
                "is_cut": report.is_cut,
            }
            for report in reports
        ],
    }


def _print(reports: list[Report], *, seconds: float) -> None:
    for report in reports:
        contents = contents_text(events=report.events, accounts=report.accounts)
        click.echo(f"{report.path}: {_state(report)} ({contents}, {size_text(report.size_bytes)})")
        for finding in report.findings:
            click.echo(f"  {finding.kind}: {finding.place} {finding.message}")
        for remedy in dict.fromkeys(each.remedy for each in report.findings):
            kinds = ", ".join(sorted({each.kind for each in report.findings if each.remedy == remedy}))
            click.echo(f"What can be done ({kinds}): {remedy}.")
    size_bytes = sum(report.size_bytes for report in reports)
    speed = size_text(round(size_bytes / max(seconds, 0.001)))
    click.echo(f"Checked in {seconds:.1f} s, {speed}/s.")


def _state(report: Report) -> str:
    if not report.findings:
        return "no damage"
    found = count_text(len(report.findings), "finding")
    return f"{found} and more" if report.is_cut else found
