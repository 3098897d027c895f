"""Lists give what the filter means: no event too many, none too few, none twice, whatever the page size."""

from __future__ import annotations

import itertools
import string
from typing import TYPE_CHECKING

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engagement import v1
from engagement_server import cursor
from engagement_server.store import pending_events, reader
from tests.events import customer_event, personal_event
from tests.service.calls import one, some
from tests.service.plain_filter import phrases, takes
from tests.service.refusal import refusal

if TYPE_CHECKING:
    from engagement.v1.event_service_pb2_grpc import EventServiceAsyncStub
    from engagement.v1.ingest_service_pb2_grpc import IngestServiceAsyncStub

START_MS = 1_600_000_000_000

# Each example has an account of its own, so that all can share one server.
account_numbers = itertools.count()
tolerant = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

# Few values, near to each other in every way that a look-up could mistake.
IDS = ["", "a-b", "ab", "A-B", "a b", "a:b", "a*", "—", "ß", "ss", "東京", "\U0001f600", "0b4c", "AND"]
VALUES = [
    "", "vip", "VIP", "Vip gold", "gold vip", "Straße", "STRASSE", "strasse 1", "1 Straße", "well-known",
    "well known", "known well", "ada@example.com", "ada example com", "İstanbul", "cafe\u0301", "café",
    "東京 タワー", "東京", "x\U0001f600y", "x y", "...", "-400.99", "400,99", "²", "OR", "NOT vip", "2014",
]  # fmt: skip
ids = st.sampled_from(IDS)
values = st.sampled_from(VALUES)
instants = st.integers(0, 6).map(lambda step: START_MS + step)
phrase = values.filter(lambda value: phrases(f'"{value}"')[0])
query_part = phrase.map(lambda value: f'"{value}"') | phrase.filter(lambda value: all(phrases(value)))


def optional(**strategies: st.SearchStrategy[object]) -> st.SearchStrategy[dict[str, object]]:
    return st.fixed_dictionaries({}, optional=strategies)


customers = optional(
    server_time_stamp=instants,
    customer_status=values,
    customer_type=values,
    customer_id=ids | values,
    role=values,
    registration_date=st.just(v1.Date(year=2014, month=10, day=15)),
).map(lambda attributes: v1.Event(customer_info=v1.CustomerInfo(**attributes)))  # type: ignore[arg-type]
persons = optional(
    server_time_stamp=instants,
    name=values,
    surname=values,
    other_contacts=st.lists(optional(email=values, phone=values), max_size=2),
).map(lambda attributes: v1.Event(personal_info=v1.PersonalInfo(**attributes)))  # type: ignore[arg-type]


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
fields: dict[str, st.SearchStrategy[object]] = {
    "attribute_sets": st.lists(st.sampled_from([1, 2]), min_size=1, max_size=3),
    "consumer_ids": lists_of[0],
    "conversation_ids": lists_of[0],
    "customer_ids": lists_of[0] | lists_of[1],
    "customer_statuses": lists_of[1],
    "customer_types": lists_of[1],
    "authenticated": st.booleans(),
    "start_time": bounds,
    "end_time": bounds,
    "text": st.lists(query_part, min_size=1, max_size=3).map(" ".join),
}
one_field = st.sampled_from(sorted(fields)).flatmap(lambda name: optional(**{name: fields[name]}))
some_fields = st.sets(st.sampled_from(sorted(fields)), max_size=4).flatmap(
    lambda names: st.fixed_dictionaries({name: fields[name] for name in sorted(names)})
)


def is_in_order(wanted: v1.EventFilter) -> bool:
    start, end = wanted.start_time.ToNanoseconds(), wanted.end_time.ToNanoseconds()
    return not (start and end) or start < end


filters = (one_field | some_fields).map(lambda given: v1.EventFilter(**given)).filter(is_in_order)  # type: ignore[arg-type]


