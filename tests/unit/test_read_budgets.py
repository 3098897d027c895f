"""Pages that end when their budget is spent: together they are the whole answer, and each one gets on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engagement import v1
from engagement_server import persons
from engagement_server.cursor import first_position, last_position
from engagement_server.governor.turns import Caller
from engagement_server.model import Subject
from engagement_server.persons import Persons
from engagement_server.store import budget, event_pages, search_windows
from engagement_server.store.account_rows import find_account
from engagement_server.store.database import DatabaseFile
from engagement_server.store.event_pages import EventPages, PageQuery
from engagement_server.store.predicate import Predicate
from engagement_server.store.search import match_expression
from engagement_server.store.search_windows import SearchWindows
from engagement_server.streams import feed
from tests.support.events import customer_event, personal_event
from tests.support.filter_strategies import timestamp
from tests.support.subscription_bench import Bench, StoppableReader

EVENTS = 400
START_MS = 1_700_000_000_000
FILTERS = [
    v1.EventFilter(),
    v1.EventFilter(text='"gold customer"'),
    v1.EventFilter(text="gold customer"),
    v1.EventFilter(text='"customer gold" vip*'),
    v1.EventFilter(text='"customer silver"'),
    v1.EventFilter(text="кошка"),
    v1.EventFilter(consumer_ids=["c1", "c3", "none"]),
    v1.EventFilter(consumer_ids=["none"]),
    v1.EventFilter(consumer_ids=["buckeroo"]),
    v1.EventFilter(subject_ids=["buckeroo"]),
    v1.EventFilter(subject_ids=["c1", "c3", "none"]),
    v1.EventFilter(conversation_ids=["v7"], customer_types=["vip"]),
    v1.EventFilter(customer_statuses=["!!!"]),
    v1.EventFilter(authenticated=True),
    v1.EventFilter(attribute_sets=["ATTRIBUTE_SET_PERSONAL_INFO"]),
    v1.EventFilter(start_time=timestamp((START_MS + 90) * 1_000_000), text="gold"),
    v1.EventFilter(end_time=timestamp((START_MS + 90) * 1_000_000)),
]
SECONDS = [0.0, 1e-9, 3e-6, 1e-5, 3e-5, 1e-4, 1e-3, 1.0]


def event(number: int) -> v1.Event:
    match number % 5:
        case 0:  # no word that could be looked up
            made = customer_event(f"e{number}", customer_status="!!!" if number % 50 == 0 else "gold")
            # Their CRC-32, which is in the index, is the same.
            made.consumer_id = "" if number % 3 else "plumless" if number % 40 else "buckeroo"
        case 1:
            made = personal_event(f"e{number}", name="gold кошка" if number % 3 else "customer")
        case _:
            role = ["gold customer", "customer gold", "silver"][number % 3]
            made = customer_event(f"e{number}", role=role, customer_type="VIP")
            made.consumer_id = f"c{number % 4}"
            made.conversation_id = f"v{number // 10}"
    made.authenticated = number % 7 == 0
    if made.HasField("customer_info"):
        made.customer_info.server_time_stamp = START_MS + (number * 37) % EVENTS
    return made


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[apsw.Connection]:
    """A reader of a store with some events, and with gaps where others were erased."""
    folder: Path = tmp_path_factory.mktemp("store")

    async def fill() -> None:
        bench = Bench(folder)
        for start in range(0, EVENTS, 100):
            await bench.add(*map(event, range(start, start + 100)))
        await bench.erase("c2")
        await bench.close()

    asyncio.run(fill())
    database = DatabaseFile(folder, is_lent=True)
    with closing(database.open_reader()) as reader:
        yield reader
    database.close()


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes everything so small that a few events reach it."""
    monkeypatch.setattr(budget, "_OPERATIONS_A_LOOK", 1)
    monkeypatch.setattr(event_pages, "_EVENTS_A_LOOK", 1)
    monkeypatch.setattr(event_pages, "_TERM_SECONDS", 0)
    monkeypatch.setattr(search_windows, "_FIRST_POSITIONS", 16)
    monkeypatch.setattr(search_windows, "_MIN_POSITIONS", 4)


def walk(
    connection: apsw.Connection,
    wanted: v1.EventFilter,
    *,
    newest_first: bool,
    max_events: int = EVENTS,
    seconds: list[float | None],
) -> list[int]:
    """The positions of all pages, each with the next of some budgets."""
    pages = EventPages(connection)
    found: list[int] = []
    after: int | None = None
    for number in range(10 * EVENTS):
        query = PageQuery(
            account_id="acme",
            wanted=wanted,
            after_position=after,
            newest_first=newest_first,
            max_events=max_events,
            max_bytes=1 << 20,
            max_seconds=seconds[number % len(seconds)],
        )
        page = pages.read_rows(query)
        # Nothing is left open that would hide later commits from the next reads.
        assert connection.txn_state() == apsw.SQLITE_TXN_NONE
        found += [row.position for row in page.rows]
        if page.next_position is None:
            return found
        if after is not None:
            assert page.next_position < after if newest_first else page.next_position > after
        after = page.next_position
        if found:
            assert after <= found[-1] if newest_first else after >= found[-1]
    raise AssertionError("the walk does not end")


