"""The short cut through the rules of the contract never decides otherwise than the rules themselves."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engagement import limits, v1
from engagement.masked import MASKED_KEY, MASKED_TEXT
from engagement.rules import (
    Violation,
    check_events,
    check_limits,
    check_message,
    check_serialized,
    is_plainly_valid,
)
from tests.support.events import bad_event, customer_event, text_fields, very_bad_event

NOW_MS = 1_700_000_000_000
tolerant = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

# Texts and times on both sides of every limit; lengths in characters of one to four bytes.
lengths = st.sampled_from([0, 1, 63, 64, 65, 127, 128, 129])
full_lengths = st.sampled_from([12_500, 12_501, 49_900, 50_000, 50_001])
characters = st.sampled_from(["a", "é", "東", "\U0001f600"])
short_texts = st.builds(str.__mul__, characters, lengths)
long_texts = st.builds(str.__mul__, characters, full_lengths)
special_texts = st.sampled_from(["a\0", MASKED_TEXT])
texts = st.one_of(short_texts, short_texts, short_texts, special_texts, long_texts)
names = st.one_of(short_texts, short_texts, short_texts, st.sampled_from(["\0", MASKED_TEXT, MASKED_KEY]))
edges_ms = [0, NOW_MS, NOW_MS + limits.MAX_CLOCK_LEAD_MS, limits.END_OF_TIME_MS]
times_ms = st.builds(int.__add__, st.sampled_from(edges_ms), st.sampled_from([-1, 0, 1])) | st.just(-(2**63))
parts = st.sampled_from(
    [-1, 0, 1, 2, 4, 12, 13, 28, 29, 30, 31, 32, 1900, 2000, 2013, 9999, 10_000, 2**31 - 1]
)
days = st.builds(v1.Date, year=parts, month=parts, day=parts) | st.just(v1.Date(year=2012, month=2, day=29))


def few(names: list[str], of: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, str]]:
    return st.dictionaries(st.sampled_from(names), of, max_size=2)


def optional(**strategies: st.SearchStrategy[object]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=strategies)


times = optional(server_time_stamp=times_ms)
customers = st.builds(
    lambda texts, times, days: {"customer_info": v1.CustomerInfo(**texts, **times, **days)},
    few(text_fields(v1.CustomerInfo()), texts),
    times,
    optional(last_payment_date=days, registration_date=days),
)
counts_around = st.sampled_from([-1, 0, 1])
contacts: st.SearchStrategy[list[dict[str, str]]] = st.one_of(
    st.lists(few(["email", "phone"], texts), max_size=2),
    st.builds(lambda more: [{}] * (limits.MAX_OTHER_CONTACTS + more), counts_around),
)
additional_attributes = st.one_of(
    st.dictionaries(names, names, max_size=2),
    st.builds(
        lambda more: dict.fromkeys(map(str, range(limits.MAX_ADDITIONAL_ATTRIBUTES + more)), ""),
        counts_around,
    ),
)
persons = st.builds(
    lambda texts, times, contacts: {
        "personal_info": v1.PersonalInfo(**texts, **times, other_contacts=contacts)
    },
    few(text_fields(v1.PersonalInfo()), texts),
    times,
    contacts,
)
events_near_the_limits = st.builds(
    lambda attributes, rest: v1.Event(**attributes, **rest),
    st.one_of(customers, customers, persons, persons, st.just({})),
    optional(
        event_id=names,
        source=names,
        consumer_id=texts,
        conversation_id=texts,
        original_time_stamp=times_ms,
        additional_attributes=additional_attributes,
    ),
)


def violations_one_by_one(event: v1.Event) -> list[Violation]:
    return [
        *check_message(event),
        *check_limits(event, size_bytes=event.ByteSize(), now_ms=NOW_MS),
    ]


def in_any_order(violations: list[Violation]) -> list[Violation]:
    """Sorted: the entries of a map have no order."""
    return sorted(violations, key=attrgetter("field", "rule"))


def test_an_ordinary_event_is_plainly_valid() -> None:
    event = customer_event(
        balance="-400.99",
        server_time_stamp=NOW_MS,
        last_payment_date=v1.Date(year=2014, month=10, day=15),
    )
    assert is_plainly_valid(event, event.SerializeToString(), now_ms=NOW_MS)


@settings(tolerant, max_examples=400)
@given(event=events_near_the_limits)
def test_an_event_that_breaks_a_rule_is_never_plainly_valid(event: v1.Event) -> None:
    if is_plainly_valid(event, event.SerializeToString(), now_ms=NOW_MS):
        assert violations_one_by_one(event) == []


@settings(tolerant, max_examples=60)
@given(events=st.lists(events_near_the_limits, max_size=6))
def test_events_checked_together_are_as_if_checked_alone(events: list[v1.Event]) -> None:
    together = check_events(events, now_ms=NOW_MS)
    assert list(map(in_any_order, together)) == [
        in_any_order(violations_one_by_one(event)) for event in events
    ]


@pytest.mark.parametrize("other", ["plain", "also broken"])
def test_dates_are_described_alike_whether_a_glance_finds_them_or_not(other: str) -> None:
    for year, month, day in ((2014, 13, 1), (2014, 2, 30), (0, 0, 0), (-1, 4, 40), (2014, 1, 1)):
        date = v1.Date(year=year, month=month, day=day)
        event = customer_event(last_payment_date=date, registration_date=date)
        if other == "also broken":
            event.customer_info.currency = "\0"
        assert check_events([event], now_ms=NOW_MS) == [violations_one_by_one(event)]
        payload = event.SerializeToString()
        first = check_serialized(event, payload, now_ms=NOW_MS, is_first_enough=True)
        assert first == violations_one_by_one(event)[:1]


def test_more_bad_events_than_a_chunk_holds_are_all_found() -> None:
    events = [bad_event() if number % 2 else customer_event() for number in range(1203)]
    found = check_events(events, now_ms=NOW_MS)
    assert [len(violations) for violations in found] == [number % 2 for number in range(1203)]


def test_a_violation_has_a_short_path_and_never_the_value() -> None:
    event = very_bad_event()
    event.customer_info.balance = "secret" * 10_000
    violations = violations_one_by_one(event)
    assert all(len(violation.field) <= 256 for violation in violations)
    assert "secret" not in str([violation for violation in violations if "balance" in violation.field])


def test_an_empty_key_is_found_even_if_it_was_left_out_on_the_wire() -> None:
    entry_without_key = b"\xa2\x01\x03\x12\x01a"
    payload = customer_event(balance="1").SerializeToString() + entry_without_key
    event = v1.Event.FromString(payload)
    assert event.additional_attributes == {"": "a"}
    assert not is_plainly_valid(event, payload, now_ms=NOW_MS)


def test_too_many_members_are_described_with_their_limit() -> None:
    contacts = v1.PersonalInfo(other_contacts=[{}] * (limits.MAX_OTHER_CONTACTS + 1))
    attributes = dict.fromkeys(map(str, range(limits.MAX_ADDITIONAL_ATTRIBUTES + 1)), "a")
    event = v1.Event(personal_info=contacts, additional_attributes=attributes)
    assert [violation.description for violation in check_message(event)] == [
        "must have at most 100 items",
        "must have at most 1000 entries",
    ]


def test_a_violated_pattern_is_described_in_words() -> None:
    (broken,) = check_message(v1.RecordEventRequest(account_id="acme corp", event=customer_event()))
    assert (broken.field, broken.rule) == ("account_id", "string.pattern")
    assert broken.description == "must be 1 to 64 letters (a to z), digits, - and _"
    (broken,) = check_message(v1.SourceDigest(sha256="x"))
    assert broken.description == "must be 64 digits of lower-case hexadecimal"


def test_every_day_that_the_calendar_has_is_valid_and_no_other() -> None:
    """The rules of `Date` are taken whole: a day is valid where the standard library has it."""
    for year in (-1, 0, 1, 1900, 2000, 2012, 2013, 9999, 10_000):
        for month in range(-1, 15):
            for day in range(-1, 34):
                event = customer_event(registration_date=v1.Date(year=year, month=month, day=day))
                is_valid = is_plainly_valid(event, event.SerializeToString(), now_ms=NOW_MS)
                assert is_valid == (not check_message(event.customer_info.registration_date))
