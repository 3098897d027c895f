"""Lists contain exactly the events that match the filter, each once, for any page size."""

from __future__ import annotations

import itertools
import string
from typing import TYPE_CHECKING

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engagement import limits, v1
from engagement_server import cursor
from engagement_server.store import event_pages, pending_events
from tests.support.calls import one, some
from tests.support.events import customer_event, personal_event
from tests.support.filter_strategies import START_MS, between, events_of_any_kind, filters, timestamp
from tests.support.plain_filter import takes
from tests.support.refused_call import expect_refused

if TYPE_CHECKING:
    from engagement.v1.event_service_pb2_grpc import EventServiceAsyncStub
    from engagement.v1.ingest_service_pb2_grpc import IngestServiceAsyncStub

# Each example has its own account, so all share one server.
account_numbers = itertools.count()
tolerant = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture
def small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the store's bounds so small that a few events reach them."""
    for module in (cursor, pending_events, event_pages):
        monkeypatch.setattr(module, "BLOCK_BITS", 2)
    monkeypatch.setattr(event_pages, "_MAX_SCANNED_BLOCKS", 2)
    monkeypatch.setattr(event_pages, "_MAX_CANDIDATES", 3)


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
@settings(tolerant, max_examples=80)
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
    for start in range(0, len(sent), 3):
        await ingest.RecordEvents(some(*sent[start : start + 3], account_id=account_id))
    everything = await walk(events, v1.ListEventsRequest(account_id=account_id))
    assert len(everything) == len(sent)
    received = [stored.receive_time for stored in everything]
    for each in [between(one_wanted, received) for one_wanted in wanted]:
        expected = [stored for stored in everything if takes(each, stored)]
        for newest_first in (False, True):
            request = v1.ListEventsRequest(
                account_id=account_id, filter=each, page_size=page_size, newest_first=newest_first
            )
            assert await walk(events, request) == (expected[::-1] if newest_first else expected)


@pytest.mark.usefixtures("small_bounds")
@settings(tolerant, max_examples=40)
@given(
    before=st.integers(0, 12),
    arrivals=st.lists(st.integers(0, 4), max_size=8),
    page_size=st.integers(1, 4),
    newest_first=st.booleans(),
    wanted=st.sampled_from([v1.EventFilter(), v1.EventFilter(text="cancelled")]),
)
async def test_a_walk_neither_skips_nor_repeats_while_events_arrive(
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


# Examples.


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
        ("lovelace@home", True),
        ("+1 212-788-8877", True),
        ('"home org 1"', False),
    ],
)
async def test_words_are_found_in_values_and_phrases_in_one_value(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub, text: str, found: bool
) -> None:
    customer = customer_event(
        "a",
        role="Gold Customer",
        account_name="Ada.Lovelace@example.com",
        last_payment_date=v1.Date(year=2014, month=10, day=15),
    )
    customer.consumer_id = "consumer"
    customer.additional_attributes["path"] = "value"
    contact = v1.PersonalContact(email="lovelace@home.org", phone="+1 212-788-8877")
    await ingest.RecordEvents(some(customer, personal_event("b", other_contacts=[{}, contact])))
    request = v1.ListEventsRequest(account_id="acme", filter=v1.EventFilter(text=text))
    assert bool((await events.ListEvents(request)).events) == found


@pytest.mark.parametrize("text", ["", "cancelled"])
async def test_a_time_range_has_its_start_and_not_its_end_in_any_order_of_events(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub, text: str
) -> None:
    times = [START_MS + step for step in (5, 9, 1, 3, 7)]
    for time_ms in times:
        event = customer_event(str(time_ms), customer_status="cancelled", server_time_stamp=time_ms)
        await ingest.RecordEvent(one(event))
    for time_ms in times:
        start, end = timestamp(time_ms * 1_000_000), timestamp((time_ms + 2) * 1_000_000)
        wanted = v1.EventFilter(start_time=start, end_time=end, text=text)
        response = await events.ListEvents(v1.ListEventsRequest(account_id="acme", filter=wanted))
        assert [each.event.event_id for each in response.events] == [str(time_ms)]


