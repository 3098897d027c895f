"""Every shape that people hold is read, with its context, its places and its counts."""

from __future__ import annotations

import json
from typing import Any

import protovalidate
import pytest
from google.protobuf.json_format import MessageToDict

from engagement import v1
from engagement.liveperson import ImportedEvent, Importer
from tests.support.liveperson_input import (
    CONTEXT,
    EXAMPLES,
    conversation,
    customer,
    export,
    open_importer,
    person,
    read,
    read_event,
    read_events,
    read_skipped,
    read_unreadable,
)

SHAPES = sorted(path.name for path in EXAMPLES.glob("*.json"))


def read_example(name: str) -> tuple[Importer, list[ImportedEvent]]:
    importer = open_importer((EXAMPLES / name).read_bytes(), source=name)
    results = list(importer)
    return importer, [result for result in results if isinstance(result, ImportedEvent)]


def avro(customer_id: str) -> dict[str, Any]:
    return {
        "timestamp": {"long": 1500000000000},
        "data": {"com.example.CustomerInfo": {"customerId": {"string": customer_id}}},
    }


def as_json(event: v1.Event) -> dict[str, Any]:
    shown: dict[str, Any] = MessageToDict(event)
    del shown["eventId"]
    return shown


def test_there_is_an_example_of_every_shape() -> None:
    assert SHAPES == [
        "avro.json",
        "history_export.json",
        "inbound.json",
        "messaging_export.json",
        "visit_export.json",
    ]


@pytest.mark.parametrize("name", SHAPES)
def test_examples_obey_the_contract_but_for_the_one_that_is_meant_to_be_refused(name: str) -> None:
    importer, imported = read_example(name)
    assert importer.counts.events_unreadable == 0
    assert importer.counts.events_read == len(imported)
    refused = [item.place for item in imported if protovalidate.collect_violations(item.event)]
    meant = ["conversationHistoryRecords[1].sdes.events[0]"] if name == "messaging_export.json" else []
    assert refused == meant


def test_inbound_events_are_read() -> None:
    importer, imported = read_example("inbound.json")
    assert [item.place for item in imported] == ["[0]", "[1]"]
    assert importer.counts.skipped == {"empty set": 1, "set type cart": 1}
    assert as_json(imported[0].event) == {
        "source": "inbound.json",
        "customerInfo": {
            "customerStatus": "Active",
            "customerType": "VIP",
            "balance": "1250.50",
            "customerId": "NW-20418",
            "socialId": "5550017",
            "imei": "356938035643809",
            "userName": "ingrid.s",
            "accountName": "Nordlys Fisk AS",
            "role": "purchasing",
            "lastPaymentDate": {"year": 2025, "month": 1, "day": 9},
            "registrationDate": {"year": 2019, "month": 6, "day": 17},
            "companySize": "42",
            "storeZipCode": "05003",
            "storeNumber": "0071",
            "loginStatus": "true",
            "currency": "NOK",
            "companyBranch": "Harbour",
        },
        "additionalAttributes": {"loyaltyTier": "gold"},
    }
    assert as_json(imported[1].event) == {
        "source": "inbound.json",
        "personalInfo": {
            "name": "Ingrid",
            "surname": "Solberg",
            "gender": "FEMALE",
            "company": "Nordlys Fisk AS",
            "customerAge": "1986",
            "email": "ingrid@example.com",
            "phone": "+47 555 01 234",
            "language": "nb-NO",
            "otherContacts": [{"email": "orders@example.com"}],
        },
        "additionalAttributes": {
            "age.age": "38.0",
            "age.month": "11",
            "age.day": "2",
            "contacts[0].phoneType": "MOBILE",
        },
    }


