"""Prints values and rows: aligned on a terminal, tab-separated everywhere else.

Values come from producers and are not trusted: control characters are always escaped.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_TABLE_ROWS: Final = 100


def is_terminal() -> bool:
    """Whether the output goes to a terminal."""
    return sys.stdout.isatty()


def print_pairs(pairs: Iterable[tuple[str, str]]) -> None:
    """Prints names and values, a pair per line."""
    if not is_terminal():
        for pair in pairs:
            _print_line(pair)
        return
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in pairs:
        grid.add_row(printable(name), Text(printable(value)))
    Console().print(grid)


def print_lines(values: Iterable[str]) -> None:
    """Prints each value on a line."""
    for value in values:
        _print_line((value,))


class Rows:
    """Rows below a header; on a terminal some are held back to align them."""

    def __init__(self, *names: str) -> None:
        self._names = names
        self._held: list[Sequence[str]] = []
        self._are_names_printed = False

    def add(self, row: Sequence[str]) -> None:
        """Prints a row, now or with later ones."""
        self._held.append(row)
        if not is_terminal() or len(self._held) == _TABLE_ROWS:
            self.finish()

    def finish(self) -> None:
        """Prints the rows that are held back."""
        if is_terminal():
            self._print_table()
        else:
            self._print_lines()
        self._held.clear()

    def _print_table(self) -> None:
        table = Table(box=None, padding=(0, 1), header_style="bold")
        for name in self._names:
            table.add_column(name, overflow="fold")
        for row in self._held:
            table.add_row(*(Text(printable(value)) for value in row))
        if self._held:
            Console().print(table)

    def _print_lines(self) -> None:
        if not self._are_names_printed:
            _print_line(self._names)
            self._are_names_printed = True
        for row in self._held:
            _print_line(row)


class LiveRows:
    """Rows below a header, printed as they arrive; on a terminal the columns have fixed widths."""

    def __init__(self, *names: str, widths: Sequence[int]) -> None:
        self._names = names
        self._widths = widths
        self._are_names_printed = False

    def add(self, row: Sequence[str]) -> None:
        """Prints a row."""
        if not self._are_names_printed:
            self._are_names_printed = True
            self.add(self._names)
        if is_terminal():
            cells = (printable(value).ljust(width) for value, width in zip(row, self._widths, strict=True))
            sys.stdout.write("  ".join(cells).rstrip() + "\n")
        else:
            _print_line(row)


def _print_line(values: Sequence[str]) -> None:
    sys.stdout.write("\t".join(map(printable, values)) + "\n")


def printable(text: str) -> str:
    """The text with control characters escaped, so that it stays on its line and changes no colours."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
