"""The options of `engagement export` for tables."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Final  # Any: a command takes and returns anything

import click

from engagement.cli.tables.style import TableStyle

_SQL: Final = "sql"
_CSV: Final = (".csv", ".csv.gz")
_TABLES: Final = (*_CSV, ".parquet")


def table_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options to a command, which gets them as `style`."""

    @click.option(
        "--column-names",
        type=click.Choice(["dotted", _SQL]),
        default="dotted",
        show_default=True,
        help="Names of a table's columns: customer_info.balance, or for SQL customer_info_balance.",
    )
    @click.option(
        "--mark-formulas",
        is_flag=True,
        help="In CSV, put an apostrophe before texts that a spreadsheet would compute. upload removes it.",
    )
    @click.option(
        "--excel",
        is_flag=True,
        help="CSV that Excel opens as UTF-8, with a byte order mark. Implies --mark-formulas.",
    )
    @wraps(command)
    def with_style(*args: Any, column_names: str, mark_formulas: bool, excel: bool, **options: Any) -> Any:
        style = TableStyle(
            has_sql_names=column_names == _SQL,
            marks_formulas=mark_formulas or excel,
            has_byte_order_mark=excel,
        )
        return command(*args, style=style, **options)

    return with_style


def style_arguments(style: TableStyle) -> list[str]:
    """The options that give this style."""
    names = ["--column-names", _SQL] if style.has_sql_names else []
    if style.has_byte_order_mark:
        return [*names, "--excel"]
    return [*names, *(["--mark-formulas"] if style.marks_formulas else [])]


def require_usable(style: TableStyle, *, name: str) -> None:
    """Raises UsageError if a file with this name cannot be written so."""
    if style.has_sql_names and not name.endswith(_TABLES):
        raise click.UsageError("--column-names is for CSV and Parquet.")
    if style.marks_formulas and not name.endswith(_CSV):
        raise click.UsageError("--mark-formulas and --excel are for CSV.")
