"""Every oddity of the field: what a source may write, and which field or path it becomes."""

from __future__ import annotations

import json

import pytest

from engagement import limits, v1
from engagement.liveperson import ImportedEvent
from tests.support.liveperson_input import (
    customer,
    export,
    open_importer,
    person,
    read,
    read_event,
    read_unreadable,
)


def read_customer(members: object, **around: object) -> v1.Event:
    return read_event(export(customer(members, **around)))


def read_person(members: object, **around: object) -> v1.Event:
    return read_event(export(person(members, **around)))


@pytest.mark.parametrize("written", ["-400.99", "34.0", "34", "0", "1e5", "1E+400", "-0", "1.10", "9" * 40])
def test_numbers_come_out_as_they_were_written(written: str) -> None:
    line = json.dumps(export(customer({"balance": "?", "other": {"a": ["?"]}}))).replace('"?"', written)
    event = read_event(line)
    assert event.customer_info.balance == written
    assert dict(event.additional_attributes) == {"other.a[0]": written}


def test_booleans_become_text() -> None:
    event = read_customer({"role": True, "loginStatus": False, "other": True})
    assert (event.customer_info.role, event.customer_info.login_status) == ("true", "false")
    assert dict(event.additional_attributes) == {"other": "true"}


@pytest.mark.parametrize(
    "text", [" Hopper", "00501", "", "\t", "Łukasz 日本 🎈", "e\u0301", '{"json": 1}', "a\0b"]
)
def test_text_is_kept_as_it_is(text: str) -> None:
    event = read_customer({"customerId": "1", "socialId": text, "other": text})
    assert event.customer_info.social_id == text
    assert event.customer_info.HasField("social_id")
    assert dict(event.additional_attributes) == {"other": text}


def test_null_is_absent() -> None:
    event = read_customer({"customerId": "1", "balance": None, "other": None, "more": [None, {"a": None}]})
    assert event.customer_info == v1.CustomerInfo(server_time_stamp=1500000000000, customer_id="1")
    assert not event.additional_attributes


def test_inbound_names_are_known_inside_exports() -> None:
    event = read_customer({"cstatus": "active", "ctype": "vip", "Currency": "USD"})
    info = event.customer_info
    assert (info.customer_status, info.customer_type, info.currency) == ("active", "vip", "USD")
    named = read_person({"firstname": "Ada", "lastname": "Byron", "age": {"year": "1815", "month": 12}})
    person_info = named.personal_info
    assert (person_info.name, person_info.surname, person_info.customer_age) == ("Ada", "Byron", "1815")
    assert dict(named.additional_attributes) == {"age.month": "12"}


def test_exported_names_are_known_in_what_pages_push() -> None:
    pushed = {"customerStatus": "active", "serverTimeStamp": 1500000000001, "customerInfo": "x"}
    event = read_event([{"type": "ctmrinfo", "info": pushed}])
    assert event.customer_info.customer_status == "active"
    assert event.customer_info.server_time_stamp == 1500000000001
    assert dict(event.additional_attributes) == {"customerInfo": "x"}


@pytest.mark.parametrize(
    ("members", "field", "lost"),
    [
        ({"cstatus": "b", "customerStatus": "a"}, "customer_status", {"cstatus": "b"}),
        ({"customerType": "a", "ctype": "b"}, "customer_type", {"ctype": "b"}),
        ({"Currency": "b", "currency": "a"}, "currency", {"Currency": "b"}),
        ({"Currency": "a", "currency": None}, "currency", {}),
        ({"Currency": "a", "currency": {"code": "b"}}, "currency", {"currency.code": "b"}),
    ],
)
def test_the_proper_name_wins_and_nothing_is_lost(
    members: dict[str, object], field: str, lost: dict[str, str]
) -> None:
    event = read_customer(members)
    assert getattr(event.customer_info, field) == "a"
    assert dict(event.additional_attributes) == lost


