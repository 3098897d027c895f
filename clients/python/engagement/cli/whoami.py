"""`engagement whoami`: shows as whom a server sees the caller, and what that may do."""

from __future__ import annotations

from collections.abc import Iterator

import click
from google.protobuf import json_format

from engagement import v1
from engagement.cli.connection import connect
from engagement.cli.connection_options import server_option
from engagement.cli.failures import ExitStatus
from engagement.cli.moment import write_epoch_ms
from engagement.cli.printing import print_pairs
from engagement.client import EngagementClient

_EPILOG = """\b
Examples:
  engagement whoami
  engagement whoami --server engagement.example.com:50051 --json
"""

_QUOTAS = {
    "events_per_second": "events a second",
    "concurrent_streams": "concurrent streams",
    "stored_bytes": "stored bytes of an account",
    "max_new_accounts": "new accounts",
}


@click.command(epilog=_EPILOG)
@server_option
@click.option("--json", "as_json", is_flag=True, help="Print GetIdentityResponse in proto-JSON.")
def whoami(server: str, *, as_json: bool) -> int:
    """Show as whom a server sees you, and what you may do there."""
    with connect(server) as connection:
        answer = connection.call(EngagementClient.get_identity)
    if as_json:
        click.echo(json_format.MessageToJson(answer, indent=None, always_print_fields_with_no_presence=True))
    else:
        print_pairs(_describe(answer))
    return ExitStatus.OK


def _describe(answer: v1.GetIdentityResponse) -> Iterator[tuple[str, str]]:
    yield "principal", answer.principal or "nobody: the server does not ask who calls"
    if answer.credential:
        yield "shown by", answer.credential
        expires = write_epoch_ms(answer.expire_time.ToMilliseconds())
        yield "expires", expires if answer.HasField("expire_time") else "never"
    yield "accounts", ", ".join("all" if each == "*" else each for each in answer.accounts) or "none"
    yield "scopes", ", ".join(map(_scope_name, answer.scopes)) or "none"
    if answer.sources:
        yield "sources", ", ".join(answer.sources)
    yield "may set authenticated", "yes" if answer.may_authenticate else "no"
    if answer.publishable:
        yield "publishable", "yes: it only sends events"
    for field, label in _QUOTAS.items():
        if answer.quotas.HasField(field):
            yield label, f"{getattr(answer.quotas, field):,}".removesuffix(".0")


def _scope_name(scope: int) -> str:
    """As grants and the contract's comments write it."""
    return v1.Scope.Name(scope).removeprefix("SCOPE_").lower().replace("_", ".")
