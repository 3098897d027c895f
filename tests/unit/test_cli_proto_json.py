"""One event from proto-JSON: what is read fast is what protobuf's own parser reads."""

from __future__ import annotations

import json

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from engagement import v1
from engagement.cli.proto_json import EventSyntaxError, parse_event

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
times = st.integers(-(2**63), 2**63 - 1)
dates = st.builds(v1.Date, year=st.integers(-5, 10_000), month=st.integers(0, 13), day=st.integers(0, 32))
customer_infos = st.builds(
    v1.CustomerInfo,
    server_time_stamp=st.none() | times,
    balance=st.none() | texts,
    customer_status=st.none() | texts,
    last_payment_date=st.none() | dates,
)
contacts = st.builds(v1.PersonalContact, email=st.none() | texts, phone=st.none() | texts)
personal_infos = st.builds(
    v1.PersonalInfo, name=st.none() | texts, other_contacts=st.lists(contacts, max_size=3)
)
attributes: st.SearchStrategy[dict[str, v1.CustomerInfo | v1.PersonalInfo]] = st.one_of(
    st.fixed_dictionaries({}),
    st.fixed_dictionaries({"customer_info": customer_infos}),
    st.fixed_dictionaries({"personal_info": personal_infos}),
)
events = st.builds(
    lambda attributes, **fields: v1.Event(**attributes, **fields),
    attributes,
    event_id=texts,
    authenticated=st.booleans(),
    original_time_stamp=st.none() | times,
    additional_attributes=st.dictionaries(texts, texts, max_size=3),
)


@given(events, st.booleans())
def test_every_event_comes_back_from_its_json(event: v1.Event, keeps_field_names: bool) -> None:
    text = json_format.MessageToJson(event, preserving_proto_field_name=keeps_field_names)
    assert parse_event(text) == event


@pytest.mark.parametrize(
    "text",
    [
        '{"originalTimeStamp": 1e3}',
        '{"customerInfo": {"lastPaymentDate": {"year": "2014", "month": 3.0}}}',
        '{"customerInfo": null, "personalInfo": {}}',
        '{"customerInfo": {}, "additionalAttributes": {}}',
        '{"customerInfo": {"balance": null}}',
        " {} ",
    ],
)
def test_unusual_spellings_are_read_as_protobuf_reads_them(text: str) -> None:
    assert parse_event(text) == json_format.Parse(text, v1.Event())


@pytest.mark.parametrize(
    ("text", "field", "rule"),
    [
        ('{"foo": 1}', "foo", "json.unknown_field"),
        ('{"event": {"eventId": "a"}}', "event", "json.unknown_field"),
        ('{"customerInfo": {"balanc": "1"}}', "customerInfo.balanc", "json.unknown_field"),
        ('{"customerInfo": {"balance": 1}}', "customerInfo.balance", "json.type"),
        ('{"customerInfo": {"lastPaymentDate": "2014-01-01"}}', "customerInfo.lastPaymentDate", "json.type"),
        (
            '{"personalInfo": {"otherContacts": [{"email": 1}]}}',
            "personalInfo.otherContacts[0].email",
            "json.type",
        ),
        ('{"personalInfo": {"otherContacts": {}}}', "personalInfo.otherContacts", "json.type"),
        ('{"additionalAttributes": {"a": 1}}', 'additionalAttributes["a"]', "json.type"),
        ('{"authenticated": 1}', "authenticated", "json.type"),
        ('{"originalTimeStamp": true}', "originalTimeStamp", "json.type"),
        ('{"eventId": "a", "eventId": "a"}', "eventId", "json.syntax"),
        ('{"customerInfo": {}, "personalInfo": {}}', "", "json.type"),
        ('{"originalTimeStamp": 9223372036854775808}', "", "json.syntax"),
        ('{"eventId": "\\ud800"}', "", "json.syntax"),
        ('{"eventId": "a"} {"eventId": "b"}', "", "json.syntax"),
        ('[{"eventId": "a"}]', "", "json.type"),
        ("{", "", "json.syntax"),
        ("null", "", "json.type"),
        ('{"a":' * 5000, "", "json.syntax"),
    ],
)
def test_what_is_no_event_is_refused_with_the_place_of_the_fault(text: str, field: str, rule: str) -> None:
    with pytest.raises(json_format.ParseError):
        json_format.Parse(text, v1.Event())
    with pytest.raises(EventSyntaxError) as caught:
        parse_event(text)
    assert (caught.value.field, caught.value.rule) == (field, rule)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('{"event_id": "a", "eventId": "b"}', "eventId"),
        ('{"customer_info": {"role": "a"}, "customerInfo": {"balance": "1"}}', "customerInfo"),
        ('{"customerInfo": {"userName": "", "user_name": ""}}', "customerInfo.user_name"),
        ('{"personalInfo": {"otherContacts": [{"email": "a", "email": "b"}]}}', "email"),
    ],
)
def test_a_member_that_is_there_twice_is_refused_even_if_protobuf_takes_the_last(
    text: str, field: str
) -> None:
    with pytest.raises(EventSyntaxError, match="appears more than once") as caught:
        parse_event(text)
    assert (caught.value.field, caught.value.rule) == (field, "json.syntax")


def test_a_fault_is_described_without_the_value() -> None:
    with pytest.raises(EventSyntaxError) as caught:
        parse_event(json.dumps({"personalInfo": {"otherContacts": {"email": "secret@example.com"}}}))
    assert str(caught.value) == "personalInfo.otherContacts: must be a list"


@pytest.mark.parametrize(
    "time", ["1.72E12", "1720000000000.0", '"1.72E12"', '"1720000000000.0"', '"1720000000000"']
)
def test_times_are_read_as_tools_write_them(time: str) -> None:
    event = parse_event(f'{{"originalTimeStamp": {time}, "customerInfo": {{"serverTimeStamp": {time}}}}}')
    assert event.original_time_stamp == event.customer_info.server_time_stamp == 1720000000000


@pytest.mark.parametrize("time", ["1720000000000.5", '"1.5"', '"1e"', '"1e99"', '" 1"', '"NaN"', '""'])
def test_what_is_no_whole_number_is_named(time: str) -> None:
    with pytest.raises(EventSyntaxError, match=r"serverTimeStamp|must be|Failed|out of range"):
        parse_event(f'{{"customerInfo": {{"serverTimeStamp": {time}}}}}')
