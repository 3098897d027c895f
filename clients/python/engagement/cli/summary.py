"""Reports the outcomes of each input, for people and for programs."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final  # Any: values of JSON

import click

from engagement.cli.failures import ExitStatus
from engagement.cli.inputs import Inputs
from engagement.cli.printing import printable
from engagement.cli.rejection_kinds import RejectionKind

_MAX_PLAIN_LINES: Final = 10
"""Up to so many inputs have a line each, even if there is nothing to tell."""
_SHOWN_KINDS: Final = 3
"""Reasons of rejected events that are shown; the report has all."""
_MAX_MESSAGE_CHARACTERS: Final = 300


@dataclass(slots=True)
class InputSummary:
    """The outcomes of one input."""

    file: str
    events_read: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    """The number of events by outcome, including `rejected`."""
    skipped: dict[str, int] = field(default_factory=dict)
    """The number of items skipped because they are not events, by reason."""
    converted: dict[str, int] = field(default_factory=dict)
    """The number of times that were not written in milliseconds, by their form."""
    seconds: float = 0.0
    upload_id: str = ""
    rejected_file: str = ""
    rejected_for: Sequence[RejectionKind] = ()
    """What the rejected events broke, most frequent first."""
    damage: str = ""
    """Where and why the input could not be read to its end; empty if it could."""
    stopped: str = ""
    """Why the server took no more of it; empty if it took all."""
    resumed_by_count: bool = False
    """Whether events that an earlier run had sent were skipped by their number, and not compared."""
    warning: str = ""
    """What is valid and hardly meant."""
    is_empty: bool = False
    """Whether the input has no content at all."""
    erased_before: int = 0
    """The number of duplicates whose events were erased: they are not stored."""
    uploaded_before: bool = False
    """Whether an earlier run has stored all of its events, so that they count as duplicates."""

    @property
    def has_something_to_tell(self) -> bool:
        """Whether there is more to say than that its events are stored."""
        is_incomplete = self.outcomes.get("rejected") or self.damage or self.outcomes.get("suppressed")
        is_odd = self.is_empty or self.warning or self.resumed_by_count or self.erased_before
        return bool(is_incomplete or is_odd or self.skipped or self.converted)

    def to_json(self) -> dict[str, Any]:
        """The summary as a JSON object."""
        return {
            "file": self.file,
            **_counts([self]),
            "upload_id": self.upload_id or None,
            "rejected_file": self.rejected_file or None,
            "rejected_for": [kind.to_json() for kind in self.rejected_for],
            "damage": self.damage or None,
            "stopped": self.stopped or None,
            "warning": self.warning or None,
            "is_empty": self.is_empty,
            "resumed_by_count": self.resumed_by_count,
            "uploaded_before": self.uploaded_before,
            "erased_before": self.erased_before,
        }


def exit_status(summaries: Iterable[InputSummary]) -> ExitStatus:
    """OK if every input was read to its end and no event was rejected."""
    is_incomplete = any(each.outcomes.get("rejected") or each.damage for each in summaries)
    return ExitStatus.INCOMPLETE if is_incomplete else ExitStatus.OK


def print_json(summaries: Sequence[InputSummary], inputs: Inputs, **more: object) -> None:
    """Prints one JSON object to standard output: each file, the totals, and what was not read."""
    report = {
        "files": [each.to_json() for each in summaries],
        "total": _counts(summaries),
        "not_read": inputs.not_read,
        "no_data": inputs.no_data,
        **more,
    }
    click.echo(json.dumps(report))


def print_text(summaries: Sequence[InputSummary], inputs: Inputs) -> None:
    """Prints a few lines to standard error; of many inputs, only those with something to tell."""
    for each in summaries:
        if len(summaries) <= _MAX_PLAIN_LINES or each.has_something_to_tell:
            _print_one(each)
    for argument in inputs.not_read:
        click.echo(f"{argument}: {printable(inputs.explain_not_read(argument))}", err=True)
    if len(summaries) > 1:
        click.echo(f"{len(summaries):,} files: {_sentence(summaries)}", err=True)
        if before := sum(each.uploaded_before for each in summaries):
            click.echo(f"  Uploaded before: {before:,} files, of which nothing was sent.", err=True)
    if len(summaries) > _MAX_PLAIN_LINES and any(each.upload_id for each in summaries):
        click.echo("  Upload ids of all files: engagement uploads", err=True)
    if len(summaries) < len(inputs.paths):
        click.echo(f"Not finished: {len(inputs.paths) - len(summaries):,} files", err=True)


def _print_one(one: InputSummary) -> None:
    if one.is_empty:
        click.echo(
            f"{one.file}: 0 events: the {'input' if one.file == 'stdin' else 'file'} is empty", err=True
        )
        return
    click.echo(f"{one.file}: {_sentence([one])}", err=True)
    if one.uploaded_before:
        click.echo("  Uploaded before: nothing was sent.", err=True)
    if one.upload_id:
        click.echo(f"  Upload id: {printable(one.upload_id)}", err=True)
    if one.rejected_file:
        click.echo(f"  Rejected events and the reasons: {one.rejected_file}", err=True)
        _print_kinds(one.rejected_for)
    if one.erased_before:
        click.echo(f"  Erased before: {one.erased_before:,} of the duplicates, which stay erased.", err=True)
    if one.resumed_by_count:
        click.echo("  Resumed by count: the earlier run did not say which events it sent.", err=True)
    if one.warning:
        click.echo(f"  Warning: {printable(one.warning)}", err=True)
    if one.damage:
        click.echo(f"  Not all of it was understood: {one.damage}", err=True)
    if one.stopped:
        click.echo(f"  Stopped: {one.stopped}", err=True)


def _print_kinds(kinds: Sequence[RejectionKind]) -> None:
    """Says what most of the rejected events have broken, so that nobody has to open the report for that."""
    for kind in kinds[:_SHOWN_KINDS]:
        message = textwrap.shorten(printable(kind.message), _MAX_MESSAGE_CHARACTERS, placeholder=" …")
        click.echo(f"    {kind.events:,} of them: {message}", err=True)
    if others := sum(kind.events for kind in kinds[_SHOWN_KINDS:]):
        click.echo(f"    {others:,} of them: other reasons", err=True)


def _counts(summaries: Sequence[InputSummary]) -> dict[str, Any]:
    seconds = sum(each.seconds for each in summaries)
    events_read = sum(each.events_read for each in summaries)
    return {
        "events_read": events_read,
        **_sum(each.outcomes for each in summaries),
        "skipped": _sum(each.skipped for each in summaries),
        "times_converted": _sum(each.converted for each in summaries),
        "seconds": round(seconds, 3),
        "events_per_second": round(events_read / seconds) if seconds else 0,
    }


def _sum(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return dict(total)


def _sentence(summaries: Sequence[InputSummary]) -> str:
    counts = _counts(summaries)
    outcomes = _sum(each.outcomes for each in summaries)
    shown = [f"{count:,} {outcome}" for outcome, count in outcomes.items()]
    shown += [f"{count:,} skipped ({reason})" for reason, count in counts["skipped"].items()]
    for form, count in counts["times_converted"].items():
        shown.append(f"{count:,} {'time' if count == 1 else 'times'} converted ({form})")
    speed = f"{counts['seconds']:.1f} s, {counts['events_per_second']:,}/s"
    return f"{counts['events_read']:,} events read: {', '.join(shown)} ({speed})"