@pytest.mark.usefixtures("small_steps")
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(
    wanted=st.sampled_from(FILTERS),
    newest_first=st.booleans(),
    max_events=st.sampled_from([1, 7, EVENTS]),
    seconds=st.lists(st.sampled_from(SECONDS), min_size=1, max_size=4),
)
def test_pages_together_are_the_answer_without_a_budget(
    connection: apsw.Connection,
    wanted: v1.EventFilter,
    newest_first: bool,
    max_events: int,
    seconds: list[float | None],
) -> None:
    expected = walk(connection, wanted, newest_first=newest_first, seconds=[None])
    found = walk(connection, wanted, newest_first=newest_first, max_events=max_events, seconds=seconds)
    assert found == expected


@pytest.mark.usefixtures("small_steps")
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    wanted=st.sampled_from([each for each in FILTERS if match_expression(each, Predicate.of(each).phrases)]),
    newest_first=st.booleans(),
)
def test_windows_have_every_match_once(
    connection: apsw.Connection, wanted: v1.EventFilter, newest_first: bool
) -> None:
    account = find_account(connection, "acme")
    assert account is not None
    expression = match_expression(wanted, Predicate.of(wanted).phrases)
    assert expression is not None
    expected = walk(connection, wanted, newest_first=newest_first, seconds=[None])
    windows = SearchWindows(
        connection,
        expression=expression,
        low=first_position(account),
        high=last_position(account) + 1,
        newest_first=newest_first,
        max_seconds=60,
    )
    found: list[int] = []
    for window in windows:
        assert all(
            each >= window.boundary if newest_first else each <= window.boundary for each in window.positions
        )
        found += window.positions
    # A window may end early at an event that no word finds; every match before is there.
    reached = windows.high if newest_first else windows.low
    met = [each for each in expected if (each >= reached if newest_first else each <= reached)]
    assert found == sorted(set(found), reverse=newest_first)
    assert [each for each in found if each in set(met)] == met


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """A store with some events, and counted reads."""
    bench = Bench(tmp_path)
    await bench.add(*map(event, range(EVENTS)))
    yield bench
    await bench.close()


_SCAN = v1.EventFilter(customer_statuses=["!!!"])
_SHARED_HASH = v1.EventFilter(consumer_ids=["buckeroo"])


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("wanted", [_SCAN, _SHARED_HASH], ids=["a scan", "ids that share a hash"])
async def test_a_subscription_that_is_far_behind_reads_on_in_steps(
    bench: Bench, wanted: v1.EventFilter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "_SEARCH_BEYOND_POSITIONS", 0)
    expected = [each.event_id for each in map(event, range(EVENTS)) if is_match(each, wanted)]
    counts = []
    for seconds in (60.0, 0.0):
        monkeypatch.setattr(feed, "STEP_SECONDS", seconds)
        before = bench.readers.count
        reader = StoppableReader(bench, wanted=wanted)
        await reader.until(lambda each: "caught_up" in each.kinds)
        counts.append(bench.readers.count - before)
        assert reader.ids == expected
        await reader.end()
    at_once, in_steps = counts
    assert in_steps > at_once + 20


def is_match(each: v1.Event, wanted: v1.EventFilter) -> bool:
    if wanted.consumer_ids:
        return each.consumer_id in wanted.consumer_ids
    return each.customer_info.customer_status in wanted.customer_statuses


@pytest.mark.usefixtures("small_steps")
async def test_the_preview_of_an_erasure_looks_at_everything_in_steps(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    subjects = [Subject(v1.SubjectKind.SUBJECT_KIND_CONSUMER_ID, each) for each in ("buckeroo", "c1")]
    caller = Caller("peer", "acme")
    surveys, counts = [], []
    for seconds in (60.0, 0.0):
        monkeypatch.setattr(persons, "STEP_SECONDS", seconds)
        before = bench.readers.count
        surveys.append(await Persons(bench.readers).survey("acme", subjects, is_brief=False, caller=caller))
        counts.append(bench.readers.count - before)
    at_once, in_steps = counts
    assert surveys[0] == surveys[1]
    assert surveys[0].events_by_subject == {subjects[0]: 4, subjects[1]: 60}
    assert in_steps > at_once + 80


def test_a_page_that_finds_nothing_in_its_budget_goes_on(connection: apsw.Connection) -> None:
    query = PageQuery(
        account_id="acme",
        wanted=v1.EventFilter(customer_statuses=["no such punctuation", "!!!!"]),
        after_position=None,
        newest_first=False,
        max_events=10,
        max_bytes=1 << 20,
        max_seconds=0.0,
    )
    page = EventPages(connection).read_rows(query)
    assert not page.rows
    assert page.next_position is not None