def test_messaging_export_is_read() -> None:
    importer, imported = read_example("messaging_export.json")
    assert importer.counts.skipped == {"set type LEAD": 1}
    assert [item.place for item in imported] == [
        "conversationHistoryRecords[0].sdes.events[0]",
        "conversationHistoryRecords[0].sdes.events[1]",
        "conversationHistoryRecords[0].sdes.events[2]",
        "conversationHistoryRecords[0].unAuthSdes.events[0]",
        "conversationHistoryRecords[1].sdes.events[0]",
    ]
    assert [item.event.authenticated for item in imported] == [True, True, True, False, True]
    first, second, repeat, *_ = (item.event for item in imported)
    assert first == repeat
    assert as_json(first) == {
        "consumerId": "7f3a1c9e-0b52-4d87-a6e1-c45d2f80b913",
        "conversationId": "5b0c8a34-91d2-4c1e-8f6b-7a2d90e4c301",
        "authenticated": True,
        "originalTimeStamp": "1739964011000",
        "customerInfo": {
            "serverTimeStamp": "1739964012345",
            "customerStatus": "active",
            "customerType": "vip",
            "balance": "1250.50",
            "customerId": "NW-20418",
            "lastPaymentDate": {"year": 2025, "month": 1, "day": 9},
            "currency": "NOK",
            "companyBranch": "Harbour",
        },
    }
    assert as_json(second)["additionalAttributes"] == {
        "customerAge.customerAgeInYears": "38.0",
        "customerAge.customerMonthOfBirth": "11",
        "customerAge.customerDateOfBirth": "2",
    }


def test_history_export_is_read_with_sets_nested_once_or_twice() -> None:
    _, imported = read_example("history_export.json")
    customer_event, person_event = (item.event for item in imported)
    for event in (customer_event, person_event):
        assert (event.conversation_id, event.consumer_id) == ("8815520031", "VS7tQ2x90")
        assert event.authenticated
    assert customer_event.customer_info.currency == "CLP"
    assert customer_event.customer_info.balance == "0"
    assert customer_event.customer_info.social_id == "90210"
    assert person_event.personal_info.name == "Matías"
    assert person_event.personal_info.server_time_stamp == 1739800000500


def test_visit_export_is_read_with_the_set_of_the_session_itself() -> None:
    _, imported = read_example("visit_export.json")
    assert [item.place for item in imported] == [
        "appSessions[0]",
        "appSessions[0].events[0]",
        "appSessions[0].events[1]",
    ]
    session, _, person_event = (item.event for item in imported)
    assert session.customer_info == v1.CustomerInfo(customer_id="NW-40992", company_size="7")
    assert dict(person_event.additional_attributes) == {"contexts.page.id": "pricing"}
    assert person_event.personal_info.phone == "+56 2 5550 1000"
    assert not any(item.event.authenticated for item in imported)


def test_avro_files_are_read() -> None:
    importer, imported = read_example("avro.json")
    assert importer.counts.skipped == {"set type CartStatus": 1}
    assert [item.place for item in imported] == [
        "engagementAttributes.array[0]",
        "engagementAttributes.array[1]",
    ]
    assert as_json(imported[0].event) == {
        "customerInfo": {
            "serverTimeStamp": "1739700000000",
            "customerStatus": "Active",
            "balance": "-12.75",
            "customerId": "NW-51263",
            "registrationDate": {"year": 2022, "month": 8, "day": 31},
        },
    }
    assert imported[1].event.personal_info.email == "hana@example.com"


def test_avro_names_of_types_are_no_part_of_what_is_said() -> None:
    event = {
        "timestamp": 1500000000000,
        "originalTimeStamp": {"long": 1500000000001},
        "isAuthenticated": {"boolean": True},
        "region": {"string": "EU"},
        "data": {
            "com.example.PersonalInfo": {
                "gender": {"com.example.Gender": "FEMALE"},
                "customerAge": {"com.example.Age": {"customerYearOfBirth": {"int": 1980}, "day": None}},
                "labels": {"map": {"a.b": {"string": "x"}}},
                "scores": {"array": [{"double": 1.50}, None, 2]},
                "plain": {"one": {"two": "y"}},
            }
        },
    }
    assert as_json(read_event([event])) == {
        "authenticated": True,
        "originalTimeStamp": "1500000000001",
        "personalInfo": {
            "serverTimeStamp": "1500000000000",
            "gender": "FEMALE",
            "customerAge": "1980",
        },
        "additionalAttributes": {
            "region": "EU",
            "labels.a.b": "x",
            "scores[0]": "1.5",
            "scores[2]": "2",
            "plain.one.two": "y",
        },
    }


