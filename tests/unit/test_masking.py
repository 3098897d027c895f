"""What may identify a person is in no byte of a masked answer, and everything else is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement import v1
from engagement.masked import MASKED_KEY, MASKED_TEXT
from engagement.rules import check_events, is_plainly_valid
from engagement_server.access.masking import PERSON_MASK, PersonMask, require_open
from engagement_server.cursor import Cursors, first_position
from engagement_server.errors import ScopeMissingError
from engagement_server.messages import event_fields
from engagement_server.model import StoredRow
from engagement_server.streams.selections import HandedEvent
from tests.support.contract import SETS, reachable
from tests.support.filled_events import TIME_MS
from tests.support.personal_events import OPEN, SECRET, personal_events, secret_fields, with_unknown_fields

CURSORS = Cursors(epoch=0xDEADBEEF, key=b"k" * 32)
EVENTS = personal_events()

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=200)


def row_of(event: v1.Event, *, position: int = 1) -> StoredRow:
    """The event as the store keeps it, in an upload and matched by entities."""
    payload = event.SerializeToString(deterministic=True)
    row = StoredRow(first_position(1) + position, TIME_MS, TIME_MS, payload, OPEN, OPEN)
    return row._replace(upload_id="upload", event_number=7)


def answer(event: v1.Event, *, is_masked: bool) -> bytes:
    (field,) = event_fields([row_of(event)], cursors=CURSORS, mask=PERSON_MASK if is_masked else None)
    return field


def stored(answered: bytes) -> v1.StoredEvent:
    return v1.GetEventResponse.FromString(answered).event


@st.composite
def marked_events(draw: st.DrawFn) -> v1.Event:
    """Any of the fields, each with its marker and any text behind it."""
    event = v1.Event()
    event.CopyFrom(EVENTS[draw(st.sampled_from([*SETS]))])
    attributes = getattr(event, str(event.WhichOneof("attributes")))
    for field, value in [*attributes.ListFields()]:
        if draw(st.booleans()):
            attributes.ClearField(field.name)
        elif isinstance(value, str):
            setattr(attributes, field.name, value + draw(texts))
        elif field.is_repeated:
            value.extend([value[0]] * draw(st.integers(0, 3)))
    if draw(st.booleans()):
        event.additional_attributes.clear()
    return with_unknown_fields(event) if draw(st.booleans()) else event


@given(event=marked_events())
def test_no_value_that_may_identify_a_person_is_in_a_masked_answer(event: v1.Event) -> None:
    answered = answer(event, is_masked=True)
    assert SECRET.encode() not in answered
    assert [*stored(answered).masked_fields] == secret_fields(event)


@given(event=marked_events())
def test_nothing_but_these_values_is_masked(event: v1.Event) -> None:
    masked, plain = stored(answer(event, is_masked=True)), stored(answer(event, is_masked=False))
    assert not plain.masked_fields
    plain.DiscardUnknownFields()
    for path in masked.masked_fields:
        holder, _, name = path.rpartition(".")
        for each in (masked, plain):
            (getattr(each.event, holder) if holder else each.event).ClearField(name)
    masked.ClearField("masked_fields")
    assert masked == plain


@given(event=marked_events())
def test_masking_again_changes_nothing(event: v1.Event) -> None:
    once = stored(answer(event, is_masked=True))
    twice = v1.StoredEvent.FromString(once.SerializeToString())
    assert PERSON_MASK.mask_event(twice.event) == [*once.masked_fields]
    assert twice == once


def test_a_masked_answer_has_fixed_texts_one_contact_and_one_additional_attribute() -> None:
    many = v1.Event.FromString(EVENTS["personal_info"].SerializeToString())
    many.personal_info.other_contacts.add(phone=SECRET)
    many.personal_info.other_contacts.add()
    many.additional_attributes["another"] = "one"
    event = stored(answer(many, is_masked=True)).event
    assert event.personal_info.name == MASKED_TEXT
    contact = v1.PersonalContact(email=MASKED_TEXT, phone=MASKED_TEXT)
    assert [*event.personal_info.other_contacts] == [contact]
    assert dict(event.additional_attributes) == {MASKED_KEY: MASKED_TEXT}


def test_the_number_and_the_length_of_masked_values_do_not_show() -> None:
    short = v1.Event(personal_info=v1.PersonalInfo(name="", other_contacts=[v1.PersonalContact()]))
    short.additional_attributes["k"] = ""
    long = v1.Event(personal_info=v1.PersonalInfo(name="x" * 999, other_contacts=[{"email": "a"}] * 9))
    long.additional_attributes.update({f"k{number}": "v" for number in range(9)})
    assert answer(short, is_masked=True) == answer(long, is_masked=True)


def test_every_marked_field_of_an_event_has_been_planted_and_is_directly_below_its_set() -> None:
    marked = {
        field.full_name
        for message in reachable(v1.Event.DESCRIPTOR)
        for field in message.fields
        if field.GetOptions().debug_redact
    }
    planted: set[str] = set()
    for name, event in EVENTS.items():
        for field, value in getattr(event, name).ListFields():
            if SECRET in str(value):
                planted.add(field.full_name)
                if field.message_type is not None:
                    planted.update(each.full_name for each in field.message_type.fields)
    assert marked == planted


def test_a_masked_profile_has_no_such_value_and_keeps_its_sources() -> None:
    profile = v1.Profile(consumer_id="ada")
    for name, event in EVENTS.items():
        getattr(profile, name).CopyFrom(getattr(with_unknown_fields(event), name))
        profile.sources[f"{name}.server_time_stamp"].event_id = name
        profile.beaten[f"{name}.server_time_stamp"].source.event_id = name
    masked = v1.Profile.FromString(profile.SerializeToString())
    PERSON_MASK.mask_profile(masked)
    assert SECRET.encode() in profile.SerializeToString()
    assert SECRET.encode() not in masked.SerializeToString()
    attributes = [path for event in EVENTS.values() for path in secret_fields(event)]
    assert [*masked.masked_fields] == [path for path in attributes if "." in path]
    assert (masked.sources, masked.beaten) == (profile.sources, profile.beaten)
    assert masked.customer_info.balance == profile.customer_info.balance
    again = v1.Profile.FromString(masked.SerializeToString())
    PERSON_MASK.mask_profile(again)
    assert again == masked


@given(event=marked_events())
def test_what_was_read_masked_is_refused_as_an_event(event: v1.Event) -> None:
    masked = stored(answer(event, is_masked=True))
    (found,) = check_events([masked.event], now_ms=TIME_MS)
    assert [each.field for each in found] == [*masked.masked_fields]
    assert {each.rule for each in found} <= {"server.event.masked"}
    payload = masked.event.SerializeToString()
    assert is_plainly_valid(masked.event, payload, now_ms=TIME_MS) == (not masked.masked_fields)


def test_the_fixed_text_is_good_where_nothing_is_masked() -> None:
    event = v1.Event(event_id=MASKED_TEXT, customer_info=v1.CustomerInfo(role=MASKED_TEXT))
    event.additional_attributes.update({"state": MASKED_TEXT, MASKED_KEY: "yes"})
    assert check_events([event], now_ms=TIME_MS) == [[]]


# Values that `read` shows anyway, or the caller knows.
OPEN_FILTERS = {
    "attribute_sets",
    "consumer_ids",
    "conversation_ids",
    "customer_ids",
    "customer_statuses",
    "customer_types",
    "authenticated",
    "start_time",
    "end_time",
    "subject_ids",
    "receive_start_time",
    "receive_end_time",
}


def test_somebody_has_decided_for_each_filter_whether_it_tells_what_is_masked() -> None:
    fields: Any = v1.EventFilter.DESCRIPTOR.fields  # Any: the stubs allow several types of descriptors
    assert {field.name for field in fields} == OPEN_FILTERS | {"text"}


def test_words_are_not_searched_for_a_caller_who_may_not_see_them() -> None:
    require_open(v1.EventFilter(text="ada"), None)
    require_open(v1.EventFilter(consumer_ids=["ada"], customer_types=["vip"]), PERSON_MASK)
    with pytest.raises(ScopeMissingError) as raised:
        require_open(v1.EventFilter(text="ada"), PERSON_MASK)
    assert raised.value.metadata["scopes"] == "read.pii"


class CountingMask(PersonMask):
    """Counts the events that it has masked."""

    def __init__(self) -> None:
        self.count = 0

    def mask_event(self, event: v1.Event) -> Sequence[str]:
        self.count += 1
        return super().mask_event(event)


@pytest.mark.parametrize("is_masked_first", [True, False])
def test_an_event_that_was_handed_over_is_encoded_once_for_each_kind_of_followers(
    is_masked_first: bool,
) -> None:
    mask = CountingMask()
    handed = HandedEvent(row_of(EVENTS["personal_info"]))
    order = [mask, None] if is_masked_first else [None, mask]
    for each in order * 3:
        serialized = handed.serialized(CURSORS, mask=each).serialized
        assert (SECRET.encode() in serialized) == (each is None)
        assert serialized is handed.serialized(CURSORS, mask=each).serialized
    assert mask.count == 1
