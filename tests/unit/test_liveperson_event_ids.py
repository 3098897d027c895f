"""Event ids: importing the same again is a repeat, and different events differ."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from engagement.liveperson import vocabulary
from tests.support.liveperson_input import (
    EXAMPLES,
    conversation,
    customer,
    export,
    person,
    read_event,
    read_events,
    read_unreadable,
)

PUSHED = {"type": "ctmrinfo", "info": {"customerId": "1"}}


def identify(document: object, **options: Any) -> str:
    return read_event(document, **options).event_id


def test_ids_never_change() -> None:
    """Anything that changes these ids makes what was imported before come in a second time."""
    assert identify(export(customer({"customerId": "1"}))) == "015d3ef7-9800-8cab-ae8f-e1c3d4c59c60"
    assert identify([PUSHED]) == "00000000-0001-8773-b2b7-2925afd147ca"
    # Members that had no field in the first release, whether or not they have one today.
    date = {"year": "2025", "month": 5, "day": 6}
    more = customer({"customerId": "1", "loyaltyTier": "gold", "renewalDate": date})
    assert identify(export(more)) == "015d3ef7-9800-84fd-a700-b23045c60eb8"
    contact = {"email": "a@example.com", "phoneType": "home"}
    named = person({"name": "Ada", "middleName": "K", "contacts": [contact]})
    assert identify(export(named)) == "015d3ef7-9800-8140-9e20-d4ef02aaec73"


def without(field: str) -> dict[str, vocabulary.Vocabulary]:
    """The vocabularies of a contract without a field, whose members are additional attributes."""

    def others(names: dict[str, str], set_name: str) -> dict[str, str]:
        return {name: named for name, named in names.items() if f"{set_name}.{named}" != field}

    return {
        set_name: vocabulary.Vocabulary(
            others(today.texts, set_name), others(today.dates, set_name), others(today.aliases, set_name)
        )
        for set_name, today in vocabulary.TODAY.items()
    }


@pytest.mark.parametrize(
    ("field", "document"),
    [
        ("customer_info.company_branch", export(customer({"companyBranch": "north"}))),
        ("customer_info.customer_status", [{"type": "ctmrinfo", "info": {"cstatus": "Active"}}]),
        (
            "customer_info.last_payment_date",
            export(customer({"role": "x", "lastPaymentDate": {"year": "2024", "month": "02", "day": 3}})),
        ),
        ("personal_info.name", export(person({"language": "", "name": "Ada", "firstname": "A"}))),
    ],
)
def test_a_field_that_the_contract_gets_leaves_the_ids_as_they_were(
    field: str, document: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = read_event(document)
    smaller = without(field)
    later = {name: today.names - smaller[name].names for name, today in vocabulary.TODAY.items()}
    monkeypatch.setattr(vocabulary, "FIRST", smaller)
    monkeypatch.setattr(vocabulary, "LATER_NAMES", later)
    grown = read_event(document)
    monkeypatch.setattr(vocabulary, "TODAY", smaller)
    before = read_event(document)
    assert grown.event_id == before.event_id != first.event_id
    grown.event_id = first.event_id
    assert grown == first, "the field is read as any other"
    assert before.additional_attributes != first.additional_attributes


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.json")), ids=lambda path: str(path.name))
def test_the_same_file_gives_the_same_events(path: Any) -> None:
    assert read_events(path.read_bytes(), source="a") == read_events(path.read_bytes(), source="a")


def test_ids_are_uuids_in_the_order_of_time_or_position() -> None:
    events = read_events(
        export(
            *(
                customer({"customerId": "1"}, customerInfo={"serverTimeStamp": time, "role": "x"})
                for time in (5, 6, 700)
            )
        )
    )
    pushed = read_events([PUSHED, {"type": "cart"}, PUSHED, PUSHED])
    for ids in ([event.event_id for event in events], [event.event_id for event in pushed]):
        assert ids == sorted(ids)
        assert len(set(ids)) == 3
        for event_id in ids:
            parsed = uuid.UUID(event_id)
            assert (parsed.version, parsed.variant) == (8, uuid.RFC_4122)
            assert str(parsed) == event_id
    assert [uuid.UUID(event.event_id).int >> 80 for event in events] == [5, 6, 700]


@pytest.mark.parametrize("time", [-1, -(2**63), 2**63 - 1])
def test_any_time_has_an_id(time: int) -> None:
    event = read_event(export({"customerInfo": {"serverTimeStamp": time, "role": "x"}}))
    assert uuid.UUID(event.event_id).version == 8


def test_an_exported_event_is_one_wherever_it_stands() -> None:
    event = customer({"customerId": "1", "currency": "EUR", "a": {"b": 1}})
    reordered = json.loads(json.dumps(event, sort_keys=True))
    less = {**event, "isAuthenticated": None, "isAuthenticatedBy": None}
    del less["sdeType"]
    events = [
        read_event(export(event), source="first.json"),
        read_event(export(reordered), source="second.json"),
        read_event(conversation(less), source="third.json"),
        *read_events(export(event, event)),
    ]
    assert events[0].event_id
    assert all(other == events[0] for other in events)


def test_repeats_come_out_as_often_as_they_stand_there() -> None:
    event = customer({"customerId": "1"})
    assert len(read_events(export(event, event, event))) == 3


def test_whatever_an_exported_event_says_tells_it_from_others() -> None:
    event = customer({"customerId": "1"})
    other_conversation = conversation(event)
    other_conversation["info"] = {"conversationId": "c-2", "brandId": "acme"}
    other_account = conversation(event)
    other_account["info"] = {"conversationId": "c-1", "brandId": "other"}
    other_consumer = conversation(event)
    other_consumer["consumerParticipants"] = [{"participantId": "p-2"}]
    documents: list[object] = [
        export(event),
        export(unauthenticated=(event,)),
        export(customer({"customerId": "2"})),
        export(customer({"customerId": ""})),
        export(customer({"customerId": "1"}, originalTimeStamp=1)),
        export(customer({"customerId": "1", "other": "1"})),
        export(customer({"customerId": "1", "lastPaymentDate": {"year": 1, "month": 2, "day": 3}})),
        export({"customerInfo": {"customerId": "1", "serverTimeStamp": 1500000000001}}),
        export(person({"name": "1"})),
        other_conversation,
        other_account,
        other_consumer,
    ]
    assert len({identify(document) for document in documents}) == len(documents)


def test_the_id_of_a_pushed_event_is_its_source_and_position() -> None:
    first, second = read_events([PUSHED, PUSHED])
    assert first.event_id != second.event_id
    assert identify([PUSHED], source="a") != identify([PUSHED], source="b")
    assert identify([PUSHED], source="a") == identify(json.dumps([PUSHED], indent=4), source="a")
    assert identify([PUSHED]) != identify([{"type": "ctmrinfo", "info": {"customerId": "2"}}])


def test_a_long_source_is_cut_in_the_event_only() -> None:
    long_a, long_b = (read_event([PUSHED], source="x" * 100 + end) for end in "ab")
    assert long_a.source == long_b.source == "x" * 64
    assert long_a.event_id != long_b.event_id


def test_a_source_may_be_a_file_name_that_is_no_text() -> None:
    assert read_event([PUSHED], source="caf\udce9.json").source == "caf\\udce9.json"


def test_unreadable_events_have_ids_too() -> None:
    unreadable = read_unreadable(export({"customerInfo": 1}))
    assert uuid.UUID(unreadable.event_id).version == 8
    assert unreadable == read_unreadable(export({"customerInfo": 1}))
