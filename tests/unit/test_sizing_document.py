"""The tables of docs/sizing.md show what is calculated and measured."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from engagement_server.commands.sizing import sizing
from engagement_server.commands.sizing_figures import FIGURES

DOCUMENT = (Path(__file__).parents[2] / "docs/sizing.md").read_text()
SIZES = ("1M", "100M", "1G")
MEASURED = {
    "bytes of an event as sent": "event_bytes",
    "on disk, indexes included": "store_bytes",
    "in a backup": "backup_bytes",
    "in the log, on each of its servers": "log_bytes",
    "in a snapshot": "snapshot_bytes",
    "processor seconds of a million: taking them in bulk": "ingest_cpu_seconds",
    "applying them from the log": "apply_cpu_seconds",
    "filling a new node from a snapshot": "fill_cpu_seconds",
    "expiry": "expiry_cpu_seconds",
    "seconds for a backup, of a store in memory": "backup_seconds",
    "for a restore": "restore_seconds",
    "MB of memory, the peak": "memory_mb",
    "measured with events": "measured_events",
}


def calculated() -> Iterator[str]:
    """The rows of the table of three sizes."""
    answers = [dict(line.split("\t") for line in _told(size).splitlines() if "\t" in line) for size in SIZES]
    for name in answers[0]:
        yield f"| {name} | {' | '.join(answer[name] for answer in answers)} |"


def measured() -> Iterator[str]:
    """The rows of the table of three shapes."""
    for name, field in MEASURED.items():
        yield f"| {name} | {' | '.join(f'{getattr(shape, field):,}' for shape in FIGURES.values())} |"


def _told(events: str) -> str:
    result = CliRunner().invoke(sizing, ["--events", events])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("table", [calculated, measured], ids=lambda table: table.__name__)
def test_a_table_of_the_document_has_the_present_numbers(table: object) -> None:
    assert callable(table)
    assert "\n".join(table()) in DOCUMENT, "docs/sizing.md should have:\n" + "\n".join(table())
