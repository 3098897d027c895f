"""Prints values and rows: aligned on a terminal, tab-separated everywhere else.

Values come from producers and are not trusted: control characters are always escaped.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final
from unicodedata import is_normalized

from google.protobuf import json_format

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from rich.console import Console

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_TABLE_ROWS: Final = 100
_GAP: Final = "  "
_INDENT: Final = "    "
_NARROW_COLUMNS: Final = 60
_MIN_FOLDED_COLUMNS: Final = 16
_MIN_FLEXIBLE_COLUMNS: Final = 36
"""The flexible column of a table gets at least this much, which is a UUID, or all that it needs."""


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

    Only values of the `flexible` column are broken between lines, so that ids stay whole. On a terminal that
    is too narrow for all columns they get lines of their own; if it is too narrow for the others, too, each
    row is a paragraph with a name and value per line.
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
        if is_terminal():
            self._print_aligned()
        else:
            self._print_lines()
        self._held.clear()

    def _print_aligned(self) -> None:
        rows = [[printable(value) for value in row] for row in self._held]
        widths = [max(map(_width, column)) for column in zip(self._names, *rows, strict=True)]
        aligned = _AlignedRows(self._names, widths=widths, flexible=self._flexible, names_style="bold")
        for row in rows:
            aligned.add(row)

    def _print_lines(self) -> None:
        if not self._are_names_printed:
            _print_line(self._names)
            self._are_names_printed = True
        for row in self._held:
            _print_line(row)


class LiveRows:
    """Rows below a header, printed as they arrive.

    On a terminal they are laid out as in Rows; the widths are the given ones or those of the first row, and
    longer values exceed them. The last column is the flexible one.
    """

    def __init__(self, *names: str, widths: Sequence[int]) -> None:
        self._names = names
        self._widths = widths
        self._aligned: _AlignedRows | None = None
        self._are_names_printed = False

    def add(self, row: Sequence[str]) -> None:
        """Prints a row."""
        if is_terminal():
            shown = [printable(value) for value in row]
            if self._aligned is None:
                widths = [max(width, _width(value)) for width, value in zip(self._widths, shown, strict=True)]
                self._aligned = _AlignedRows(self._names, widths=widths, flexible=len(widths) - 1)
            self._aligned.add(shown)
            return
        if not self._are_names_printed:
            self._are_names_printed = True
            _print_line(self._names)
        _print_line(row)


class _AlignedRows:
    """Rows of printable values on a terminal, below a header if they have columns."""

    def __init__(
        self, names: Sequence[str], *, widths: Sequence[int], flexible: int, names_style: str = ""
    ) -> None:
        self._names_style = names_style
        self._console = _console()
        self._names = names
        self._widths = [*widths]
        self._flexible = flexible
        left = self._console.width - sum(width + len(_GAP) for width in widths) + widths[flexible] + len(_GAP)
        self._are_paragraphs = left < 0
        left -= len(_GAP)
        self._is_stacked = left < min(widths[flexible], _MIN_FLEXIBLE_COLUMNS)
        is_last = flexible == len(names) - 1
        self._widths[flexible] = left if is_last else min(left, widths[flexible])
        self._are_names_printed = self._are_paragraphs

    def add(self, row: Sequence[str]) -> None:
        """Prints a row."""
        if not self._are_names_printed:
            self._are_names_printed = True
            self._print(self._names, style=self._names_style)
        if self._are_paragraphs:
            pairs = ((name, value) for name, value in zip(self._names, row, strict=True) if value)
            _print_grid(self._console, pairs)
            self._console.print()
        else:
            self._print(row)

    def _print(self, row: Sequence[str], *, style: str = "") -> None:
        from rich.text import Text  # noqa: PLC0415 - for terminals only

        at = self._flexible
        indent = len(_INDENT) if self._is_stacked else sum(width + len(_GAP) for width in self._widths[:at])
        width = self._console.width - indent if self._is_stacked else self._widths[at]
        folded = _fold(self._console, row[at], width)
        if self._is_stacked:
            first = self._align([*row[:at], "", *row[at + 1 :]], skip=at)
        else:
            first = self._align([*row[:at], folded.pop(0), *row[at + 1 :]])
        for line in (first, *(" " * indent + line for line in folded if line)):
            self._console.print(Text(line, style=style), soft_wrap=True)

    def _align(self, row: Sequence[str], *, skip: int | None = None) -> str:
        cells = (
            value + " " * (width - _width(value))
            for index, (value, width) in enumerate(zip(row, self._widths, strict=True))
            if index != skip
        )
        return _GAP.join(cells).rstrip()


def _console() -> Console:
    from rich.console import Console  # noqa: PLC0415 - for terminals only

    # Without a size it takes terminals of few capabilities to be 80 columns wide.
    columns, lines = shutil.get_terminal_size()
    return Console(width=columns, height=lines)


def _print_grid(console: Console, pairs: Iterable[tuple[str, str]]) -> None:
    from rich.text import Text  # noqa: PLC0415 - for terminals only

    shown = [(printable(name), printable(value)) for name, value in pairs]
    gap = _GAP if console.width >= _NARROW_COLUMNS else " "
    indent = max((_width(name) for name, _ in shown), default=0) + len(gap)
    for name, value in shown:
        first, *more = _fold(console, value, console.width - indent)
        label = name + " " * (indent - _width(name))
        console.print(Text.assemble((label, "dim"), first), soft_wrap=True)
        for line in more:
            console.print(Text(" " * indent + line), soft_wrap=True)


def _fold(console: Console, text: str, width: int) -> list[str]:
    """The lines of a text, broken between words if possible; at least one."""
    from rich.text import Text  # noqa: PLC0415 - for terminals only

    lines = Text(text).wrap(console, max(width, _MIN_FOLDED_COLUMNS))
    return [line.plain.rstrip() for line in lines] or [""]


def _width(text: str) -> int:
    """The columns that a text takes on a terminal."""
    from rich.cells import cell_len  # noqa: PLC0415 - for terminals only

    return cell_len(text)


def _print_line(values: Sequence[str]) -> None:
    sys.stdout.write("\t".join(map(printable, values)) + "\n")


def quoted(text: str) -> str:
    """An id as a JSON string, in which every blank and every character that is not visible can be seen.

    If it looks like another one, because its letters are not composed, all that is not ASCII is escaped.
    """
    written = json.dumps(text, ensure_ascii=not is_normalized("NFC", text))
    return "".join([each if each.isprintable() else json.dumps(each)[1:-1] for each in written])


def proto_json(message: Message) -> str:
    """A message as one line of proto-JSON."""
    return json_format.MessageToJson(message, indent=None, ensure_ascii=False)


def visible(id_: str) -> str:
    """The id, in quotation marks if it begins or ends with a blank, which would not be seen."""
    return id_ if id_ == id_.strip() else json.dumps(id_, ensure_ascii=False)


def printable(text: str) -> str:
    """The text with control characters escaped, so that it stays on its line and changes no colours."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
