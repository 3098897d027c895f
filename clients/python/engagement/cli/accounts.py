"""`engagement accounts`: lists the accounts of a server."""

from __future__ import annotations

import sys

import click
from google.protobuf import json_format

from engagement import v1
from engagement.cli import printing
from engagement.cli.connection import connect
from engagement.cli.connection_options import server_option
from engagement.cli.failures import ExitStatus
from engagement.cli.partitions import report_unreached
from engagement.client import EngagementClient

_PAGE_ACCOUNTS = 1000
_EPILOG = """\b
Examples:
  engagement accounts
  engagement accounts --server engagement.example.com:50051
  engagement accounts --json | jq -r 'select(.events == "0") | .accountId'

Exit status: 0 done, also if there is no account; 2 wrong usage or no connection.
"""


@click.command(epilog=_EPILOG)
@server_option
@click.option("--json", "as_json", is_flag=True, help="Print an Account in proto-JSON on each line.")
def accounts(server: str, *, as_json: bool) -> int:
    """List the accounts of a server, with the number of their events.

    An account is listed once something is stored for it: an event, a list of
    statuses or types, or a suppression. It stays listed when its events expire or
    are erased. The bytes are those of its events as they were sent, and the time is
    that at which the last of them was accepted.

    A node of a cluster lists the accounts of the partitions that it serves, and
    says on standard error which others there are.
    """
    with connect(server) as connection:
        report_unreached(connection.call(EngagementClient.get_server_info))
        rows = printing.Rows("account", "events", "bytes", "last accepted", flexible="account")
        listed = connection.iterate(
            lambda client: client.list_accounts(page_size=_PAGE_ACCOUNTS), at_once=_PAGE_ACCOUNTS
        )
        account = None
        for account in listed:
            if as_json:
                _print_json(account)
            else:
                rows.add(_row(account))
        if not as_json:
            rows.finish()
    sys.stdout.flush()
    if account is None:
        click.echo("There is no account yet.", err=True)
    return ExitStatus.OK


def _row(account: v1.Account) -> tuple[str, str, str, str]:
    last = account.last_receive_time.ToJsonString() if account.HasField("last_receive_time") else ""
    return account.account_id, f"{account.events}", f"{account.stored_bytes}", last


def _print_json(account: v1.Account) -> None:
    json = json_format.MessageToJson(account, indent=None, always_print_fields_with_no_presence=True)
    sys.stdout.write(json + "\n")