@pytest.mark.parametrize("wrapper", ["engagementAttributes", "sdes", "lp_sdes"])
def test_inbound_events_may_stand_in_a_wrapper(wrapper: str) -> None:
    pushed = {"type": "ctmrinfo", "info": {"customerId": "7"}}
    for document, place in (
        ({wrapper: [pushed]}, f"{wrapper}[0]"),
        (pushed, "document 1"),
        ([pushed], "[0]"),
    ):
        [result] = read(document)
        assert isinstance(result, ImportedEvent)
        assert result.event.customer_info.customer_id == "7"
        assert result.place == place
        assert not result.event.authenticated


def test_members_beside_a_wrapper_are_no_event() -> None:
    token = {"iss": "https://example.com", "sub": "u-1", "email": "x@example.com"}
    importer = open_importer({**token, "lp_sdes": [{"type": "ctmrinfo", "info": {"ctype": "vip"}}]})
    assert len(list(importer)) == 1
    assert importer.counts.skipped == {}


def test_documents_may_follow_one_another() -> None:
    line = json.dumps({"engagementAttributes": {"array": [avro("1"), avro("2")]}})
    results = read(f"{line}\n{line}\n\n{line}{line}")
    assert [result.place for result in results] == [
        *(f"engagementAttributes.array[{index}]" for index in (0, 1)),
        *(
            f"document {number}: engagementAttributes.array[{index}]"
            for number in (2, 3, 4)
            for index in (0, 1)
        ),
    ]


def test_a_record_may_be_a_document_of_its_own() -> None:
    lines = [conversation(customer({"customerId": "1"})), avro("2"), customer({"customerId": "3"})]
    events = read_events("\n".join(json.dumps(line) for line in lines))
    assert [event.customer_info.customer_id for event in events] == ["1", "2", "3"]
    assert [event.conversation_id for event in events] == ["c-1", "", ""]


def test_pages_of_an_export_may_stand_in_one_array() -> None:
    pages = [export(customer({"customerId": "1"})), export(customer({"customerId": "2"}))]
    places = [result.place for result in read(pages)]
    assert places == [f"[{index}].conversationHistoryRecords[0].sdes.events[0]" for index in (0, 1)]


def test_context_may_stand_after_the_events() -> None:
    record = {"sdes": {"events": [customer({"customerId": "1"})]}, **CONTEXT}
    event = read_event({"conversationHistoryRecords": [record]})
    assert (event.conversation_id, event.consumer_id) == ("c-1", "p-1")


@pytest.mark.parametrize(
    "participants",
    [
        {"consumerParticipant": [{"participantId": "p-9"}]},
        {"consumerParticipants": [{"participantId": None}, {"participantId": "p-9"}]},
        {"consumerParticipants": {"participantId": "p-9"}},
        {"consumerParticipants": [], "info": {"visitorId": "p-9"}},
    ],
)
def test_the_consumer_is_the_first_participant_with_an_id(participants: dict[str, Any]) -> None:
    record = {**participants, "sdes": {"events": [customer({"customerId": "1"})]}}
    assert read_event({"conversationHistoryRecords": [record]}).consumer_id == "p-9"


@pytest.mark.parametrize(
    ("listed", "said", "authenticated"),
    [
        ("sdes", None, True),
        ("sdes", True, True),
        ("sdes", False, False),
        ("sdes", "false", False),
        ("unAuthSdes", None, False),
        ("unAuthSdes", True, True),
        ("events", None, False),
        ("events", True, True),
    ],
)
def test_the_list_says_who_is_authenticated_unless_the_event_does(
    listed: str, said: object, authenticated: bool
) -> None:
    record = {listed: {"events": [customer({"customerId": "1"}, isAuthenticated=said)]}}
    event = read_event({"conversationHistoryRecords": [record]})
    assert event.authenticated is authenticated
    assert not event.additional_attributes


