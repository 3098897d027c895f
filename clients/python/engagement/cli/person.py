"""`engagement person`: shows or exports everything that is stored about a person."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TextIO

import click

from engagement import v1
from engagement.cli import printing, profile, related_ids, suppression, wrong_account
from engagement.cli.connection import Connection, connect
from engagement.cli.connection_options import account_option, server_option
from engagement.cli.event_json import to_json
from engagement.cli.failures import CommandError, ExitStatus, NothingFoundError

_PAGE_EVENTS = 1000
_EPILOG = """\b
Examples:
  engagement person c-17 --account acme
  engagement person c-17 --out c-17.json --account acme
  engagement person c-17 --account acme --json | jq '.events[].event'

Exit status: 0 found, 1 nothing is stored, 2 wrong usage or no connection.
"""


@click.command(epilog=_EPILOG)
@click.argument("person_id", metavar="ID")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write everything, with all events, to a new file that only you can read.",
)
@server_option
@account_option
@click.option(
    "--json", "as_json", is_flag=True, help="Print everything, with all events, as one JSON object."
)
def person(person_id: str, *, out: Path | None, server: str, account: str, as_json: bool) -> int:
    """Show what is stored under ID, as a consumer id or a customer id.

    Shows how many events there are and since when, rejected events that are
    still on record, whether the person is suppressed, the current attributes,
    and other ids under which more of the same person may be stored: look at
    those as well before you answer a request for access.

    --out and --json add all events: members are person, profiles and events.
    """
    if out is not None and as_json:
        raise click.UsageError("Give either --out or --json.")
    with connect(server, account=account) as connection:
        found = connection.call(lambda client: client.get_person(person_id))
        if not (found.events or found.rejections or found.suppressions):
            related_ids.show(found.related, has_more=found.has_more_related, text=related_ids.ALSO)
            wrong_account.report_if_empty(connection, account)
            raise NothingFoundError(
                f"The account {account} has nothing under exactly {printing.quoted(person_id)}."
            )
        profiles = _profiles(connection, found, person_id)
        if as_json:
            _write_all(sys.stdout, connection, found, profiles, person_id)
        elif out is not None:
            with _new_file(out) as file:
                _write_all(file, connection, found, profiles, person_id)
            click.echo(f"Wrote {out}.", err=True)
        else:
            _show(found, profiles, person_id)
    sys.stdout.flush()
    related_ids.show(found.related, has_more=found.has_more_related, text=related_ids.ALSO)
    return ExitStatus.OK


def _profiles(connection: Connection, found: v1.GetPersonResponse, person_id: str) -> list[v1.Profile]:
    """The profiles of the consumer and of the customer with the id, which may be the same."""
    profiles: list[v1.Profile] = []
    if found.consumer_events:
        profiles.append(connection.call(lambda client: client.get_profile(consumer_id=person_id)))
    if found.customer_events:
        by_customer = connection.call(lambda client: client.get_profile(customer_id=person_id))
        if by_customer not in profiles:
            profiles.append(by_customer)
    return profiles


def _show(found: v1.GetPersonResponse, profiles: list[v1.Profile], person_id: str) -> None:
    printing.print_pairs(_pairs(found, person_id))
    if found.rejected:
        printing.print_lines([""])
        rows = printing.Rows("rejected by upload", "upload event", flexible="rejected by upload")
        for place in found.rejected:
            rows.add((place.upload_id, f"{place.event_number}"))
        rows.finish()
    if found.suppressions:
        printing.print_lines([""])
        suppression.show(found.suppressions)
    for each in profiles:
        printing.print_lines([""])
        profile.show(each)


def _pairs(found: v1.GetPersonResponse, person_id: str) -> Iterator[tuple[str, str]]:
    yield "id", printing.visible(person_id)
    yield "events", f"{found.events}"
    if found.consumer_events and found.customer_events:
        yield "as consumer id", f"{found.consumer_events}"
        yield "as customer id", f"{found.customer_events}"
    if found.events:
        yield "first accepted", found.first_receive_time.ToJsonString()
        yield "last accepted", found.last_receive_time.ToJsonString()
    yield "rejected events", related_ids.shown_count(found.rejections)
    lasting = [each for each in found.suppressions if not each.HasField("lift_time")]
    yield "suppressed", f"since {lasting[-1].create_time.ToJsonString()}" if lasting else "no"


@contextmanager
def _new_file(path: Path) -> Iterator[TextIO]:
    """A new file for its owner only, which is removed unless everything is written. Raises CommandError."""
    try:
        with open(path, "x", encoding="utf-8", opener=partial(os.open, mode=0o600)) as file:
            try:
                yield file
                file.flush()
            except BaseException:  # half an answer must not pass for a whole one
                path.unlink(missing_ok=True)
                raise
    except FileExistsError:
        raise CommandError(f"{path} exists; name another file.") from None
    except OSError as error:
        raise CommandError(f"Cannot write {path}: {error.strerror}.") from error


def _write_all(
    file: TextIO,
    connection: Connection,
    found: v1.GetPersonResponse,
    profiles: list[v1.Profile],
    person_id: str,
) -> None:
    """Writes one JSON object, an event a line."""
    shown = ", ".join(map(printing.proto_json, profiles))
    file.write(f'{{"person": {printing.proto_json(found)},\n "profiles": [{shown}],\n "events": [')
    wanted = v1.EventFilter(subject_ids=[person_id])
    listing = connection.iterate(
        lambda client: client.list_events(wanted, page_size=_PAGE_EVENTS), at_once=_PAGE_EVENTS
    )
    for number, stored in enumerate(listing):
        file.write(",\n  " if number else "\n  ")
        file.write(to_json(stored))
    file.write("\n ]}\n")
