"""Lays out help for terminals of any width, and the groups of commands that it describes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from typing import Final

import click

from engagement.cli.connection_options import LEADING_OPTIONS

MAX_COLUMNS: Final = 120
"""Longer lines are hard to read."""
_NARROW_COLUMNS: Final = 70
_NARROW_TERM_COLUMNS: Final = 20
_TERM_COLUMNS: Final = 30
_CONTINUATION: Final = "      "
_WORD: Final = re.compile(r"""(?:'[^']*'|"[^"]*"|\S)+""")


class HelpFormatter(click.HelpFormatter):
    """Folds examples, which click leaves as they are, so that a shell still takes them."""

    def write_text(self, text: str) -> None:
        """Writes paragraphs; those after a backspace are examples, a command on each line."""
        width = self.width - self.current_indent
        paragraphs = text.split("\n\n")
        super().write_text("\n\n".join(_fold(each, width) for each in paragraphs))

    def write_dl(
        self, rows: Iterable[tuple[str, str]], col_max: int = _TERM_COLUMNS, col_spacing: int = 2
    ) -> None:
        """Writes terms and their descriptions, which get most of a narrow terminal."""
        is_narrow = self.width < _NARROW_COLUMNS
        super().write_dl([*rows], min(col_max, _NARROW_TERM_COLUMNS) if is_narrow else col_max, col_spacing)


class Context(click.Context):
    """The context of every command, for its help."""

    formatter_class = HelpFormatter


class Group(click.Group):
    """Commands; the options that they share may stand before them as well."""

    context_class = Context

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        """Moves the shared options behind the command."""
        leading, rest = _split_leading(args)
        if leading and not rest and not context.resilient_parsing:
            example = shlex.join([*context.command_path.split(), "list", *leading])
            raise click.UsageError(f"No command is given, as in: {example}", context)
        is_command = bool(rest) and not rest[0].startswith("-")
        try:
            return super().parse_args(context, [rest[0], *leading, *rest[1:]] if is_command else rest)
        except click.NoSuchOption as error:
            if not any(each in self.list_commands(context) for each in rest):
                raise
            shared = f"{', '.join(LEADING_OPTIONS[:-1])} and {LEADING_OPTIONS[-1]}"
            text = f"{error.option_name} belongs after the command; only {shared} may stand before it."
            raise click.UsageError(text, context) from error

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the arguments name. Raises UsageError, which has the nearest one."""
        name = args[0]
        if self.get_command(context, name) is None and not context.resilient_parsing:
            from difflib import get_close_matches  # noqa: PLC0415 - needed for this only

            near = get_close_matches(name, self.list_commands(context), n=1)
            hint = f"; did you mean '{near[0]}'?" if near else "."
            raise click.UsageError(f"There is no command '{name}'{hint}", context)
        return super().resolve_command(context, args)

    def add_command(self, command: click.Command, name: str | None = None) -> None:
        """Adds a command, whose help is laid out as that of the group."""
        command.context_class = Context
        super().add_command(command, name)


def _split_leading(args: Sequence[str]) -> tuple[list[str], list[str]]:
    """The shared options at the beginning with their values, and the other arguments."""
    count = 0
    while count < len(args) and args[count].partition("=")[0] in LEADING_OPTIONS:
        count += 1 if "=" in args[count] else 2
    return list(args[:count]), list(args[count:])


def _fold(paragraph: str, width: int) -> str:
    mark, _, lines = paragraph.partition("\n")
    if mark.strip() != "\b":
        return paragraph
    return "\n".join([mark, *(_fold_command(line, width) for line in lines.split("\n"))])


def _fold_command(line: str, width: int) -> str:
    """The line, continued with backslashes if it is too long."""
    if len(line) <= width:
        return line
    folded = [line[: len(line) - len(line.lstrip())]]
    for word in _WORD.findall(line):
        has_words = bool(folded[-1].strip())
        if has_words and len(folded[-1]) + len(word) + len("  \\") > width:
            folded[-1] += " \\"
            folded.append(_CONTINUATION + word)
        else:
            folded[-1] += f" {word}" if has_words else word
    return "\n".join(folded)
