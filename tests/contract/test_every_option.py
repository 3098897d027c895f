"""Every command and option of the command line is documented, and nothing that is not there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from engagement.cli.program import program

DOCUMENT = (Path(__file__).parents[2] / "docs/command-line.md").read_text()
# Its options are the settings, whose table in docs/operations.md has a test of its own.
HAS_OWN_TABLE = {"serve"}
# Said once for all commands.
GENERAL = {
    "--server",
    "--account",
    "--json",
    "--profile",
    "--token-file",
    "--ca",
    "--cert",
    "--key",
    "--allow-plaintext-token",
}
CHOOSES_EVENTS = {"list", "tail", "export"}


def commands(group: click.Group, prefix: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command by the words that call it."""
    for name in group.list_commands(context := click.Context(group)):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


COMMANDS = dict(commands(program))


def options(command: click.Command) -> Iterator[click.Option]:
    """The options of a command."""
    yield from (parameter for parameter in command.params if isinstance(parameter, click.Option))


def flags(text: str) -> set[str]:
    """The options that a text names."""
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))


def rows(heading: str) -> list[list[str]]:
    """The cells of the table in a section of the document."""
    _, found, text = DOCUMENT.partition(f"\n## {heading}\n")
    assert found, heading
    table = re.findall(r"^\| (.*) \|$", text.partition("\n## ")[0], re.MULTILINE)
    return [row.split(" | ") for row in table[2:]]


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - HAS_OWN_TABLE))
def test_the_document_has_the_options_of_a_command_and_no_others(name: str) -> None:
    documented = {
        flag
        for used_by, option, *_ in rows("Options of single commands")
        if f"`{name}`" in used_by
        for flag in flags(option)
    }
    if name in CHOOSES_EVENTS:
        documented |= {flag for option, *_ in rows("Choosing events") for flag in flags(option)}
    taken = {flag for option in options(COMMANDS[name]) for flag in (*option.opts, *option.secondary_opts)}
    assert documented == taken - GENERAL


def test_the_table_of_commands_has_them_all() -> None:
    assert flags(DOCUMENT) >= GENERAL
    table = "\n".join(command for command, *_ in rows("Commands"))
    for name in COMMANDS:
        assert re.search(rf"`(engagement )?{name.split()[0]}\b", table), name


def test_every_option_has_a_sentence_of_help() -> None:
    for name, command in COMMANDS.items():
        for option in options(command):
            assert option.help, f"{name} {option.name}"