async def test_a_subject_is_a_consumer_or_a_customer(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    sent = [customer_event("customer", customer_id="19"), customer_event("other", customer_id="20")]
    sent += personal_event("consumer"), customer_event("both", customer_id="19"), personal_event("neither")
    for event in sent:
        event.consumer_id = "19" if event.event_id in {"consumer", "both"} else "visitor"
    await ingest.RecordEvents(some(*sent))
    both = v1.EventFilter(consumer_ids=["19"], customer_ids=["19"])
    for wanted, found in (
        (v1.EventFilter(subject_ids=["19"]), ["customer", "consumer", "both"]),
        (v1.EventFilter(subject_ids=["20", "19"]), ["customer", "other", "consumer", "both"]),
        (both, ["both"]),
        (v1.EventFilter(subject_ids=["19"], customer_ids=["20", "19"]), ["customer", "both"]),
        (v1.EventFilter(subject_ids=["1 9"]), []),
    ):
        response = await events.ListEvents(v1.ListEventsRequest(account_id="acme", filter=wanted))
        assert [each.event.event_id for each in response.events] == found


async def test_an_absent_value_is_not_the_empty_one(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    names = {
        "customer_ids": "customer_id",
        "customer_statuses": "customer_status",
        "customer_types": "customer_type",
    }
    empty = [customer_event(name, **{name: ""}) for name in names.values()]
    await ingest.RecordEvents(some(*empty, customer_event("absent", role=""), personal_event("person")))
    for filter_name, name in names.items():
        request = v1.ListEventsRequest(account_id="acme", filter={filter_name: [""]})
        response = await events.ListEvents(request)
        assert [each.event.event_id for each in response.events] == [name]


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
    many = [text, *(f"{number} " * 40 for number in range(limits.MAX_FILTER_VALUES - 1))]
    wanted = v1.EventFilter(
        consumer_ids=many,
        conversation_ids=many,
        customer_ids=many,
        subject_ids=many,
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
        (
            v1.EventFilter(receive_start_time=timestamp(2_000), receive_end_time=timestamp(1_999)),
            "FILTER_INVALID",
            "filter.receive_end_time",
        ),
        (v1.EventFilter(text="x" * 1001), "FIELD_INVALID", "filter.text"),
        (
            v1.EventFilter(attribute_sets=["ATTRIBUTE_SET_UNSPECIFIED"]),
            "FIELD_INVALID",
            "filter.attribute_sets[0]",
        ),
        (v1.EventFilter.FromString(b"\x0a\x02\x01\x07"), "FIELD_INVALID", "filter.attribute_sets[1]"),
        (
            v1.EventFilter(consumer_ids=["x"] * (limits.MAX_FILTER_VALUES + 1)),
            "FIELD_INVALID",
            "filter.consumer_ids",
        ),
        (
            v1.EventFilter(subject_ids=["x"] * (limits.MAX_FILTER_VALUES + 1)),
            "FIELD_INVALID",
            "filter.subject_ids",
        ),
        (v1.EventFilter(subject_ids=["x" * 50_001]), "FIELD_INVALID", "filter.subject_ids[0]"),
        (v1.EventFilter(customer_types=["x" * 50_001]), "FIELD_INVALID", "filter.customer_types[0]"),
        (v1.EventFilter(start_time=Timestamp(seconds=-1)), "FIELD_INVALID", "filter.start_time"),
        (v1.EventFilter(end_time=Timestamp(seconds=10**12)), "FIELD_INVALID", "filter.end_time"),
        (
            v1.EventFilter(receive_start_time=Timestamp(seconds=-1)),
            "FIELD_INVALID",
            "filter.receive_start_time",
        ),
        (
            v1.EventFilter(receive_end_time=Timestamp(seconds=1, nanos=10**9)),
            "FIELD_INVALID",
            "filter.receive_end_time",
        ),
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
    refused = await expect_refused(
        events.ListEvents(v1.ListEventsRequest(account_id=account_id, filter=wanted))
    )
    assert (refused.reason, refused.fields) == (reason, [field])
