"""A search finds the same in every script, however text is spelled, and whichever way events are read."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING
from unicodedata import normalize

import grpc
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from engagement import v1
from engagement_server.streams import feed
from tests.support.calls import some
from tests.support.events import customer_event
from tests.support.plain_filter import takes, words
from tests.support.raw_subscription import RawSubscription, subscribing
from tests.support.refused_call import expect_refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from engagement.v1.event_service_pb2_grpc import EventServiceAsyncStub
    from engagement.v1.ingest_service_pb2_grpc import IngestServiceAsyncStub

# Few characters of each, so that texts are easily confused.
SCRIPTS = [
    "aeéàßſiİıIK\u212a\u0301\u0307 -",  # noqa: RUF001  # easily confused on purpose
    "οσςΣαάᾳΆ\u0345\u0301 ",
    "еёйЙиЁ\u0306\u0308 ",
    "של\u05b8\u05c1\u05bc\u200f ",
    "\u0627\u0622\u0644\u0645\u0653\u064e\u200c ",
    "कखहषिी\u094d\u093c\u200d ",
    "กนหำ้ิเ \u200b",
    "ກນຫຳ້",
    "កខ\u17d2\u17b6",
    "ကခ\u102b\u1039\u103a",
    "東京都東豈豈\ufe00\U000e0100\U00020000。",
    "かがハバパー\u3099\u309aｶﾞ・",
    "한하국\u1112\u1161\u11ab\u1100\u11a8 ",
    "\U0001f469\u200d\U0001f467\u2764\ufe0fa\U0001f1e61\u20e3\U0001f3fd",
    "დოᲓᲝა ",
    "ԱաՒևﬓ ",
    "𞤀𞤢𐐀𐐨 ",
]
texts = st.sampled_from([*SCRIPTS, "".join(SCRIPTS)]).flatmap(lambda script: st.text(script, max_size=7))
spellings: st.SearchStrategy[Callable[[str], str]] = st.sampled_from(
    [
        str,
        str.upper,
        str.lower,
        lambda text: normalize("NFC", text),
        lambda text: normalize("NFD", text),
        lambda text: normalize("NFD", text.upper()),
    ]
)


account_numbers = itertools.count()


@st.composite
def values_and_queries(draw: st.DrawFn) -> tuple[list[str], list[str]]:
    """Values of events, and queries most of which are pieces of the values in other spellings."""
    values = draw(st.lists(texts, min_size=1, max_size=5))
    queries = []
    for _ in range(draw(st.integers(1, 5))):
        whole = draw(st.sampled_from(values) | texts)
        start, end = sorted(draw(st.tuples(*[st.integers(0, len(whole))] * 2)))
        query = draw(spellings)(whole[start:end]).strip()
        pattern = draw(st.sampled_from(["{}", '"{}"', "{}*", '"{}"*']))
        parts = [query] if '"' in pattern else query.split()
        if parts and all(map(words, parts)):
            queries.append(pattern.format(query))
    assume(queries)
    return values, queries


async def listed(events: EventServiceAsyncStub, account_id: str, wanted: v1.EventFilter) -> list[str]:
    response = await events.ListEvents(v1.ListEventsRequest(account_id=account_id, filter=wanted))
    return [found.event.event_id for found in response.events]


async def followed(events: EventServiceAsyncStub, account_id: str, wanted: v1.EventFilter) -> list[str]:
    request = subscribing(account_id=account_id, wanted=wanted, stop_at_tail=True)
    messages = await RawSubscription(events, request).rest()
    return [found.event.event_id for message in messages for found in message.batch.events]


@settings(
    deadline=None,
    max_examples=90,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(given=values_and_queries(), spelling=spellings)
async def test_a_list_and_both_ways_of_a_subscription_find_the_same(
    ingest: IngestServiceAsyncStub,
    events: EventServiceAsyncStub,
    monkeypatch: pytest.MonkeyPatch,
    given: tuple[list[str], list[str]],
    spelling: Callable[[str], str],
) -> None:
    values, queries = given
    account_id = f"scripts-{next(account_numbers)}"
    sent = [
        customer_event(f"event-{number}", role=spelling(value), customer_status=value)
        for number, value in enumerate(values)
    ]
    await ingest.RecordEvents(some(*sent, account_id=account_id))
    for wanted in [
        *(v1.EventFilter(text=query) for query in queries),
        *(v1.EventFilter(customer_statuses=[spelling(value)]) for value in values),
    ]:
        expected = [event.event_id for event in sent if takes(wanted, v1.StoredEvent(event=event))]
        assert await listed(events, account_id, wanted) == expected
        assert await followed(events, account_id, wanted) == expected
        with monkeypatch.context() as patch:
            patch.setattr(feed, "_SEARCH_BEYOND_POSITIONS", 0)
            assert await followed(events, account_id, wanted) == expected


@pytest.mark.parametrize(
    ("value", "query"),
    [
        ("東京都渋谷区のカフェ", "渋谷"),
        ("東京都渋谷区のカフェ", "カフェ"),
        ("我的电话号码", "电话"),
        ("고객입니다", "고객"),
        (normalize("NFD", "고객입니다"), "고객"),
        ("고객입니다", normalize("NFD", "객입")),
        ("สวัสดีครับ", "ดีครับ"),
        ("ສະບາຍດີ", "ບາຍ"),
        ("សួស្តីពិភពលោក", "ពិភព"),
        ("မင်္ဂလာပါ", "ပါ"),
        ("ICカード", "カー"),
        ("iPhone15を買う", "iphone15"),
        ("हिन्दी", "हिन्दी"),
        ("हिन्दी", "हि*"),
        ("Müller", "mu\u0308l*"),
        ("ΟΔΥΣΣΕΥΣ", "οδυσσευς"),
        ("Ada Lovelace", '"ada lov"*'),
        ("ada@example.com", "ada@exam*"),
        ("\U00016d40\U00016d41", "\U00016d40*"),
    ],
)
async def test_a_query_finds_it(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub, value: str, query: str
) -> None:
    await ingest.RecordEvents(some(customer_event("event", role=value)))
    assert await listed(events, "acme", v1.EventFilter(text=query)) == ["event"]
    assert await followed(events, "acme", v1.EventFilter(text=query)) == ["event"]


@pytest.mark.parametrize(
    ("value", "query"),
    [
        ("東京都", "京東"),
        ("東京", "東京都"),
        ("고객", "고ㄱ*"),
        ("น้ำ", "น"),
        ("café", "cafe"),
        ("café", "cafe*"),
        ("vip", "i*"),
        ("Ada Lovelace", '"ada lov*"'),
        ("हिन्दी", "हि"),
    ],
)
async def test_a_query_does_not_find_it(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub, value: str, query: str
) -> None:
    await ingest.RecordEvents(some(customer_event("event", role=value)))
    assert await listed(events, "acme", v1.EventFilter(text=query)) == []
    assert await followed(events, "acme", v1.EventFilter(text=query)) == []


async def test_a_star_alone_is_refused(events: EventServiceAsyncStub) -> None:
    request = v1.ListEventsRequest(account_id="acme", filter=v1.EventFilter(text="vip *"))
    refused = await expect_refused(events.ListEvents(request))
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FILTER_INVALID")
    assert refused.violations == [
        ("filter.text", "server.filter.text", "'*' has no letters or digits to search for")
    ]
