"""What is known of a rejected event names producer, field and rule, and holds no value."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement import limits, rules, v1
from engagement_server.metrics.rejected_events import (
    MAX_DESCRIPTION_CHARACTERS,
    MAX_SHAPE_CHARACTERS,
    BrokenRule,
    RejectedEvent,
    describe,
    shape,
)
from engagement_server.validation import event_error
from tests.contract.test_contract import IDENTIFIES_A_PERSON
from tests.support.contract import SETS
from tests.support.events import customer_event, personal_event, text_fields, very_bad_event

_NOW_MS = 2_000_000_000_000
_SECRET = "Zq7xSecret@example.com"
_CONFLICT = v1.ErrorReason.ERROR_REASON_EVENT_ID_CONFLICT


def described(event: v1.Event) -> RejectedEvent:
    violations = rules.check_event(event, size_bytes=event.ByteSize(), now_ms=_NOW_MS)
    return describe(event, event_error(violations))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2014-15", "9999-99"),
        ("Ada Lovelace", "Aaa Aaaaaaaa"),
        ("ada@example.com", "aaa@aaaaaaa.aaa"),
        ("", ""),
        ("é漢☃٣\0\n\u202e", "aA?9???"),
        ("x" * 20, "a" * 20),
        ("x" * 21, "a" * 19 + "…"),
        ("7" * 1_000_000, "9" * 19 + "…"),
    ],
)
def test_a_shape_has_letters_digits_and_punctuation(text: str, expected: str) -> None:
    assert shape(text) == expected


@given(st.text())
def test_a_shape_is_short_and_stays_on_its_line(text: str) -> None:
    shown = shape(text)
    assert len(shown) <= MAX_SHAPE_CHARACTERS
    assert shown.isprintable()
    assert not any(character.isdigit() and character != "9" for character in shown)
    assert not any(character.isalpha() and character not in "aA" for character in shown)


def test_a_date_has_a_shape_as_a_whole_and_in_its_parts() -> None:
    whole = described(customer_event(last_payment_date=v1.Date(year=2023, month=2, day=30)))
    assert whole.rules == [BrokenRule("customer_info.last_payment_date", "date.calendar_day")]
    assert whole.shape == "9999-9-99"
    part = described(customer_event(last_payment_date=v1.Date(year=2023, month=-13, day=30)))
    assert part.rules == [BrokenRule("customer_info.last_payment_date.month", "int32.gte_lte")]
    assert part.shape == "-99"


def test_an_event_without_a_set_or_with_a_time_in_seconds_is_described() -> None:
    none = described(v1.Event(source="crm"))
    assert (none.source, none.rules, none.shape) == ("crm", [BrokenRule("attributes", "required")], "")
    seconds = described(customer_event(server_time_stamp=1_714_557_600))
    assert seconds.rules == [BrokenRule("customer_info.server_time_stamp", "time.seconds")]
    assert seconds.shape == "9" * 10


def _texts() -> Iterator[tuple[str, str]]:
    for set_name, message in SETS.items():
        for name in text_fields(message()):
            yield set_name, name


@pytest.mark.parametrize(("set_name", "name"), [*_texts()])
def test_only_a_field_that_identifies_nobody_has_a_shape(set_name: str, name: str) -> None:
    event = v1.Event()
    setattr(getattr(event, set_name), name, f"{_SECRET}\0")
    found = described(event)
    assert found.rules == [BrokenRule(f"{set_name}.{name}", "string.not_contains")]
    is_personal = name in IDENTIFIES_A_PERSON[SETS[set_name]]
    assert found.shape == ("" if is_personal else "Aa9aAaaaaa@aaaaaaa.…")


def test_contacts_and_additional_attributes_have_neither_index_nor_key_nor_shape() -> None:
    contact = v1.PersonalContact(email=f"{_SECRET}\0")
    found = described(personal_event(other_contacts=[v1.PersonalContact(), contact, contact]))
    assert found.rules == [BrokenRule("personal_info.other_contacts.email", "string.not_contains")]
    assert (found.shape, found.violations_total) == ("", 2)
    for key in (_SECRET, f'{_SECRET}"]["x', f"{_SECRET}[0].name", "k" * 300, f"\0{_SECRET}"):
        event = customer_event()
        event.additional_attributes[key] = "\0"
        found = described(event)
        assert {rule.field for rule in found.rules} == {"additional_attributes"}
        assert found.shape == ""
        assert "ecret" not in json.dumps(found)


def test_a_rule_that_an_event_breaks_often_is_in_it_once() -> None:
    found = described(very_bad_event())
    assert found.rules == [BrokenRule("additional_attributes", "string.not_contains")]
    assert found.violations_total > limits.MAX_VIOLATIONS


def test_a_conflict_has_neither_field_nor_the_id_of_the_event() -> None:
    error = v1.EventError(reason=_CONFLICT, message=f"an event with id {_SECRET} is stored")
    found = describe(v1.Event(event_id=_SECRET, source="crm"), error)
    assert found == RejectedEvent("crm", _CONFLICT, [BrokenRule("", "")], "", "", 0)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("crm", "crm"),
        ("a" * 64, "a" * 64),
        ("a" * 65, "a" * 63 + "…"),
        ("é" * 1_000_000, "é" * 63 + "…"),
        ("crm\0\x1b[2J\n", "crm\ufffd\ufffd[2J\ufffd"),
    ],
)
def test_a_source_is_short_and_has_no_control_characters(source: str, expected: str) -> None:
    assert describe(v1.Event(source=source), v1.EventError(reason=_CONFLICT)).source == expected


def test_a_long_description_is_cut() -> None:
    error = v1.EventError()
    error.violations.add(
        field="customer_info.customer_status", rule="server.entity.unknown", description="x" * 999
    )
    found: Any = describe(customer_event(), error)
    assert len(found.description) == MAX_DESCRIPTION_CHARACTERS
    assert found.shape == "aaaaaaaaa"
