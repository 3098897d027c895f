"""Events of this contract are the same events under the same ids, whatever JSON a tool put around them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from engagement import v1
from engagement.cli.input_events import Format, InputEvents
from engagement.cli.input_file import open_input
from engagement.cli.outcomes import FoundEvent, Rejection

Form = Callable[[list[Any]], str]  # Any: JSON


def stored(event: Any, **beside: str) -> dict[str, Any]:
    return {"event": event, "cursor": "AexF", "receiveTime": "2024-05-01T10:00:00.123Z", **beside}


def lines(items: list[Any]) -> str:
    return "".join(f"{json.dumps(item)}\n" for item in items)


FORMS: dict[str, Form] = {
    "a line each": lines,
    "lines of Windows, some blank": lambda events: lines(events).replace("\n", "\r\n\r\n"),
    "one array": json.dumps,
    "a pretty array": lambda events: json.dumps(events, indent=2),
    "an array with a line each": lambda events: "[" + ",\n".join(map(json.dumps, events)) + "]",
    "without anything between": lambda events: "".join(map(json.dumps, events)),
    "pretty, one after the other": lambda events: "\n".join(json.dumps(each, indent=4) for each in events),
    "a page": lambda events: json.dumps({"events": [stored(each) for each in events], "nextPageToken": "x"}),
    "a pretty page": lambda events: json.dumps({"events": [stored(each) for each in events]}, indent=1),
    "pages": lambda events: lines([{"events": [stored(each)]} for each in events]),
    "a request": lambda events: json.dumps({"accountId": "acme", "allowPartial": True, "events": events}),
    "requests": lambda events: lines([{"account_id": "acme", "event": each} for each in events]),
    "pretty requests": lambda events: "".join(json.dumps({"event": each}, indent=2) for each in events),
    "stored events": lambda events: lines([stored(each, matchedCustomerType="VIP") for each in events]),
    "an array of stored events": lambda events: json.dumps([stored(each) for each in events]),
}

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
long_texts = texts | st.just("long " * 2_000)
events_of_ours = st.builds(
    lambda event_id, source, attributes, additional: v1.Event(
        event_id=event_id,
        consumer_id="c-1",  # what tells our events from those of other platforms, if they have no id
        source=source,
        additional_attributes=additional,
        **attributes,
    ),
    st.sampled_from(["", "order-1", "order-2"]),
    st.sampled_from(["", "crm"]),
    st.builds(lambda text: {"customer_info": v1.CustomerInfo(role=text)}, long_texts)
    | st.builds(lambda text: {"personal_info": v1.PersonalInfo(name=text, server_time_stamp=5)}, texts),
    st.dictionaries(texts, texts, max_size=2),
)


def read(path: Path) -> tuple[list[FoundEvent | Rejection], str]:
    with open_input(str(path)) as file:
        found = InputEvents(file, format=Format.AUTO, source="orders")
        return list(found), found.damage


def events_in(path: Path, text: str) -> list[v1.Event]:
    path.write_text(text, newline="")
    found, damage = read(path)
    assert damage == ""
    return [each.event for each in found if isinstance(each, FoundEvent)]


@given(
    events=st.lists(events_of_ours, min_size=1, max_size=4),
    name=st.sampled_from([*FORMS]),
    keeps_field_names=st.booleans(),
)
def test_the_same_events_in_any_form_are_the_same(
    tmp_path_factory: pytest.TempPathFactory, events: list[v1.Event], name: str, *, keeps_field_names: bool
) -> None:
    path = tmp_path_factory.mktemp("forms") / "events.json"
    usual = events_in(path, lines([json_format.MessageToDict(each) for each in events]))
    assert len(usual) == len(events)
    as_named = [
        json_format.MessageToDict(each, preserving_proto_field_name=keeps_field_names) for each in events
    ]
    assert events_in(path, FORMS[name](as_named)) == usual


@pytest.mark.parametrize("name", FORMS)
def test_what_is_no_event_is_rejected_in_any_form(tmp_path: Path, name: str) -> None:
    good, bad = {"eventId": "1", "customerInfo": {}}, {"eventId": "2", "customerInfo": {"balanc": "1"}}
    path = tmp_path / "events.json"
    path.write_text(FORMS[name]([good, bad, good]))
    found, damage = read(path)
    assert damage == ""
    assert [getattr(each, "reason", "") for each in found] == ["", "UNREADABLE", ""]
    (rejection,) = [each for each in found if isinstance(each, Rejection)]
    assert [(each.field, each.rule) for each in rejection.violations] == [
        ("customerInfo.balanc", "json.unknown_field")
    ]


def test_a_first_line_that_is_damaged_costs_no_other(tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson"
    path.write_text('{"eventId": "1", oops}\n{"eventId": "2", "customerInfo": {}}\n')
    found, damage = read(path)
    assert ([type(each) for each in found], damage) == ([Rejection, FoundEvent], "")


def test_the_events_before_the_end_of_a_document_that_is_cut_off_are_read(tmp_path: Path) -> None:
    path = tmp_path / "events.json"
    path.write_text(json.dumps([{"eventId": "1", "customerInfo": {}}] * 3, indent=2)[:-20])
    found, damage = read(path)
    assert [getattr(each, "place", "") for each in found] == ["document 1[0]", "document 1[1]"]
    assert "ends in the middle of a value" in damage


@pytest.mark.parametrize(
    "text",
    [
        '{"events": [EVENT, EVENT,]}',
        "[EVENT, EVENT,]",
        "[EVENT,\nEVENT,\n]",
        '{"accountId": "acme", "events": [EVENT, EVENT],}',
    ],
)
def test_a_comma_with_nothing_behind_it_costs_no_event_and_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "events.json"
    path.write_text(text.replace("EVENT", '{"eventId": "1", "customerInfo": {}}'))
    found, damage = read(path)
    assert [type(each) for each in found] == [FoundEvent, FoundEvent]
    assert "a comma with nothing behind it" in damage


def test_a_member_of_a_stored_event_is_refused_in_an_event(tmp_path: Path) -> None:
    path = tmp_path / "events.json"
    for text in ('{"eventId": "1", "cursor": "x"}', '[{"eventId": "1", "cursor": "x"}]'):
        path.write_text(text)
        ((rejection,), damage) = read(path)
        assert isinstance(rejection, Rejection)
        assert ([each.field for each in rejection.violations], damage) == (["cursor"], "")


@pytest.mark.parametrize("opening", ["[", '{"events":', '[{"event":', '[{"eventId":"1"},['])
@pytest.mark.parametrize("depth", [10, 30, 900, 50_000])
def test_any_nesting_is_read_or_told(tmp_path: Path, opening: str, depth: int) -> None:
    path = tmp_path / "events.json"
    path.write_text(opening * depth)
    found, damage = read(path)
    assert damage or all(isinstance(each, Rejection) for each in found)


def test_bytes_that_are_no_text_cost_their_event_only(tmp_path: Path) -> None:
    path = tmp_path / "events.json"
    path.write_bytes(b'[{"eventId":"1","customerInfo":{"role":"\xff"}},{"eventId":"2","customerInfo":{}}]')
    found, damage = read(path)
    assert ([type(each) for each in found], damage) == ([Rejection, FoundEvent], "")


def test_a_member_that_is_there_twice_is_refused_in_any_form(tmp_path: Path) -> None:
    path = tmp_path / "events.json"
    path.write_text('[{"eventId": "1", "customerInfo": {"role": "a", "role": "b"}}]')
    ((rejection,), _) = read(path)
    assert isinstance(rejection, Rejection)
    assert rejection.message == "role: appears more than once"
