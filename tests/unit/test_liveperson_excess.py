"""Sets with more texts or contacts than an event may have: folded into JSON, and nothing is lost."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from engagement import limits
from engagement.rules import check_message
from tests.support.liveperson_input import customer, export, person, read_event, read_unreadable

LIMIT = limits.MAX_ADDITIONAL_ATTRIBUTES
words = st.text("abcdé東", min_size=1, max_size=4)
trees = st.recursive(
    words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=5,
)


def words_of(value: Any) -> Iterator[str]:  # Any: JSON
    if isinstance(value, dict):
        for child in value.values():
            yield from words_of(child)
    elif isinstance(value, list):
        for child in value:
            yield from words_of(child)
    elif value.startswith(("{", "[")):  # folded; no word begins so
        yield from words_of(json.loads(value))
    else:
        yield value


def test_as_many_texts_as_an_event_may_have_stay_apart() -> None:
    members = {"pages": [str(number) for number in range(LIMIT)]}
    event = read_event(export(customer({"balance": "1", **members})))
    assert event.additional_attributes["pages[0]"] == "0"
    assert len(event.additional_attributes) == LIMIT


def test_the_value_with_most_texts_becomes_one() -> None:
    pages = [{"id": f"é{number}", "seconds": 1.50} for number in range(LIMIT // 2)]
    event = read_event(export(customer({"balance": "1", "pages": pages, "tier": {"name": "gold"}})))
    assert dict(event.additional_attributes) == {
        "pages": json.dumps(pages, ensure_ascii=False, separators=(",", ":")),
        "tier.name": "gold",
    }


def test_of_a_value_too_long_for_one_text_its_parts_become_one_each() -> None:
    halves = [[f"{half} {number} {'x' * 40}" for number in range(LIMIT)] for half in range(2)]
    event = read_event(export(customer({"balance": "1", "halves": halves})))
    kept = {path: json.loads(text) for path, text in event.additional_attributes.items()}
    assert kept == {"halves[0]": halves[0], "halves[1]": halves[1]}


def test_texts_side_by_side_share_one_from_the_last_place_on() -> None:
    members = {f"m{number}": str(number) for number in range(LIMIT + 10)}
    event = read_event(export(customer({"balance": "1", **members})))
    kept = dict(event.additional_attributes)
    rest = json.loads(kept.pop('""'))
    assert len(kept) == LIMIT - 1
    assert {**kept, **rest} == members


def test_more_than_fits_even_so_is_unreadable() -> None:
    members = {f"m{number}": "x" * 1000 for number in range(LIMIT + 60)}
    unreadable = read_unreadable(export(customer({"balance": "1", **members})))
    assert (unreadable.field, unreadable.rule) == ("additional_attributes", "map.max_pairs")
    assert unreadable.description == "must have at most 1000 entries, has 1060"


def test_contacts_beyond_the_limit_become_one_text() -> None:
    contacts = [{"email": f"{number}@example.com"} for number in range(limits.MAX_OTHER_CONTACTS + 3)]
    event = read_event(export(person({"contacts": contacts})))
    assert event.personal_info.email == "0@example.com"
    assert len(event.personal_info.other_contacts) == limits.MAX_OTHER_CONTACTS
    assert json.loads(event.additional_attributes["contacts"]) == contacts[-2:]


@settings(max_examples=60)
@given(tree=trees, beside=st.dictionaries(words, trees, max_size=3), copies=st.sampled_from([1, 300, 1200]))
def test_every_text_is_kept_and_the_event_is_valid(tree: Any, beside: Any, copies: int) -> None:
    members = {"wide": [tree] * copies, "more": beside}
    event = read_event(export(customer({"balance": "1", **members})))
    assert Counter(words_of(dict(event.additional_attributes))) == Counter(words_of(members))
    assert check_message(event) == []
