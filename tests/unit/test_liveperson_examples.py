"""The example of every shape is read in full."""

from __future__ import annotations

from typing import Any

import protovalidate
import pytest
from google.protobuf.json_format import MessageToDict

from engagement import v1
from engagement.liveperson import ImportedEvent, Importer
from tests.support.liveperson_input import EXAMPLES, open_importer

SHAPES = sorted(path.name for path in EXAMPLES.glob("*.json"))


def read_example(name: str) -> tuple[Importer, list[ImportedEvent]]:
    importer = open_importer((EXAMPLES / name).read_bytes(), source=name)
    results = list(importer)
    return importer, [result for result in results if isinstance(result, ImportedEvent)]


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
        "appSessions[0].events[0]",
        "appSessions[0].events[1]",
        "appSessions[0]",
    ]
    _, person_event, session = (item.event for item in imported)
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
