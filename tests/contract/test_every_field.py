"""Every field of an event is in each place that needs it; the contract says which fields there are."""

from __future__ import annotations

import asyncio
import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.message import Message

from engagement import EngagementClient, v1
from tests.contract.test_contract import IDENTIFIES_A_PERSON
from tests.support.cli_process import Cli
from tests.support.contract import SETS, Field, reachable
from tests.support.filled_events import CONSUMER_ID, filled_events
from tests.support.filter_strategies import fields as filter_strategies
from tests.support.server_process import ServerProcess
from tests.support.vectors import cases

# A field is in one of the two lists: here, or among those that are marked `debug_redact`.
IDENTIFIES_NOBODY = {
    v1.CustomerInfo: {
        "server_time_stamp",
        "customer_status",
        "customer_type",
        "balance",
        "customer_id",
        "account_name",
        "role",
        "last_payment_date",
        "registration_date",
        "company_size",
        "store_zip_code",
        "store_number",
        "login_status",
        "currency",
        "company_branch",
    },
    v1.PersonalInfo: {"server_time_stamp", "gender", "company", "language"},
    v1.PersonalContact: set[str](),
}
EVENTS = filled_events()


def words_of(value: Any) -> Iterator[str]:  # Any: of a field of any type
    """What a search for this value looks for."""
    if isinstance(value, v1.Date):
        yield f"{value.year:04}-{value.month:02}-{value.day:02}"
    elif isinstance(value, str):
        yield value
    elif not isinstance(value, int):
        for contact in value:
            yield from (text for _, text in contact.ListFields())


@dataclass(frozen=True)
class Stored:
    """A server that has both events, and the command line in a folder of its own."""

    client_target: str
    cli: Cli


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stored]:
    folder = tmp_path_factory.mktemp("fields")
    process = ServerProcess(folder / "data").start()
    cli = Cli(folder, server=process.address)
    lines = [json.dumps(json_format.MessageToDict(event)) for event in EVENTS.values()]
    cli.write("events.ndjson", *lines)
    uploaded = cli.run("upload", "events.ndjson")
    assert uploaded.status == 0, uploaded.stderr
    yield Stored(process.address, cli)
    process.kill()


def fields_of_events() -> set[str]:
    return {
        field.full_name
        for message in reachable(v1.Event.DESCRIPTOR)
        for field in message.fields
        if field.message_type is None or field.message_type.GetOptions().map_entry
    }


def fields_set_in(message: Message) -> Iterator[str]:
    for field, value in message.ListFields():
        yield field.full_name
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for each in value if field.is_repeated else [value]:
            yield from fields_set_in(each)


def test_a_case_of_all_clients_has_it() -> None:
    in_cases: set[str] = set()
    for case in cases("events.json"):
        message_type = getattr(v1, case["message"].removeprefix("engagement.v1."))
        in_cases.update(fields_set_in(json_format.ParseDict(case["json"], message_type())))
    assert fields_of_events() - in_cases == set(), "clients/vectors/cases/messages.py lacks them"


@pytest.mark.parametrize("message_type", IDENTIFIES_NOBODY)
def test_somebody_has_decided_whether_it_identifies_a_person(message_type: type[Message]) -> None:
    names = {field.name for field in message_type.DESCRIPTOR.fields}
    assert IDENTIFIES_NOBODY[message_type] ^ IDENTIFIES_A_PERSON[message_type] == names


@pytest.mark.parametrize("name", SETS)
def test_a_search_finds_it_by_its_value(name: str, stored: Stored) -> None:
    async def missed() -> list[str]:
        async with EngagementClient(stored.client_target, account_id=stored.cli.account) as client:
            return [
                word
                for _, value in getattr(EVENTS[name], name).ListFields()
                for word in words_of(value)
                if [each.event.event_id async for each in client.list_events(v1.EventFilter(text=word))]
                != [name]
            ]

    assert asyncio.run(missed()) == []


def test_a_profile_has_it_with_its_source(stored: Stored) -> None:
    async def profile() -> v1.Profile:
        async with EngagementClient(stored.client_target, account_id=stored.cli.account) as client:
            return await client.get_profile(consumer_id=CONSUMER_ID)

    found = asyncio.run(profile())
    for name, event in EVENTS.items():
        assert getattr(found, name) == getattr(event, name)
        # The time is that of the profile, not an attribute of a customer.
        paths = {f"{name}.{field.name}" for field, _ in getattr(event, name).ListFields()}
        assert paths - found.sources.keys() <= {f"{name}.server_time_stamp"}


def test_a_table_has_a_column_for_it(stored: Stored) -> None:
    exported = stored.cli.run("export", "--force", "events.csv")
    assert exported.status == 0, exported.stderr
    with (stored.cli.folder / "events.csv").open(newline="") as table:
        rows = {row["event_id"]: row for row in csv.DictReader(table)}
    for name, event in EVENTS.items():
        for field, value in getattr(event, name).ListFields():
            cell = rows[name].get(f"{name}.{field.name}") or rows[name][field.name]
            assert cell, field.full_name
            assert all(word in cell for word in words_of(value)), field.full_name


def test_the_command_line_shows_it(stored: Stored) -> None:
    for name, event in EVENTS.items():
        shown = stored.cli.run("get", name).stdout
        for field, value in getattr(event, name).ListFields():
            assert all(word in shown for word in words_of(value)), field.full_name


def test_filters_are_tried_with_every_field_of_theirs() -> None:
    fields: list[Field] = [*v1.EventFilter.DESCRIPTOR.fields]
    assert filter_strategies.keys() == {field.name for field in fields}
