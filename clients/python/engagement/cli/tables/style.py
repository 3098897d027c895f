"""How a table is written: the names of its columns, and its protection in spreadsheets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MARKS_COLUMN: Final = "formulas"
"""The last column of a table whose texts are marked."""
MARKED: Final = "marked"
"""Its cell in a row of marked texts."""
_MARK: Final = "'"
# What a spreadsheet computes, in half and full width, and the mark itself.
_MARKED_BEGINNINGS: Final = frozenset("=+-@\t\r\n＝＋－＠" + _MARK)  # noqa: RUF001 - full width


@dataclass(frozen=True, slots=True, kw_only=True)
class TableStyle:
    """The options of a table; a resumed one keeps those with which it was begun."""

    has_sql_names: bool = False
    """Whether names have an underscore in place of the dot."""
    marks_formulas: bool = False
    """Whether texts that a spreadsheet would compute are marked."""
    has_byte_order_mark: bool = False
    """Whether the file begins with one, by which Excel recognizes UTF-8."""

    def name(self, column: str) -> str:
        """The name of a column."""
        return sql_name(column) if self.has_sql_names else column


def sql_name(column: str) -> str:
    """The name of a column that SQL needs no quotes for."""
    return column.replace(".", "_")


def mark(text: str) -> str:
    """The text, behind an apostrophe if a spreadsheet would compute it, or if it begins with one itself."""
    return _MARK + text if text[:1] in _MARKED_BEGINNINGS else text


def unmark(text: str) -> str:
    """The text that was marked."""
    return text[1:] if text[:1] == _MARK else text
