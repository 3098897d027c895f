"""Prints values and rows: aligned on a terminal, tab-separated everywhere else.

Values come from producers and are not trusted: control characters are always escaped.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.console import Console

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_TABLE_ROWS: Final = 100
_GAP: Final = "  "
_MIN_FLEXIBLE_COLUMNS: Final = 24
"""A table is shown only if its longest column gets this much, or all that it needs."""


def is_terminal() -> bool:
    """Whether the output goes to a terminal."""
    return sys.stdout.isatty()


def print_pairs(pairs: Iterable[tuple[str, str]]) -> None:
    """Prints names and values, a pair per line."""
    if is_terminal():
        _print_grid(_console(), pairs)
    else:
        for pair in pairs:
            _print_line(pair)


def print_lines(values: Iterable[str]) -> None:
    """Prints each value on a line."""
    for value in values:
        _print_line((value,))


class Rows:
    """Rows below a header; on a terminal some are held back to align them.

    On a terminal that is too narrow for the table each row is a paragraph, with a name and value per line, so
    that ids stay whole. Only the values of the `flexible` column are broken between lines.
    """

    def __init__(self, *names: str, flexible: str) -> None:
        self._names = names
        self._flexible = names.index(flexible)
        self._held: list[Sequence[str]] = []
        self._are_names_printed = False

    def add(self, row: Sequence[str]) -> None:
        """Prints a row, now or with later ones."""
        self._held.append(row)
        if not is_terminal() or len(self._held) == _TABLE_ROWS:
            self.finish()

    def finish(self) -> None:
        """Prints the rows that are held back."""
        if not is_terminal():
            self._print_lines()
        elif self._held:
            self._print_aligned()
        self._held.clear()

    def _print_aligned(self) -> None:
        console = _console()
        rows = [[printable(value) for value in row] for row in self._held]
        if self._fits(rows, console.width):
            self._print_table(console, rows)
        else:
            for row in rows:
                _print_record(console, self._names, row)

    def _fits(self, rows: Sequence[Sequence[str]], columns: int) -> bool:
        from rich.cells import cell_len  # noqa: PLC0415 - for terminals only

        widths = [max(map(cell_len, column)) for column in zip(self._names, *rows, strict=True)]
        widths[self._flexible] = min(widths[self._flexible], _MIN_FLEXIBLE_COLUMNS)
        return sum(widths) + len(_GAP) * (len(widths) - 1) <= columns

    def _print_table(self, console: Console, rows: Sequence[Sequence[str]]) -> None:
        from rich.table import Table  # noqa: PLC0415 - for terminals only
        from rich.text import Text  # noqa: PLC0415

        table = Table(box=None, padding=(0, len(_GAP), 0, 0), pad_edge=False, header_style="bold")
        for index, name in enumerate(self._names):
            table.add_column(name, overflow="fold", no_wrap=index != self._flexible)
        for row in rows:
            table.add_row(*map(Text, row))
        console.print(table)

    def _print_lines(self) -> None:
        if not self._are_names_printed:
            _print_line(self._names)
            self._are_names_printed = True
        for row in self._held:
            _print_line(row)


class LiveRows:
    """Rows below a header, printed as they arrive.

    On a terminal the columns have fixed widths, which longer values exceed. If these leave too little for the
    last column, each row is a paragraph as in Rows.
    """

    def __init__(self, *names: str, widths: Sequence[int]) -> None:
        self._names = names
        self._widths = widths
        self._are_names_printed = False

    def add(self, row: Sequence[str]) -> None:
        """Prints a row."""
        if is_terminal():
            self._print_aligned(row)
            return
        if not self._are_names_printed:
            self._are_names_printed = True
            _print_line(self._names)
        _print_line(row)

    def _print_aligned(self, row: Sequence[str]) -> None:
        console = _console()
        taken = sum(self._widths) + len(_GAP) * (len(self._widths) - 1)
        if console.width < taken + _MIN_FLEXIBLE_COLUMNS:
            _print_record(console, self._names, [printable(value) for value in row])
            return
        if not self._are_names_printed:
            self._are_names_printed = True
            self._print_cells(self._names)
        self._print_cells(row)

    def _print_cells(self, row: Sequence[str]) -> None:
        cells = (printable(value).ljust(width) for value, width in zip(row, self._widths, strict=True))
        sys.stdout.write(_GAP.join(cells).rstrip() + "\n")


def _console() -> Console:
    from rich.console import Console  # noqa: PLC0415 - for terminals only

    return Console()


def _print_record(console: Console, names: Sequence[str], row: Sequence[str]) -> None:
    """Prints a row as a paragraph, without empty values."""
    _print_grid(console, ((name, value) for name, value in zip(names, row, strict=True) if value))
    console.print()


def _print_grid(console: Console, pairs: Iterable[tuple[str, str]]) -> None:
    from rich.table import Table  # noqa: PLC0415 - for terminals only
    from rich.text import Text  # noqa: PLC0415

    grid = Table.grid(padding=(0, len(_GAP)))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in pairs:
        grid.add_row(Text(printable(name)), Text(printable(value)))
    console.print(grid)


def _print_line(values: Sequence[str]) -> None:
    sys.stdout.write("\t".join(map(printable, values)) + "\n")


def printable(text: str) -> str:
    """The text with control characters escaped, so that it stays on its line and changes no colours."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
