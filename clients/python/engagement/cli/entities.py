"""`engagement entities`: the account's lists of customer statuses and customer types."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO

import click
from google.protobuf import json_format

from engagement import v1
from engagement.cli import printing
from engagement.cli.connection import Connection, connect
from engagement.cli.connection_options import account_option, server_option
from engagement.cli.failures import CommandError, ExitStatus, NothingFoundError
from engagement.cli.help import Group
from engagement.cli.input_file import DAMAGE, open_input
from engagement.limits import MAX_ENTITY_NAME_CHARACTERS, MAX_ENTITY_NAMES

Answer = v1.ListEntitiesResponse | v1.PutEntitiesResponse | v1.DeleteEntityResponse

_KINDS = {
    "status": v1.EntityKind.ENTITY_KIND_CUSTOMER_STATUS,
    "type": v1.EntityKind.ENTITY_KIND_CUSTOMER_TYPE,
}
_TITLES = {
    v1.EntityKind.ENTITY_KIND_CUSTOMER_STATUS: "customer statuses",
    v1.EntityKind.ENTITY_KIND_CUSTOMER_TYPE: "customer types",
}
# A character takes up to four bytes; a byte order mark and the line ending come on top.
_MAX_LINE_BYTES = 4 * MAX_ENTITY_NAME_CHARACTERS + 8
_MAX_BAD_LINES = 10

_EPILOG = """\b
Examples:
  engagement entities put status Gold Silver Bronze --account acme
  engagement entities put status --closed --account acme
  engagement entities list status --account acme
  engagement entities delete status bronze --account acme
  engagement entities list status > statuses.txt
  engagement entities import status statuses.txt --account other
