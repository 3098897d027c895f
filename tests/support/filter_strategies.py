"""Strategies for events and filters whose few values are easily confused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import strategies as st

from engagement import v1
from tests.support.plain_filter import words

START_MS = 1_600_000_000_000

IDS = ["", "a-b", "ab", "A-B", "a b", "a:b", "a*", "—", "ß", "ss", "東京", "\U0001f600", "0b4c", "AND"]
VALUES = [
    "", "vip", "VIP", "Vip gold", "gold vip", "Straße", "STRASSE", "strasse 1", "1 Straße", "well-known",
    "well known", "known well", "ada@example.com", "ada example com", "İstanbul", "cafe\u0301", "café",
    "東京 タワー", "東京", "x\U0001f600y", "x y", "...", "-400.99", "400,99", "²", "OR", "NOT vip", "2014",
    "ΟΔΟΣ", "οδος", "ガス", "カ\u3099ス", "한국어", "\u1112\u1161\u11ab국", "น้ำ", "หิน ้", "हिन्दी", "हि",
    "vip*",
]  # fmt: skip
ids = st.sampled_from(IDS)
values = st.sampled_from(VALUES)
instants = st.integers(0, 3).map(lambda step: START_MS + step)
phrase = values.filter(words)
query_part = st.builds(
    str.__add__,
    phrase.map(lambda value: f'"{value}"') | phrase.filter(lambda value: all(map(words, value.split()))),
    st.sampled_from(["", "*"]),
)


def optional(**strategies: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=strategies)


customers = optional(
    server_time_stamp=instants,
    customer_status=values,
    customer_type=values,
    customer_id=ids | values,
    role=values,
    registration_date=st.just(v1.Date(year=2014, month=10, day=15)),
).map(lambda attributes: v1.Event(customer_info=v1.CustomerInfo(**attributes)))
persons = optional(
    server_time_stamp=instants,
    name=values,
    surname=values,
    other_contacts=st.lists(optional(email=values, phone=values), max_size=2),
).map(lambda attributes: v1.Event(personal_info=v1.PersonalInfo(**attributes)))


@st.composite
def events_of_any_kind(draw: st.DrawFn) -> v1.Event:
    event = draw(customers | persons)
    event.consumer_id, event.conversation_id, event.authenticated = draw(ids), draw(ids), draw(st.booleans())
    event.additional_attributes.update(draw(st.dictionaries(values.filter(bool), values, max_size=2)))
    return event


def timestamp(nanoseconds: int) -> Timestamp:
    value = Timestamp()
    value.FromNanoseconds(nanoseconds)
    return value


lists_of = st.lists(ids, min_size=1, max_size=3), st.lists(values, min_size=1, max_size=3)
bounds = st.tuples(instants, st.sampled_from([-1, 0, 1])).map(lambda at: timestamp(at[0] * 1_000_000 + at[1]))
fields: dict[str, st.SearchStrategy[Any]] = {  # Any: each field has its own type
    "attribute_sets": st.lists(st.sampled_from([1, 2]), min_size=1, max_size=3),
    "consumer_ids": lists_of[0],
    "conversation_ids": lists_of[0],
    "customer_ids": lists_of[0] | lists_of[1],
    "subject_ids": lists_of[0] | lists_of[1],
    "customer_statuses": lists_of[1],
    "customer_types": lists_of[1],
    "authenticated": st.booleans(),
    "start_time": bounds,
    "end_time": bounds,
    "receive_start_time": bounds,
    "receive_end_time": bounds,
    "text": st.lists(query_part, min_size=1, max_size=3).map(" ".join),
}


def of(*names: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({name: fields[name] for name in names})


filter_fields = st.one_of(
    st.just({}),
    st.sampled_from(sorted(fields)).flatmap(of),
    st.sets(st.sampled_from(sorted(fields)), min_size=2, max_size=4).flatmap(
        lambda names: of(*sorted(names))
    ),
    of("start_time"),
    of("end_time"),
    of("start_time", "end_time"),
    of("start_time", "end_time", "text"),
    of("receive_start_time", "receive_end_time"),
    of("receive_start_time", "receive_end_time", "end_time", "subject_ids"),
)


def is_in_order(wanted: v1.EventFilter) -> bool:
    """Whether no range ends before it starts."""
    ranges = (wanted.start_time, wanted.end_time), (wanted.receive_start_time, wanted.receive_end_time)
    bounds_ns = [(start.ToNanoseconds(), end.ToNanoseconds()) for start, end in ranges]
    return all(not (start and end) or start < end for start, end in bounds_ns)


def between(wanted: v1.EventFilter, received: Sequence[Timestamp]) -> v1.EventFilter:
    """The filter with its times of acceptance moved to those of events, or a nanosecond beside them."""
    moved = v1.EventFilter()
    moved.CopyFrom(wanted)
    for name in ("receive_start_time", "receive_end_time"):
        if moved.HasField(name):
            step, beside = divmod(getattr(wanted, name).ToNanoseconds() - START_MS * 1_000_000 + 1, 1_000_000)
            near = received[step * (len(received) - 1) // 3]
            getattr(moved, name).FromNanoseconds(near.ToNanoseconds() + beside - 1)
    if not is_in_order(moved):
        moved.ClearField("receive_end_time")
    return moved


filters = filter_fields.map(lambda given: v1.EventFilter(**given)).filter(is_in_order)