@pytest.fixture
def small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes every bound of the store so small that a handful of events reaches it."""
    for module in (cursor, pending_events, reader):
        monkeypatch.setattr(module, "BLOCK_BITS", 2)
    monkeypatch.setattr(reader, "_MAX_SCANNED_BLOCKS", 2)
    monkeypatch.setattr(reader, "_MAX_CANDIDATES", 3)


async def walk(events: EventServiceAsyncStub, request: v1.ListEventsRequest) -> list[v1.StoredEvent]:
    """All pages of a list."""
    found: list[v1.StoredEvent] = []
    while True:
        page = await events.ListEvents(request)
        found += page.events
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


@pytest.mark.usefixtures("small_bounds")
@settings(tolerant, max_examples=3000)
@given(
    sent=st.lists(events_of_any_kind(), min_size=1, max_size=25),
    wanted=st.lists(filters, min_size=1, max_size=4),
    page_size=st.integers(1, 5),
)
async def test_a_list_is_what_the_filter_means(
    ingest: IngestServiceAsyncStub,
    events: EventServiceAsyncStub,
    sent: list[v1.Event],
    wanted: list[v1.EventFilter],
    page_size: int,
) -> None:
    account_id = f"filter-{next(account_numbers)}"
    await ingest.RecordEvents(some(*sent, account_id=account_id))
    everything = await walk(events, v1.ListEventsRequest(account_id=account_id))
    assert len(everything) == len(sent)
    for each in wanted:
        expected = [stored for stored in everything if takes(each, stored)]
        for newest_first in (False, True):
            request = v1.ListEventsRequest(
                account_id=account_id, filter=each, page_size=page_size, newest_first=newest_first
            )
            assert await walk(events, request) == (expected[::-1] if newest_first else expected)


@pytest.mark.usefixtures("small_bounds")
@settings(tolerant, max_examples=600)
@given(
    before=st.integers(0, 12),
    arrivals=st.lists(st.integers(0, 4), max_size=8),
    page_size=st.integers(1, 4),
    newest_first=st.booleans(),
    wanted=st.sampled_from([v1.EventFilter(), v1.EventFilter(text="cancelled")]),
)
async def test_a_walk_neither_skips_nor_repeats_whatever_arrives_meanwhile(
    ingest: IngestServiceAsyncStub,
    events: EventServiceAsyncStub,
    before: int,
    arrivals: list[int],
    page_size: int,
    newest_first: bool,
    wanted: v1.EventFilter,
) -> None:
    account_id = f"walk-{next(account_numbers)}"
    recorded: list[str] = []

    async def record(count: int) -> None:
        for _ in range(count):
            recorded.append(f"{len(recorded):04}")
            await ingest.RecordEvent(one(customer_event(recorded[-1]), account_id=account_id))

    await record(before)
    request = v1.ListEventsRequest(
        account_id=account_id, page_size=page_size, newest_first=newest_first, filter=wanted
    )
    met: list[str] = []
    arriving = iter(arrivals)
    while True:
        page = await events.ListEvents(request)
        met += [stored.event.event_id for stored in page.events]
        request.page_token = page.next_page_token
        if not page.next_page_token:
            break
        await record(next(arriving, 0))
    assert met == (recorded[:before][::-1] if newest_first else recorded)


# What a sentence says better than a property.


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("gold", True),
        ("GOLD customer", True),
        ("customer gold", True),
        ('"gold customer"', True),
        ('"customer gold"', False),
        ("gol", False),
        ('"customer Ada"', False),
        ("customer lovelace", True),
        ("lovelace@example", True),
        ("2014-10-15", True),
        ("2014 15", True),
        ("path", False),
        ("ada", True),
        ("consumer", False),
    ],
)
async def test_words_are_found_in_values_and_phrases_in_one_value(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub, text: str, found: bool
) -> None:
    event = customer_event(
        role="Gold Customer",
        account_name="Ada.Lovelace@example.com",
        last_payment_date=v1.Date(year=2014, month=10, day=15),
    )
    event.consumer_id = "consumer"
    event.additional_attributes["path"] = "value"
    await ingest.RecordEvent(one(event))
    request = v1.ListEventsRequest(account_id="acme", filter=v1.EventFilter(text=text))
    assert bool((await events.ListEvents(request)).events) == found


async def test_values_of_the_full_length_are_told_apart(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    long_values = [start + end for start in ("x" * 49_990, "x " * 24_995, "東" * 49_990) for end in "ab"]
    await ingest.RecordEvents(
        some(*(customer_event(str(n), customer_id=value) for n, value in enumerate(long_values)))
    )
    for number, value in enumerate(long_values):
        request = v1.ListEventsRequest(account_id="acme", filter=v1.EventFilter(customer_ids=[value]))
        response = await events.ListEvents(request)
        assert [each.event.event_id for each in response.events] == [str(number)]


async def test_the_largest_filter_is_answered(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    text = " ".join(itertools.islice(itertools.cycle(string.ascii_lowercase), 500))
    event = customer_event("a", **dict.fromkeys(("customer_id", "customer_status", "customer_type"), text))
    event.consumer_id = event.conversation_id = text
    await ingest.RecordEvents(some(event, personal_event("b")))
    many = [text, *(f"{number} " * 40 for number in range(99))]
    wanted = v1.EventFilter(
        consumer_ids=many,
        conversation_ids=many,
        customer_ids=many,
        customer_statuses=many,
        customer_types=many,
        text=text,
    )
    response = await events.ListEvents(v1.ListEventsRequest(account_id="acme", filter=wanted))
    assert [each.event.event_id for each in response.events] == ["a"]


@pytest.mark.parametrize(
    ("wanted", "reason", "field"),
    [
        (v1.EventFilter(text='"never closed'), "FILTER_INVALID", "filter.text"),
        (v1.EventFilter(text="vip ..."), "FILTER_INVALID", "filter.text"),
        (v1.EventFilter(text='vip ""'), "FILTER_INVALID", "filter.text"),
        (v1.EventFilter(text="\U0001f600"), "FILTER_INVALID", "filter.text"),
        (
            v1.EventFilter(start_time=timestamp(2_000), end_time=timestamp(2_000)),
            "FILTER_INVALID",
            "filter.end_time",
        ),
        (v1.EventFilter(text="x" * 1001), "FIELD_INVALID", "filter.text"),
        (
            v1.EventFilter(attribute_sets=["ATTRIBUTE_SET_UNSPECIFIED"]),
            "FIELD_INVALID",
            "filter.attribute_sets[0]",
        ),
        (v1.EventFilter.FromString(b"\x0a\x02\x01\x07"), "FIELD_INVALID", "filter.attribute_sets[1]"),
        (v1.EventFilter(consumer_ids=["x"] * 101), "FIELD_INVALID", "filter.consumer_ids"),
        (v1.EventFilter(customer_types=["x" * 50_001]), "FIELD_INVALID", "filter.customer_types[0]"),
        (v1.EventFilter(start_time=Timestamp(seconds=-1)), "FIELD_INVALID", "filter.start_time"),
        (v1.EventFilter(end_time=Timestamp(seconds=10**12)), "FIELD_INVALID", "filter.end_time"),
    ],
)
@pytest.mark.parametrize("account_id", ["acme", "nobody"])
async def test_a_filter_that_means_nothing_is_refused(
    ingest: IngestServiceAsyncStub,
    events: EventServiceAsyncStub,
    wanted: v1.EventFilter,
    reason: str,
    field: str,
    account_id: str,
) -> None:
    await ingest.RecordEvent(one(customer_event()))
    refused = await refusal(events.ListEvents(v1.ListEventsRequest(account_id=account_id, filter=wanted)))
    assert (refused.reason, refused.fields) == (reason, [field])
