"""A table of texts of others that is never wider than asked for: columns are cut, then left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich.cells import cell_len
from rich.text import Text

from engagement.cli.top.charset import Charset

_WIDE_GAP: Final = 2
_NARROW_GAP: Final = 1
_NARROW_COLUMNS: Final = 90


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    name: str
    rank: int
    """Of the columns that do not fit, those of the highest rank are left out."""
    least: int = 0
    """The width to which values are cut; 0 if they never are."""
    wanted: int = 0
    """The width up to which columns of a higher rank give way; 0 if they do not."""
    is_number: bool = False
    keeps_end: bool = False
    """Whether values lose their beginning when they are cut, as paths do."""
    style: str = ""


def lay_out(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], *, width: int | None, charset: Charset
) -> list[Text]:
    """The lines of a table with its header; without a width nothing is cut or left out, but empty columns."""
    cells = [[charset.clean(value) for value in row] for row in rows]
    natural = [
        max([cell_len(column.name), *(cell_len(row[at]) for row in cells)])
        for at, column in enumerate(columns)
    ]
    used = [at for at in range(len(columns)) if not cells or any(row[at] for row in cells)]
    gap = _WIDE_GAP if width is None or width >= _NARROW_COLUMNS else _NARROW_GAP
    widths = {at: natural[at] for at in used}
    if width is not None:
        widths = _fit(columns, widths, width=width, gap=gap)
    header = _line(columns, [column.name for column in columns], widths, gap, charset, style="dim")
    return [header, *(_line(columns, row, widths, gap, charset) for row in cells)]


def _fit(columns: Sequence[Column], natural: dict[int, int], *, width: int, gap: int) -> dict[int, int]:
    """The widths of the columns that are shown, which share what is left."""
    least = {at: min(most, columns[at].least or most) for at, most in natural.items()}
    wanted = {at: max(size, min(natural[at], columns[at].wanted)) for at, size in least.items()}
    while len(least) > 1:
        last = max(least, key=lambda at: columns[at].rank)
        # What is wanted makes others give way, never the columns that want it.
        needed = wanted if columns[last].rank > 0 and not columns[last].wanted else least
        if sum(needed[at] for at in least) + gap * (len(least) - 1) <= width:
            break
        del least[last]
    _grow(least, {at: wanted[at] for at in least}, width=width, gap=gap)
    _grow(least, {at: natural[at] for at in least}, width=width, gap=gap)
    return least


def _grow(widths: dict[int, int], targets: dict[int, int], *, width: int, gap: int) -> None:
    """Shares what is left among the columns that are narrower than their targets."""
    spare = width - sum(widths.values()) - gap * (len(widths) - 1)
    while spare > 0 and (growing := [at for at in widths if widths[at] < targets[at]]):
        for at in growing[:spare]:
            widths[at] += 1
            spare -= 1


def _line(  # noqa: PLR0913 - all that a line is made of
    columns: Sequence[Column],
    row: Sequence[str],
    widths: dict[int, int],
    gap: int,
    charset: Charset,
    *,
    style: str = "",
) -> Text:
    line = Text(end="")
    for place, (at, width) in enumerate(widths.items()):
        column = columns[at]
        value = charset.fit(row[at], width, keeps_end=column.keeps_end)
        blanks = " " * (width - cell_len(value))
        line.append(" " * gap if place else "")
        line.append(blanks + value if column.is_number else value + blanks, style or column.style)
    line.rstrip()
    return line