def test_one_denial_outweighs_every_claim() -> None:
    event = customer({"customerId": "1"}, isAuthenticated=True)
    event["customerInfo"]["isAuthenticated"] = False
    imported = read_event(export(event))
    assert not imported.authenticated
    assert dict(imported.additional_attributes) == {"isAuthenticated": "true"}


def test_a_page_cannot_vouch_for_its_visitor() -> None:
    event = read_event([{"type": "ctmrinfo", "info": {"customerId": "1"}, "isAuthenticated": True}])
    assert not event.authenticated
    assert dict(event.additional_attributes) == {"isAuthenticated": "true"}


def test_both_sets_may_stand_in_one_event() -> None:
    both = {**customer({"customerId": "1"}), **person({"name": "Ada"})}
    first, second = read_events(export(both))
    assert (first.customer_info.customer_id, second.personal_info.name) == ("1", "Ada")
    assert first.event_id != second.event_id


def test_set_types_may_be_missing() -> None:
    event = customer({"customerId": "1"})
    del event["sdeType"]
    assert read_event(export(event)).customer_info.customer_id == "1"


def test_other_sets_are_counted_by_type() -> None:
    others = [
        {"lead": {"lead": {}}, "sdeType": "LEAD"},
        {"cartStatus": {"cartStatus": {"total": 3}}},
        {"cartStatus": {"cartStatus": {"total": 4}}},
        None,
        {},
    ]
    assert read_skipped(export(*others)) == {
        "set type LEAD": 1,
        "set type cartStatus": 2,
        "null": 1,
        "no attribute set": 1,
    }


@pytest.mark.parametrize(
    "event",
    [
        customer({}),
        customer(None),
        customer({"customerStatus": None, "lastPaymentDate": None}),
        customer({"lastPaymentDate": {"year": None, "month": None, "day": None}}),
        customer({"serverTimeStamp": 1500000000000}, contexts={"page": {"id": "p"}}),
        person({"contacts": []}),
        person({"contacts": [{"email": None, "phone": ""}]}),
        person({"contacts": [{"personalContact": {"email": None, "phone": None}}]}),
        {"customerInfo": None, "sdeType": "CUSTOMER_INFO"},
        {"type": "ctmrinfo"},
        {"type": "personal", "personal": None},
        {"timestamp": {"long": 1}, "data": None},
        {"timestamp": {"long": 1}, "data": {"com.example.CustomerInfo": None}},
    ],
)
def test_events_without_an_attribute_are_skipped(event: object) -> None:
    assert read_skipped(export(event)) == {"empty set": 1}


@pytest.mark.parametrize("document", [{}, {"conversationHistoryRecords": [CONTEXT]}, [{"a": {"b": 1}}]])
def test_records_without_a_set_are_counted(document: object) -> None:
    assert read_skipped(document) == {"no attribute set": 1}


def test_what_was_skipped_is_told_in_few_printable_words() -> None:
    others = [{"sdeType": f"\n{number}{'x' * 999}"} for number in range(1000)]
    skipped = read_skipped(export(*others))
    assert len(skipped) <= 101
    assert sum(skipped.values()) == 1000
    assert all(len(reason) <= 64 and reason.isprintable() for reason in skipped)


@pytest.mark.parametrize(
    ("document", "field"),
    [
        (export({"customerInfo": "text"}), "customer_info"),
        (export({"customerInfo": []}), "customer_info"),
        (export({"personalInfo": {"personalInfo": 5}}), "personal_info"),
        ([{"type": "ctmrinfo", "info": "text"}], "customer_info"),
        ([{"type": "personal", "personal": [1]}], "personal_info"),
        (export("text"), ""),
        ({"conversationHistoryRecords": [5]}, ""),
        ([[]], ""),
        ({"sdes": [{"data": "text"}]}, ""),
        ("17", ""),
    ],
)
def test_what_is_no_object_where_a_set_is_needed_is_unreadable(document: object, field: str) -> None:
    unreadable = read_unreadable(document)
    assert (unreadable.field, unreadable.rule) == (field, "import.object")
