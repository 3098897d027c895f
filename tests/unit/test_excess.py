"""Items that are too many are hidden from parsers: the same rules stay broken, and nothing else changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeAlias

import pytest
from google.protobuf.message import DecodeError, Message
from hypothesis import given
from hypothesis import strategies as st

from engagement import v1
from engagement.counts import check_counts
from engagement.wire import length_delimited
from engagement_server.api.grpc.excess import hide_excess
from engagement_server.errors import MAX_COUNTED_EVENTS

CONTACT = b"\xa2\x01\x00"
CUSTOMER, PERSON = 10, 11
# Pieces of an event, as they may stand on the wire, also such as no client of ours sends.
PIECES: dict[str, Callable[[int], bytes]] = {
    "contacts": lambda count: length_delimited(PERSON, CONTACT * count),
    "contacts with a name": lambda count: length_delimited(PERSON, b"\xa2\x01\x03\x0a\x01x" * count),
    "contacts with an overlong tag": lambda count: length_delimited(PERSON, b"\xa2\x81\x00\x00" * count),
    "another set": lambda _: length_delimited(CUSTOMER, b""),
    "a number in place of a set": lambda _: b"\x50\x01",
    "keys": lambda count: b"".join(entry(f"{number}", "x") for number in range(count)),
    "one key again and again": lambda count: entry("same", "x") * count,
    "entries without a key": lambda count: attribute(b"") * count,
    "values before keys": lambda count: attribute(b"\x12\x01v\x0a\x01k") * count,
    "keys twice": lambda count: attribute(b"\x0a\x01a\x0a\x01b") * count,
    "a group with contacts": lambda count: b"\x9b\x06" + CONTACT * count + b"\x9c\x06",
    "unknown": lambda count: b"\xf8\x3f\x01\xfd\x3f1234" * count,
    "an id": lambda _: b"\x0a\x01e",
}
COUNTS = st.sampled_from([0, 1, 50, 51, 99, 100, 101, 102, 400, 999, 1_000, 1_001, 1_002, 1_500])
Wanted: TypeAlias = list[tuple[str, int]]
"""Pieces by name, each with a count."""
EVENTS = st.lists(st.tuples(st.sampled_from(sorted(PIECES)), COUNTS))


def entry(key: str, value: str) -> bytes:
    return attribute(length_delimited(1, key.encode()) + length_delimited(2, value.encode()))


def attribute(pair: bytes) -> bytes:
    """An additional attribute, field 20."""
    return bytes([0xA2, 0x01, len(pair)]) + pair


def hidden(data: bytes, message: type[Message]) -> bytes:
    return asyncio.run(hide_excess(data, message.DESCRIPTOR))


def rules(message: Message) -> list[tuple[str, str]]:
    return [(violation.field, violation.rule) for violation in check_counts(message)]


def wire(wanted: Wanted) -> bytes:
    return b"".join(PIECES[name](count) for name, count in wanted)


def check(message: type[Message], data: bytes) -> None:
    """A message still breaks a rule if it broke one, and is the same if it broke none."""
    before, after = message.FromString(data), message.FromString(hidden(data, message))
    assert bool(rules(after)) == bool(rules(before))
    assert after == before or rules(before)


@given(COUNTS, COUNTS, st.booleans())
def test_an_event_as_libraries_write_it_breaks_all_the_same_rules(
    contacts: int, attributes: int, is_first_alone: bool
) -> None:
    event = v1.Event(
        event_id="e",
        personal_info=v1.PersonalInfo(name="n", other_contacts=[v1.PersonalContact()] * contacts),
        additional_attributes={f"{number}": "x" for number in range(attributes)},
    )
    others = [] if is_first_alone else [v1.Event(event_id="other")]
    batch = v1.RecordEventsRequest(account_id="acme", events=[event, *others])
    left = v1.RecordEventsRequest.FromString(hidden(batch.SerializeToString(), v1.RecordEventsRequest))
    assert rules(left) == rules(batch)
    assert [each.event_id for each in left.events] == [each.event_id for each in batch.events]
    # The last few bytes of a message are too few to hide anything in.
    assert len(left.events[0].personal_info.other_contacts) <= 103
    assert len(left.events[0].additional_attributes) <= 1_001


@given(EVENTS)
def test_any_event_still_breaks_a_rule_or_is_the_same(wanted: Wanted) -> None:
    check(v1.Event, wire(wanted))


@pytest.mark.parametrize(
    "wanted",
    [
        [("contacts", 60), ("contacts", 60)],  # one set, in two parts
        [("contacts", 100), ("another set", 1), ("contacts", 50)],  # which has ended the first
        [("contacts", 100), ("a number in place of a set", 1), ("contacts", 50)],  # which has not
        [("a group with contacts", 400), ("contacts", 100)],
        [("contacts with an overlong tag", 400)],
        [("keys", 1_000), ("one key again and again", 400)],
        [("one key again and again", 1_500), ("keys", 999)],
        [("keys twice", 1_500), ("values before keys", 1_500), ("keys", 998)],
        [("an id", 1), ("keys", 1_500), ("unknown", 400)],
    ],
    ids=str,
)
def test_unusual_events_are_counted_as_parsers_read_them(wanted: Wanted) -> None:
    check(v1.RecordEventsRequest, length_delimited(2, wire(wanted)))


@given(st.lists(EVENTS, max_size=4))
def test_events_of_a_batch_are_looked_at_one_by_one(events: list[Wanted]) -> None:
    check(v1.RecordEventsRequest, b"".join(length_delimited(2, wire(event)) for event in events))


@given(st.binary(max_size=200))
def test_any_data_has_an_end_and_nothing_that_parsers_read_is_refused(data: bytes) -> None:
    try:
        kept = hidden(data, v1.Event)
    except ValueError:
        with pytest.raises(DecodeError):
            v1.Event.FromString(data)
    else:
        assert len(kept) == len(data)


def test_a_message_of_more_fields_than_any_may_have_is_refused() -> None:
    with pytest.raises(ValueError, match="too many fields"):
        hidden(PIECES["one key again and again"](1_000_001), v1.Event)


@pytest.mark.parametrize("name", PIECES)
def test_a_message_that_is_cut_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"truncated|longer"):
        hidden(PIECES[name](1)[:-1], v1.Event)


def test_a_set_in_many_parts_is_counted_as_one() -> None:
    data = length_delimited(2, wire([("contacts", 100)] * 40))
    (event,) = v1.RecordEventsRequest.FromString(hidden(data, v1.RecordEventsRequest)).events
    # What is left of each part is too short to hide anything in, or hidden.
    assert 100 < len(event.personal_info.other_contacts) <= 200


@pytest.mark.parametrize(("count", "left"), [(500, 500), (2_000, 2_000), (2_001, 2_001), (9_000, 2_001)])
def test_events_are_counted_further_than_they_may_be_many(count: int, left: int) -> None:
    data = v1.RecordEventsRequest(events=[v1.Event()] * count).SerializeToString()
    assert len(v1.RecordEventsRequest.FromString(hidden(data, v1.RecordEventsRequest)).events) == left
    assert MAX_COUNTED_EVENTS == 2_000


def test_lists_of_numbers_texts_and_masks_are_bounded() -> None:
    statuses = [v1.AttributeSet.ATTRIBUTE_SET_CUSTOMER_INFO] * 9_000
    page = v1.ListEventsRequest(filter=v1.EventFilter(consumer_ids=["a"] * 9_000, attribute_sets=statuses))
    page.read_mask.paths.extend(["x"] * 9_000)
    left = v1.ListEventsRequest.FromString(hidden(page.SerializeToString(), v1.ListEventsRequest))
    assert len(left.filter.consumer_ids) == len(left.read_mask.paths) == MAX_COUNTED_EVENTS + 1
    assert rules(left) == rules(page)
    one_by_one = v1.EventFilter.FromString(hidden(b"\x08\x01" * 9_000, v1.EventFilter))
    assert len(one_by_one.attribute_sets) == MAX_COUNTED_EVENTS + 1
    # An empty packed list has no item.
    assert hidden(b"\x0a\x00" * 9_000, v1.EventFilter) == b"\x0a\x00" * 9_000
