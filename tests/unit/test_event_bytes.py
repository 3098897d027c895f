"""Answers put together from stored bytes are the messages of the contract."""

from __future__ import annotations

from typing import Any, TypeVar

from hypothesis import given
from hypothesis import strategies as st

from engagement import v1
from engagement.limits import END_OF_TIME_MS, START_OF_TIME_MS
from engagement.wire import length_delimited
from engagement_server.cursor import Cursors, first_position
from engagement_server.messages import event_fields, stored_event_message
from engagement_server.model import StoredRow
from tests.support.filled_events import filled_events

S = TypeVar("S", v1.CustomerInfo, v1.PersonalInfo)

CURSORS = Cursors(epoch=0xDEADBEEF, key=b"k" * 32)

times = st.integers(START_OF_TIME_MS, END_OF_TIME_MS - 1)
# Around the lengths whose encoding takes another byte, and those that are looked up.
_lengths = st.sampled_from([0, 1, 100, 126, 127, 128, 129, 1900, 2040, 2047, 2048, 16_383, 16_384, 50_000])
texts = st.text(max_size=20) | _lengths.map("x".__mul__) | st.just("R\x07\x08\x00\n\x05Z\x02\x08\x01")
unknown = st.sampled_from(
    [b"", length_delimited(7, b"later"), b"\x40\x80\x01", b"\xaa\x01\x02\x08\x07", b"\x45" + bytes(4)]
)
"""Fields of a later contract, which stores those with low numbers ahead of the attributes."""


def _attributes(message_type: type[S]) -> st.SearchStrategy[S]:
    descriptor: Any = message_type.DESCRIPTOR  # Any: the stubs allow several types of descriptors
    names = [field.name for field in descriptor.fields if field.type == field.TYPE_STRING]
    fields = st.dictionaries(st.sampled_from(names), texts, max_size=4)
    # 0 is refused before it is stored, and replaced should it be stored all the same.
    given_times = st.none() | st.just(0) | times
    return st.builds(lambda values, ms: message_type(**values, server_time_stamp=ms), fields, given_times)


@st.composite
def stored_rows(draw: st.DrawFn) -> StoredRow:
    event = v1.Event(
        event_id=draw(texts),
        consumer_id=draw(texts),
        conversation_id=draw(texts),
        authenticated=draw(st.booleans()),
        original_time_stamp=draw(st.none() | times),
        source=draw(texts),
        customer_info=draw(st.none() | _attributes(v1.CustomerInfo)),
        additional_attributes=draw(st.dictionaries(texts, texts, max_size=2)),
    )
    if not event.HasField("customer_info") and draw(st.booleans()):
        event.personal_info.CopyFrom(draw(_attributes(v1.PersonalInfo)))
    if event.HasField("customer_info"):
        event.customer_info.MergeFromString(draw(unknown))
    attributes = event.customer_info if event.HasField("customer_info") else event.personal_info
    return StoredRow(
        position=first_position(draw(st.integers(1, 9))) + draw(st.integers(1, 1 << 39)),
        server_time_ms=attributes.server_time_stamp or draw(times),
        receive_time_ms=draw(times),
        payload=draw(unknown) + event.SerializeToString(deterministic=True) + draw(unknown),
        matched_status=draw(st.none() | texts),
        matched_type=draw(st.none() | texts),
        upload_id=draw(st.none() | texts.filter(bool)),
        event_number=draw(st.sampled_from([1, 127, 128, 16_383, 16_384, (1 << 63) - 1])),
    )


@given(rows=st.lists(stored_rows(), max_size=5))
def test_a_page_of_stored_bytes_is_the_message(rows: list[StoredRow]) -> None:
    page = v1.ListEventsResponse(events=[_message(row) for row in rows])
    assert v1.ListEventsResponse.FromString(b"".join(event_fields(rows, cursors=CURSORS, mask=None))) == page


@given(row=stored_rows())
def test_an_event_of_stored_bytes_is_the_message_and_occurs_once(row: StoredRow) -> None:
    (field,) = event_fields([row], cursors=CURSORS, mask=None)
    assert v1.GetEventResponse.FromString(field) == v1.GetEventResponse(event=_message(row))
    assert v1.SubscribeEventsResponse.Batch.FromString(field).events[0] == _message(row)
    # Some libraries take the last occurrence of a message instead of merging it with the first.
    assert len(field) == len(v1.GetEventResponse(event=_message(row)).SerializeToString())


def test_an_event_that_fills_every_field_has_the_bytes_of_the_message() -> None:
    for event in filled_events().values():
        row = StoredRow(first_position(1) + 1, 1_700_000_000_123, 1_700_000_000_999, b"", "vip", None)
        row = row._replace(upload_id="u", event_number=300)
        for leave_time_out in (False, True):
            sent = v1.Event.FromString(event.SerializeToString())
            if leave_time_out:
                getattr(sent, str(sent.WhichOneof("attributes"))).ClearField("server_time_stamp")
            stored = row._replace(payload=sent.SerializeToString(deterministic=True))
            (field,) = event_fields([stored], cursors=CURSORS, mask=None)
            expected = v1.GetEventResponse(event=_message(stored)).SerializeToString(deterministic=True)
            assert field == expected


def _message(row: StoredRow) -> v1.StoredEvent:
    return stored_event_message(row, cursors=CURSORS)
