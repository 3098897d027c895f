"""The options of all commands that talk to a server: its address, and the account."""

from __future__ import annotations

import re
from typing import Final

import click

from engagement.cli.address import read_address
from engagement.cli.failures import CommandError

LEADING_OPTIONS: Final = ("--server", "--account")
"""They may also stand before the command."""
_MAX_ACCOUNT_CHARACTERS: Final = 64
_FOREIGN: Final = re.compile(r"[^A-Za-z0-9_-]")


def _read_account(_context: click.Context, _option: click.Parameter, value: str) -> str:
    if not value:
        flaw = "is empty"
    elif (foreign := _FOREIGN.search(value)) is not None:
        flaw = "has a blank" if foreign[0].isspace() else f"has {foreign[0]!r}"
    elif len(value) > _MAX_ACCOUNT_CHARACTERS:
        flaw = f"has {len(value):,} characters"
    else:
        return value
    raise CommandError(
        f"An account (--account or ENGAGEMENT_ACCOUNT) is 1 to {_MAX_ACCOUNT_CHARACTERS} letters (a to z), "
        f"digits, - and _; this one {flaw}."
    )


server_option = click.option(
    "--server",
    metavar="HOST:PORT",
    default="127.0.0.1:50051",
    callback=read_address,
    envvar="ENGAGEMENT_SERVER",
    show_default=True,
    show_envvar=True,
    help="Address of the server.",
)
account_option = click.option(
    "--account",
    metavar="ID",
    required=True,
    callback=_read_account,
    envvar="ENGAGEMENT_ACCOUNT",
    show_envvar=True,
    help=f"The brand's account: 1 to {_MAX_ACCOUNT_CHARACTERS} letters, digits, - and _.",
)
