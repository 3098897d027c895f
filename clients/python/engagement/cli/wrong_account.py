"""Says that an account has no events: its name may be wrong."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import click

from engagement.cli.failures import CommandError

if TYPE_CHECKING:
    from engagement.cli.connection import Connection


def report_if_empty(connection: Connection, account: str) -> None:
    """Looks for an event of the account, and says on standard error if there is none."""
    listed = connection.iterate(lambda client: client.list_events(page_size=1), at_once=1)
    with suppress(CommandError):  # what the command is about has been said
        if next(listed, None) is None:
            report(account)


def report(account: str) -> None:
    """Says that the account has no events."""
    click.echo(f"Account '{account}' has no events.", err=True)
