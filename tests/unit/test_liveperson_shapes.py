"""Events are found in every shape of an input, with their places and their context."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engagement.liveperson import ImportedEvent
from tests.support.liveperson_input import (
    CONTEXT,
    conversation,
    customer,
    export,
    open_importer,
    person,
    read,
    read_event,
    read_events,
)
from tests.unit.test_liveperson_examples import as_json


def avro(customer_id: str) -> dict[str, Any]:
    return {
        "timestamp": {"long": 1500000000000},
        "data": {"com.example.CustomerInfo": {"customerId": {"string": customer_id}}},
    }


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
