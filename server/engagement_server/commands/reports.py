"""Texts that the commands for stores share: their sizes, and a line that shows progress on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass

import click

_PROGRESS_SECONDS = 0.2


@dataclass
class ProgressLine:
    """A line on a terminal, and nothing elsewhere."""

    _shown_at: float = 0.0

    def show(self, what: str, done: int, total: int) -> None:
        """Shows progress in the named work, unless that was shown a moment ago."""
        now = time.monotonic()
        if not sys.stderr.isatty() or now < self._shown_at + _PROGRESS_SECONDS:
            return
        self._shown_at = now
        share = f" {100 * done // max(total, 1)} %" if done else ""
        click.echo(f"\r\033[Kchecking {what}{share}", nl=False, err=True)

    def clear(self) -> None:
        """Removes the line."""
        if self._shown_at:
            click.echo("\r\033[K", nl=False, err=True)


def print_pairs(pairs: Iterable[tuple[str, str]]) -> None:
    """Prints names and values, a pair a line: aligned on a terminal, tab-separated everywhere else."""
    shown = list(pairs)
    width = max(len(name) for name, _ in shown) + 2
    for name, value in shown:
        click.echo(f"{name:{width}}{value}" if sys.stdout.isatty() else f"{name}\t{value}")


def count_text(count: int, noun: str) -> str:
    """A number with its noun."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def contents_text(*, events: int, accounts: int) -> str:
    """What a store has."""
    return f"{count_text(events, 'event')} of {count_text(accounts, 'account')}"


def size_text(size_bytes: int) -> str:
    """A size in megabytes."""
    return f"{size_bytes / 1e6:,.1f} MB"