"""

_kind_argument = click.argument(
    "kind",
    type=click.Choice([*_KINDS]),
    callback=lambda _context, _argument, value: _KINDS[value],
)
_closed_option = click.option(
    "--closed/--open",
    "closed",
    default=None,
    help="Reject events with other values from now on, or accept them.  [default: unchanged]",
)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print the list in proto-JSON.")


@click.group(cls=Group, epilog=_EPILOG)
def entities() -> None:
    """Manage the lists that statuses and types are matched against.

    An account has a list of customer statuses (KIND status) and one of customer
    types (KIND type), of up to 110 names each. An event whose whole value is a
    name of the list, ignoring case, is stored with that name as its match,
    beside the original value. A closed list rejects events with other values.
    Changes apply to later events only.
    """


@entities.command("list")
@_kind_argument
@server_option
@account_option
@_json_option
def list_names(kind: v1.EntityKind, *, server: str, account: str, as_json: bool) -> int:
    """Show a list, and whether it is closed.

    In a pipe or file there is one name per line, as import reads them.
    """
    with connect(server, account=account) as connection:
        answer = connection.call(lambda client: client.list_entities(kind))
    if not as_json:
        _print_names(answer.names)
    _print_state(answer, kind=kind, as_json=as_json)
    return ExitStatus.OK


@entities.command()
@_kind_argument
@click.argument("names", metavar="[NAME...]", nargs=-1)
@_closed_option
@server_option
@account_option
@_json_option
def put(  # noqa: PLR0913 - one for each option
    kind: v1.EntityKind,
    *,
    names: Sequence[str],
    closed: bool | None,
    server: str,
    account: str,
    as_json: bool,
) -> int:
    """Add names to a list, close or open it, or both.

    A name that is listed in another case gets the new spelling. Spaces are
    significant: quote names that contain some.
    """
    if not names and closed is None:
        raise click.UsageError("Give a NAME, --closed or --open.")
    with connect(server, account=account) as connection:
        answer = connection.call(lambda client: client.put_entities(kind, names, closed=closed))
    _print_state(answer, kind=kind, as_json=as_json)
    return ExitStatus.OK


@entities.command()
@_kind_argument
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@server_option
@account_option
@_json_option
def delete(kind: v1.EntityKind, *, names: Sequence[str], server: str, account: str, as_json: bool) -> int:
    """Remove names from a list, ignoring case.

    The exit status is 1 if a name is not listed; the others are removed.
    """
    with connect(server, account=account) as connection:
        missing = sum(not _remove(name, kind=kind, connection=connection) for name in names)
        answer = connection.call(lambda client: client.list_entities(kind))
    _print_state(answer, kind=kind, as_json=as_json)
    return ExitStatus.INCOMPLETE if missing else ExitStatus.OK


@entities.command("import")
@_kind_argument
@click.argument(
    "file", metavar="FILE", type=click.Path(exists=True, dir_okay=False, readable=True, allow_dash=True)
)
@_closed_option
@server_option
@account_option
@_json_option
def import_names(  # noqa: PLR0913 - one for each option
    kind: v1.EntityKind, *, file: str, closed: bool | None, server: str, account: str, as_json: bool
) -> int:
    """Add the names in a file, one per line in UTF-8; - is standard input.

    Blank lines are skipped. All names are added, or none of them if one is
    invalid or the list would exceed 110 names.
    """
    with open_input(file) as source:
        if source.foreign_format:
            raise CommandError(f"{source.name} is {source.foreign_format}.")
        names = _read_names(source.stream, source=source.name)
    with connect(server, account=account) as connection:
        answer = connection.call(lambda client: client.put_entities(kind, names, closed=closed))
    _print_state(answer, kind=kind, as_json=as_json)
    return ExitStatus.OK


def _remove(name: str, *, kind: v1.EntityKind, connection: Connection) -> bool:
    """Removes a name; reports it and returns false if it is not listed."""
    try:
        connection.call(lambda client: client.delete_entity(kind, name))
    except NothingFoundError as error:
        click.echo(f"engagement: {error.format_message()}", err=True)
        return False
    return True


def _read_names(stream: BinaryIO, *, source: str) -> list[str]:
    """The names in a file. Raises CommandError if one is invalid or there are too many."""
    names: dict[str, int] = {}
    bad: list[str] = []
    try:
        for number, line in enumerate(iter(lambda: stream.readline(_MAX_LINE_BYTES), b""), 1):
            if len(line) == _MAX_LINE_BYTES:
                bad.append(f"line {number} has more than {MAX_ENTITY_NAME_CHARACTERS} characters")
                break
            try:
                name = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError:
                bad.append(f"line {number} is not UTF-8")
                continue
            if name.strip():
                names.setdefault(name, number)
            if len(names) > MAX_ENTITY_NAMES or len(bad) > _MAX_BAD_LINES:
                break
    except DAMAGE as error:
        raise CommandError(f"{source} cannot be read to its end: {error}") from error
    bad += _broken_rules(names)
    if bad:
        raise CommandError("\n".join([f"{source} has invalid names:", *bad[:_MAX_BAD_LINES]]))
    if len(names) > MAX_ENTITY_NAMES:
        raise CommandError(
            f"{source} has more than {MAX_ENTITY_NAMES} names, the maximum of a list; "
            f"line {max(names.values())} is the first beyond it."
        )
    return [*names]


def _broken_rules(names: dict[str, int]) -> Iterator[str]:
    from engagement import rules  # noqa: PLC0415 - slow to import, and only this needs it

    for name, number in names.items():
        request = v1.PutEntitiesRequest(
            account_id="any", kind=v1.EntityKind.ENTITY_KIND_CUSTOMER_STATUS, names=[name]
        )
        for violation in rules.check_message(request):
            yield f"line {number} {violation.description}"


def _print_names(names: Iterable[str]) -> None:
    if printing.is_terminal():
        rows = printing.Rows("", "name", flexible="name")
        for number, name in enumerate(names, 1):
            rows.add((str(number), name))
        rows.finish()
    else:
        printing.print_lines(names)
    sys.stdout.flush()


def _print_state(answer: Answer, *, kind: v1.EntityKind, as_json: bool) -> None:
    """The number of names and whether others are rejected; or the whole list in JSON."""
    if as_json:
        shown = json_format.MessageToJson(
            answer, indent=None, ensure_ascii=False, always_print_fields_with_no_presence=True
        )
        click.echo(shown)
        return
    names = f"{len(answer.names)} name{'' if len(answer.names) == 1 else 's'}"
    others = "closed: other values are rejected" if answer.closed else "open: other values are accepted"
    click.echo(f"{_TITLES[kind]}: {names}, {others}", err=True)