@pytest.mark.parametrize(
    ("members", "customer_age", "additional"),
    [
        ({"customerAge": {"customerYearOfBirth": 1980}}, "1980", {}),
        ({"customerAge": "1980"}, "1980", {}),
        ({"customerAge": {"customerAgeInYears": 34.0}}, None, {"customerAge.customerAgeInYears": "34.0"}),
        ({"age": {"age": "34.0", "day": "15"}}, None, {"age.age": "34.0", "age.day": "15"}),
        ({"age": 34}, None, {"age": "34"}),
        ({"age": {"year": 1981}, "customerAge": {"customerYearOfBirth": 1980}}, "1980", {"age.year": "1981"}),
        ({"age": {"year": None, "customerYearOfBirth": 1980}}, "1980", {}),
        ({"age": {"year": [1980]}}, None, {"age.year[0]": "1980"}),
    ],
)
def test_only_a_year_of_birth_is_a_year_of_birth(
    members: dict[str, object], customer_age: str | None, additional: dict[str, str]
) -> None:
    event = read_person({"name": "Ada", **members})
    said = event.personal_info.customer_age if event.personal_info.HasField("customer_age") else None
    assert said == customer_age
    assert dict(event.additional_attributes) == additional


def test_structures_where_the_contract_has_text_keep_their_paths() -> None:
    members = {
        "customerId": {"value": 7, "kinds": ["a", {"b": "c"}]},
        "a.b": 1,
        "a": {"b": 1, "c": 2},
        "": "x",
    }
    assert dict(read_customer(members).additional_attributes) == {
        "customerId.value": "7",
        "customerId.kinds[0]": "a",
        "customerId.kinds[1].b": "c",
        "a.b": "1",
        "a.c": "2",
        '""': "x",
    }


def test_paths_that_collide_are_numbered() -> None:
    event = read_customer({"a.b": 1, "a": {"b": 2}, "customerId": "1"}, a={"b": 3})
    assert dict(event.additional_attributes) == {"a.b": "1", "a.b#2": "2", "a.b#3": "3"}


def test_members_around_the_set_are_kept() -> None:
    event = customer({"customerId": "1"}, auth={"acr": "loa1"}, contexts={"page": {"id": "outer"}})
    event["customerInfo"]["contexts"] = {"page": {"id": "p1"}}
    event["customerInfo"]["iss"] = "https://example.com"
    assert dict(read_event(export(event)).additional_attributes) == {
        "contexts.page.id": "p1",
        "iss": "https://example.com",
        "auth.acr": "loa1",
        "contexts.page.id#2": "outer",
    }


@pytest.mark.parametrize(
    "date",
    [
        {"year": 2014, "month": 10, "day": 5},
        {"day": "05", "month": "10", "year": "2014"},
    ],
)
def test_dates_are_read_in_any_order_from_numbers_or_text(date: dict[str, object]) -> None:
    event = read_customer({"lastPaymentDate": date, "registrationDate": None})
    assert event.customer_info.last_payment_date == v1.Date(year=2014, month=10, day=5)
    assert not event.customer_info.HasField("registration_date")


def test_a_partial_date_is_left_to_the_contract_to_refuse() -> None:
    event = read_customer({"lastPaymentDate": {"year": 2014, "month": None}})
    assert event.customer_info.last_payment_date == v1.Date(year=2014)


def test_other_members_of_a_date_are_kept() -> None:
    event = read_customer({"lastPaymentDate": {"year": 2014, "month": 2, "day": 30, "hour": 7}})
    assert event.customer_info.last_payment_date == v1.Date(year=2014, month=2, day=30)
    assert dict(event.additional_attributes) == {"lastPaymentDate.hour": "7"}


@pytest.mark.parametrize("date", ["2014-10-05", 1412467200000, ["x"]])
def test_a_date_without_parts_is_no_date_but_kept(date: object) -> None:
    event = read_customer({"customerId": "1", "registrationDate": date})
    assert not event.customer_info.HasField("registration_date")
    assert len(event.additional_attributes) == 1


@pytest.mark.parametrize("part", ["", "October", "10.0", 10.5, True, [], {}, "1_0", "१", " 10"])
def test_a_date_part_that_is_no_integer_makes_the_event_unreadable(part: object) -> None:
    event = customer({"lastPaymentDate": {"year": 2014, "month": part, "day": 5}})
    unreadable = read_unreadable(export(event))
    assert unreadable.field == "customer_info.last_payment_date.month"
    assert unreadable.rule == "import.integer"
    assert unreadable.place == "conversationHistoryRecords[0].sdes.events[0]"
    assert json.loads(unreadable.text) == event


