"""Stored events as proto-JSON: what is written fast is what protobuf's own writer writes."""

from __future__ import annotations

from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from engagement import v1
from engagement.cli.event_json import to_json

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SCALARS: dict[int, st.SearchStrategy[Any]] = {  # Any: values of all types
    v1.Event.DESCRIPTOR.fields_by_name["event_id"].cpp_type: texts,
    v1.Event.DESCRIPTOR.fields_by_name["authenticated"].cpp_type: st.booleans(),
    v1.Event.DESCRIPTOR.fields_by_name["original_time_stamp"].cpp_type: st.integers(-(2**63), 2**63 - 1),
    v1.Date.DESCRIPTOR.fields_by_name["day"].cpp_type: st.integers(-(2**31), 2**31 - 1),
}
times = st.builds(
    Timestamp, seconds=st.integers(-62_135_596_800, 253_402_300_799), nanos=st.integers(0, 999_999_999)
)
SAMPLES = (
    v1.StoredEvent(),
    v1.StoredEvent(event=v1.Event()),
    v1.StoredEvent(event=v1.Event(customer_info=v1.CustomerInfo(balance="", registration_date=v1.Date()))),
    v1.StoredEvent(receive_time=Timestamp()),
    v1.StoredEvent(event=v1.Event(event_id='"\\/\x00\x1f\x7f\u2028\U0001f600é')),
)


def messages(kind: type[Message]) -> st.SearchStrategy[Message]:
    """Any message of this type: each field of it may be there."""
    fields = {field.name: values(field) for field in kind.DESCRIPTOR.fields}
    # Where both attribute sets are chosen, the later one is what is built.
    return st.fixed_dictionaries({}, optional=fields).map(lambda chosen: kind(**chosen))


def values(field: Any) -> st.SearchStrategy[Any]:  # Any: descriptors have two types
    if field.message_type is None:
        scalars = SCALARS[field.cpp_type]
        return st.lists(scalars, max_size=3) if field.is_repeated else scalars
    if field.message_type.GetOptions().map_entry:
        return st.dictionaries(texts, texts, max_size=3)
    if field.message_type.full_name == Timestamp.DESCRIPTOR.full_name:
        return times
    each = messages(field.message_type._concrete_class)
    return st.lists(each, max_size=3) if field.is_repeated else each


@given(messages(v1.StoredEvent))
def test_every_stored_event_is_written_as_protobuf_writes_it(stored: v1.StoredEvent) -> None:
    assert to_json(stored) == json_format.MessageToJson(stored, indent=None, ensure_ascii=False)


def test_unusual_values_are_written_as_protobuf_writes_them() -> None:
    for stored in SAMPLES:
        assert to_json(stored) == json_format.MessageToJson(stored, indent=None, ensure_ascii=False)


def test_unknown_fields_are_left_out() -> None:
    with_unknown = v1.StoredEvent.FromString(v1.StoredEvent(cursor="c").SerializeToString() + b"\xf8\x3f\x01")
    assert to_json(with_unknown) == '{"cursor": "c"}'
