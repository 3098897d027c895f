"""Fields are counted in serialized messages as a parser finds them, and malformed data ends the count."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement import v1
from engagement_server.api.grpc.field_count import count_fields
from tests.support.filled_events import filled_events
from tests.support.nasty_events import nasty_events

BATCH = v1.RecordEventsRequest
ALL = [*nasty_events(), *filled_events().values()]


def count(data: bytes, message: Any = BATCH) -> int:
    *_, last = count_fields(data, message.DESCRIPTOR)
    return last


def expected(message: Any) -> int:
    """By looking at the parsed message; entries of maps are single fields."""
    found = 0
    for field, value in message.ListFields():
        is_message = field.message_type is not None and not field.message_type.GetOptions().map_entry
        is_packed = field.is_repeated and not is_message and field.type == field.TYPE_ENUM
        items = value if field.is_repeated and is_message else [value]
        found += 1 if not field.is_repeated or is_packed else len(value)
        found += sum(map(expected, items)) if is_message else 0
    return found


@given(st.lists(st.sampled_from(ALL), max_size=30))
def test_any_events_have_as_many_fields_as_are_found_in_them(events: list[v1.Event]) -> None:
    batch = BATCH(account_id="acme", events=events)
    assert count(batch.SerializeToString()) == expected(batch)


def test_events_of_all_kinds_are_counted() -> None:
    assert len(ALL) > 20
    assert max(map(expected, ALL)) > 30


def test_each_step_is_short_and_tells_the_count_so_far() -> None:
    steps = list(count_fields(BATCH(events=[v1.Event()] * 10_000).SerializeToString(), BATCH.DESCRIPTOR))
    assert steps == [2_000, 4_000, 6_000, 8_000, 10_000, 10_000]


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        (b"", 0),
        (b"\x12", 1),  # without a length
        (b"\x12\x05\x0a\x00", 2),  # shorter than its length
        (b"\xff" * 50, 0),  # a tag without an end
        (b"\x12\x00\xf8" + b"\xff" * 20, 1),
        (b"\x08" + b"\xff" * 20, 1),  # a number without an end
        (b"\x09" + bytes(8) + b"\x0d" + bytes(4) + b"\x12\x00", 3),  # of 8 and of 4 bytes
        (b"\x1b" + b"\x12\x00" * 7 + b"\x1c", 9),  # in a group
        (b"\x12\x80\x00" * 5, 5),  # lengths that are longer than they need to be
    ],
)
def test_unusual_data_is_counted_to_its_end(data: bytes, fields: int) -> None:
    assert count(data) == fields


@given(st.binary(max_size=300))
def test_any_data_has_an_end(data: bytes) -> None:
    assert 0 <= count(data) <= len(data)


def test_a_field_that_comes_again_counts_again() -> None:
    once = v1.RecordEventRequest(event=v1.Event(event_id="x")).SerializeToString()
    assert count(once * 100, v1.RecordEventRequest) == 200
