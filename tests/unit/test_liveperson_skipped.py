"""Items that are not attribute sets are counted, or reported if they are in the place of one."""

from __future__ import annotations

import pytest

from tests.support.liveperson_input import CONTEXT, customer, export, person, read_skipped, read_unreadable


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