def test_a_date_part_beyond_the_contract_s_integers_is_unreadable() -> None:
    unreadable = read_unreadable(export(customer({"registrationDate": {"year": 2**31}})))
    assert (unreadable.field, unreadable.rule) == ("customer_info.registration_date.year", "import.range")


@pytest.mark.parametrize("time", [1500000000000, "1500000000000"])
def test_times_are_numbers_or_text(time: object) -> None:
    event = read_event(export({"personalInfo": {"serverTimeStamp": time, "name": "Ada"}}))
    assert event.personal_info.server_time_stamp == 1500000000000


def test_the_innermost_time_counts_and_others_that_differ_are_kept() -> None:
    event = customer({"customerId": "1", "originalTimeStamp": 1}, serverTimeStamp="1500000000001")
    event["originalTimeStamp"] = "2"
    imported = read_event(export(event))
    assert imported.customer_info.server_time_stamp == 1500000000000
    assert imported.original_time_stamp == 1
    assert dict(imported.additional_attributes) == {
        "serverTimeStamp": "1500000000001",
        "originalTimeStamp": "2",
    }


def test_times_may_be_missing_or_in_any_order() -> None:
    event = read_event(export({"customerInfo": {"customerInfo": {"customerId": "1"}}}))
    assert not event.customer_info.HasField("server_time_stamp")
    assert not event.HasField("original_time_stamp")
    late = read_customer({"customerId": "1"}, originalTimeStamp=1500000000001)
    assert late.original_time_stamp > late.customer_info.server_time_stamp


@pytest.mark.parametrize(
    ("around", "field", "rule"),
    [
        ({"serverTimeStamp": "now"}, "personal_info.server_time_stamp", "import.time"),
        ({"serverTimeStamp": "2024-02-30T00:00:00Z"}, "personal_info.server_time_stamp", "import.time"),
        ({"serverTimeStamp": "2024-02-03T09:46:40"}, "personal_info.server_time_stamp", "import.time"),
        ({"serverTimeStamp": "2024-02-03"}, "personal_info.server_time_stamp", "import.time"),
        ({"serverTimeStamp": "2024-02-03T24:61"}, "personal_info.server_time_stamp", "import.time"),
        ({"serverTimeStamp": True}, "personal_info.server_time_stamp", "import.time"),
        ({"serverTimeStamp": {}}, "personal_info.server_time_stamp", "import.time"),
        ({"serverTimeStamp": []}, "personal_info.server_time_stamp", "import.time"),
        ({"serverTimeStamp": "NaN"}, "personal_info.server_time_stamp", "import.time"),
        ({"serverTimeStamp": "1e999999999"}, "personal_info.server_time_stamp", "import.range"),
        ({"serverTimeStamp": "Infinity"}, "personal_info.server_time_stamp", "import.range"),
        ({"serverTimeStamp": 2**63}, "personal_info.server_time_stamp", "import.range"),
        ({"serverTimeStamp": -(2**63) - 1}, "personal_info.server_time_stamp", "import.range"),
        ({"serverTimeStamp": "9" * 5000}, "personal_info.server_time_stamp", "import.range"),
        ({"originalTimeStamp": "x"}, "original_time_stamp", "import.time"),
    ],
)
def test_a_time_that_is_none_makes_the_event_unreadable(
    around: dict[str, object], field: str, rule: str
) -> None:
    unreadable = read_unreadable(export({"personalInfo": {"name": "Ada"}, **around}))
    assert (unreadable.field, unreadable.rule) == (field, rule)


