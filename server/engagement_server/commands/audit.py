"""`engagement audit`: finds persons in the audit log. It imports the server only when it is run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from engagement_server.commands.serve import ServeError, with_options
from engagement_server.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_EPILOG = """\b
Examples:
  engagement audit subject c-4711 --account acme --audit-key audit.key

Exit status: 0 done, 2 wrong usage, or the key cannot be read.
"""


class AuditError(ServeError):
    """The key cannot be used; the message says why."""


def _key_option(command: Callable[..., int]) -> Callable[..., int]:
    return with_options(command, is_wanted={"audit_key"}.__contains__)


@click.group(epilog=_EPILOG)
def audit() -> None:
    """Find persons in the audit log of a server.

    The log names nobody: it has keyed hashes of ids. See docs/security.md.
    """


@audit.command()
@click.argument("subject_id", metavar="ID")
@click.option(
    "--account",
    metavar="ACCOUNT",
    envvar="ENGAGEMENT_ACCOUNT",
    show_envvar=True,
    required=True,
    help="Account that the id belongs to: elsewhere it has another hash.",
)
@_key_option
def subject(subject_id: str, *, account: str, audit_key: Path | None) -> int:
    """Print the hash by which the audit log names ID.

    ID is that of a consumer, a customer, a conversation or an event.
    """
    if audit_key is None:
        raise click.UsageError("Name the key of the audit log: --audit-key FILE, or ENGAGEMENT_AUDIT_KEY.")
    from engagement_server.access.audit_subjects import read_key, subject_hash  # noqa: PLC0415

    try:
        key = read_key(audit_key)
    except ConfigurationError as error:
        raise AuditError(str(error)) from error
    click.echo(subject_hash(key, account_id=account, subject_id=subject_id))
    return 0