@pytest.mark.parametrize(
    ("written", "milliseconds", "converted"),
    [
        ("1720000000000", 1720000000000, {}),
        (" 1720000000000 ", 1720000000000, {}),
        (1.72e12, 1720000000000, {}),
        ("1.72E12", 1720000000000, {}),
        ("1720000000000.0", 1720000000000, {}),
        ("1720000000000.75", 1720000000000, {"fractions of milliseconds": 1}),
        (-1, -1, {}),
        (1720000000000000, 1720000000000000, {}),
        (1720000000, 1720000000000, {"seconds": 1}),
        ("1720000000.123456", 1720000000123, {"seconds": 1}),
        ("2024-07-03T09:46:40Z", 1720000000000, {"ISO 8601": 1}),
        ("2024-07-03 09:46:40.5 Z", 1720000000500, {"ISO 8601": 1}),
        ("2024-07-03t11:46:40.123456789+0200", 1720000000123, {"ISO 8601": 1}),
        ("2024-07-03T11:46+02:00", 1719999960000, {"ISO 8601": 1}),
        ("1969-12-31T23:59:59.500Z", -500, {"ISO 8601": 1}),
        (0, None, {}),
        ("0", None, {}),
        ("0.0", None, {}),
        ("", None, {}),
        (" ", None, {}),
        (None, None, {}),
    ],
)
@pytest.mark.parametrize("name", ["serverTimeStamp", "serverTimestamp", "server_time_stamp"])
def test_times_are_read_as_tools_write_them(
    name: str, written: object, milliseconds: int | None, converted: dict[str, int]
) -> None:
    importer = open_importer(export({"personalInfo": {"name": "Ada"}, name: written}))
    [result] = importer
    assert isinstance(result, ImportedEvent)
    info = result.event.personal_info
    assert (info.server_time_stamp if info.HasField("server_time_stamp") else None) == milliseconds
    assert importer.counts.converted == converted
    assert not result.event.additional_attributes


@pytest.mark.parametrize(
    ("event", "field"),
    [
        (customer({"balance": "\ud800"}), "customer_info.balance"),
        (
            person({"contacts": [{"email": "a"}, {"phone": "\udfff"}, {"phone": "\udc00"}]}),
            "personal_info.phone",
        ),
        (
            person({"contacts": [{"email": "a"}, {"email": "\udc00"}]}),
            "personal_info.other_contacts[0].email",
        ),
        (customer({"other": {"\ud800": "x"}}), 'additional_attributes["other.\\ud800"]'),
        (customer({"other": "x\ud800"}), 'additional_attributes["other"]'),
    ],
)
def test_half_of_a_surrogate_pair_makes_the_event_unreadable(event: object, field: str) -> None:
    unreadable = read_unreadable(export(event))
    assert (unreadable.field, unreadable.rule) == (field, "import.unicode")
    assert unreadable.text.isascii()


def test_ids_that_are_no_unicode_make_the_event_unreadable() -> None:
    record = {"info": {"conversationId": "\ud800"}, "events": [customer({"customerId": "1"})]}
    assert read_unreadable({"appSessions": [record]}).field == "conversation_id"


def test_bytes_that_are_not_utf8_spoil_only_their_own_event() -> None:
    good, bad = (customer({"customerId": name}) for name in ("good", "bad"))
    data = json.dumps([good, bad, good]).encode().replace(b'"bad"', b'"\xe9t\xe9"')
    results = [getattr(result, "rule", "read") for result in read(data)]
    assert results == ["read", "import.unicode", "read"]


def test_numbers_in_the_text_of_an_unreadable_event_are_as_they_were_written() -> None:
    unreadable = read_unreadable('[{"customerInfo":{"lastPaymentDate":{"year":1.50},"a":[1e5,null,true]}}]')
    assert unreadable.text == '{"customerInfo":{"lastPaymentDate":{"year":1.50},"a":[1e5,null,true]}}'


def test_the_text_of_an_unreadable_event_is_bounded() -> None:
    unreadable = read_unreadable(export(customer({"balance": "\ud800", "role": "x" * 100_000})))
    assert len(unreadable.text) <= 16 * 1024


def test_an_event_that_says_too_much_is_unreadable_before_it_fills_the_memory() -> None:
    path = "n" * (limits.MAX_TEXT_CHARACTERS - 1)
    unreadable = read_unreadable(export(customer({path: [1] * 10_000})))
    assert (unreadable.field, unreadable.rule) == ("additional_attributes", "server.event.max_bytes")
    unreadable = read_unreadable(export(customer({path: {path: {path: 1}}})))
    assert unreadable.rule == "string.max_len"


@pytest.mark.parametrize("data", ["customerInfo", "data"])
def test_an_event_that_is_nested_too_deeply_is_unreadable(data: str) -> None:
    deep = '{"a":' * 200 + "1" + "}" * 200
    set_name = '{"com.example.CustomerInfo":' if data == "data" else "{"
    inner = f'{{"customerId":"1","deep":{deep}}}' if data == "data" else f'"customerId":"1","deep":{deep}'
    unreadable = read_unreadable(f'[{{"{data}":{set_name}{inner}}}}}]')
    assert unreadable.rule == "import.depth"
