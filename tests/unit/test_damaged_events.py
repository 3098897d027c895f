"""Damaged events do not block others: reads go on behind them, erasures and expiry remove them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from engagement import v1
from engagement_server.cursor import first_position
from engagement_server.errors import DamagedEventsError, DataDamagedError
from engagement_server.model import ErasureState, LogBounds, Outcome, StoredRow, Subject
from engagement_server.operations import (
    BeginErasure,
    Commit,
    CommitChunk,
    EraseEvents,
    ExpireEvents,
    OpenUpload,
    Operation,
    RecordBatch,
    Recorded,
)
from engagement_server.store.checkup import check_store
from engagement_server.store.database import DatabaseFile
from engagement_server.store.event_pages import PageQuery
from engagement_server.store.purge import Purge
from engagement_server.store.reader import Reader
from engagement_server.store.writer import Writer
from tests.support.events import batch_of, customer_event
from tests.support.marked_events import files_with
from tests.support.store_file import forget_use_of_accounts

ACCOUNT = "acme"
EVENTS = 2_000
TIME_MS = 1_700_000_000_000
WHOLE = LogBounds(1, first_position(1), first_position(1) + EVENTS)


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[tuple[Reader, Writer, apsw.Connection]]:
    database = DatabaseFile(folder)
    try:
        with (
            contextlib.closing(database.open_writer()) as connection,
            contextlib.closing(database.open_reader()) as reading,
        ):
            yield Reader(reading), Writer(connection), connection
    finally:
        database.close()


def apply(writer: Writer, operation: Operation, *, time_ms: int = TIME_MS) -> object:
    (result,) = writer.apply(Commit([operation], time_ms)).results
    if isinstance(result, Exception):
        raise result
    return result


def named(number: int) -> v1.Event:
    """An event whose every value names its number."""
    event = customer_event(f"event-{number:05}", balance=f"zq{number:05}zq", role=f"Role of zq{number:05}zq")
    event.consumer_id = f"consumer-{number:05}"
    return event


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with opened(tmp_path) as (_, writer, _):
        for start in range(0, EVENTS, 500):
            batch = batch_of([named(number) for number in range(start, start + 500)])
            apply(writer, RecordBatch(ACCOUNT, batch, is_atomic=True), time_ms=TIME_MS + start)
    return tmp_path


def damage(folder: Path, spot: bytes) -> None:
    """Flips a bit of the only place in the store that matches."""
    path = folder / "engagement.db"
    content = bytearray(path.read_bytes())
    (found,) = re.finditer(spot, content, re.DOTALL)
    content[found.start()] ^= 1
    path.write_bytes(content)


def damage_event(folder: Path, number: int) -> None:
    """Damages the payload of an event; its text is in the index in lower case."""
    damage(folder, b"Role of zq%05dzq" % number)


def read_all(reader: Reader) -> tuple[list[int], list[range]]:
    """The numbers of all events that can be read, and the damaged ranges of numbers."""
    after, numbers, damaged = WHOLE.expired_position, [], []
    first = first_position(1) + 1
    while after < WHOLE.last_position:
        try:
            scan = reader.scan(after=after, through=WHOLE.last_position, max_bytes=1 << 24)
        except DamagedEventsError as error:
            damaged.append(range(error.first_position - first, error.last_position - first + 1))
            after = error.last_position
        else:
            numbers += [row.position - first for row in scan.rows]
            after = WHOLE.last_position if scan.is_complete else scan.rows[-1].position
    return numbers, damaged


def counted(reader: Reader) -> int:
    """The number of events that the account is said to have."""
    (account,) = reader.accounts(after="", max_accounts=2)
    return account.events


def test_an_account_with_damaged_events_is_listed(folder: Path) -> None:
    damage_event(folder, EVENTS - 1)
    with opened(folder) as (reader, _, _):
        (account,) = reader.accounts(after="", max_accounts=1)
        assert account[:3] == (ACCOUNT, EVENTS, TIME_MS + EVENTS - 500)
        assert reader.accounts(after=ACCOUNT, max_accounts=1) == []


def test_an_upgrade_counts_the_bytes_of_what_can_be_read(folder: Path) -> None:
    with opened(folder) as (_, _, connection):
        forget_use_of_accounts(connection)
    damage_event(folder, 700)
    with opened(folder) as (reader, _, _):
        numbers, (lost,) = read_all(reader)
        assert reader.use(ACCOUNT).stored_bytes == sum(named(number).ByteSize() for number in numbers)
        assert 0 < len(lost) < EVENTS


def test_a_read_goes_on_behind_damage_and_leaves_out_only_one_page(folder: Path) -> None:
    for number in (500, 1500):
        damage_event(folder, number)
    with opened(folder) as (reader, _, _):
        numbers, damaged = read_all(reader)
    assert [500 in damaged[0], 1500 in damaged[1], len(damaged)] == [True, True, 2]
    assert {*range(EVENTS)} - {*numbers} == {*damaged[0], *damaged[1]}
    assert max(len(each) for each in damaged) < 64


@pytest.mark.parametrize("way", ["scan", "list", "search", "by id", "at a cursor"])
def test_events_stay_readable_without_their_upload_if_its_record_is_damaged(tmp_path: Path, way: str) -> None:
    events = [named(number) for number in range(300)]
    with opened(tmp_path) as (reader, writer, _):
        apply(writer, OpenUpload(ACCOUNT, "upload", "owner", source_name="zq-source"))
        apply(writer, CommitChunk(ACCOUNT, "upload", "owner", 1, batch_of(events)))
        before = read_in_a_way(reader, way)
        assert {row.upload_id for row in before} == {"upload"}
    damage(tmp_path, b"zq-source")
    with opened(tmp_path) as (reader, _, _):
        with pytest.raises(apsw.Error):
            reader.upload(ACCOUNT, "upload")
        assert read_in_a_way(reader, way) == [
            row._replace(upload_id=None, event_number=None) for row in before
        ]


def read_in_a_way(reader: Reader, way: str) -> list[StoredRow]:
    match way:
        case "scan":
            after, through = first_position(1), first_position(1) + 300
            return list(reader.scan(after=after, through=through, max_bytes=1 << 24).rows)
        case "list" | "search":
            wanted = v1.EventFilter(text="role" if way == "search" else "")
            return [row for row, _ in reader.page(PageQuery(ACCOUNT, wanted, None, False, 300, 1 << 24)).rows]
        case "by id":
            found = reader.find_by_id(ACCOUNT, "event-00007")
        case _:
            found = reader.find_at(first_position(1) + 7)
    assert found is not None
    return [found]


@pytest.mark.parametrize("newest_first", [False, True])
def test_a_list_goes_on_behind_damage_in_both_directions(folder: Path, *, newest_first: bool) -> None:
    damage_event(folder, 1000)
    first = first_position(1) + 1
    listed: list[int] = []
    missing: list[int] = []
    after: int | None = None
    with opened(folder) as (reader, _, _):
        while True:
            query = PageQuery(ACCOUNT, v1.EventFilter(), after, newest_first, 300, 1 << 24)
            try:
                page = reader.page(query)
            except DamagedEventsError as error:
                missing += range(error.first_position - first, error.last_position - first + 1)
                after = error.first_position if newest_first else error.last_position
                continue
            listed += [row.position - first for row, _ in page.rows]
            if page.next_position is None:
                break
            after = page.next_position
    assert listed == sorted(listed, reverse=newest_first)
    assert sorted([*listed, *missing]) == [*range(EVENTS)]
    assert 1000 in missing


def test_a_search_names_the_damaged_event_and_finds_the_others(folder: Path) -> None:
    damage_event(folder, 1000)
    wanted = v1.EventFilter(consumer_ids=["consumer-01000", "consumer-01900"])
    query = PageQuery(ACCOUNT, wanted, None, False, 300, 1 << 24)
    with opened(folder) as (reader, _, _):
        with pytest.raises(DamagedEventsError) as raised:
            reader.page(query)
        position = raised.value.first_position
        assert position == raised.value.last_position == first_position(1) + 1001
        behind = PageQuery(ACCOUNT, wanted, position, False, 300, 1 << 24)
        ((row, _),) = reader.page(behind).rows
        assert row.position == first_position(1) + 1901


def erase(writer: Writer, consumer_id: str) -> ErasureState:
    subject = Subject(v1.SubjectKind.SUBJECT_KIND_CONSUMER_ID, consumer_id)
    apply(writer, BeginErasure(ACCOUNT, "request", "erasure", [subject], suppress=False))
    state = apply(writer, EraseEvents(ACCOUNT, "erasure"))
    while isinstance(state, ErasureState) and state.has_more:
        state = apply(writer, EraseEvents(ACCOUNT, "erasure"))
    assert isinstance(state, ErasureState)
    return state


@pytest.mark.parametrize(
    "spot",
    [b"Role of zq01000zq", b"consumer-01000", b"event-01000.{6,16}\n\x0bevent-01000"],
    ids=["value", "consumer", "id"],
)
def test_an_erasure_removes_a_damaged_event_and_no_byte_of_it_is_left(folder: Path, spot: bytes) -> None:
    damage(folder, spot)
    with opened(folder) as (reader, writer, connection):
        state = erase(writer, "consumer-01000")
        for _ in Purge(connection).steps():
            pass
        assert state.erased_events == 1
        assert files_with(folder, "zq01000zq") == {}
        assert files_with(folder, "consumer-01000") == {}
        assert files_with(folder, "event-01000") == {}
        numbers, damaged = read_all(reader)
        assert damaged == []
        assert EVENTS - 64 < len(numbers) < EVENTS
        assert counted(reader) == len(numbers)
        kept = PageQuery(ACCOUNT, v1.EventFilter(text="zq00001zq"), None, False, 9, 1 << 24)
        assert [event.event_id for _, event in reader.page(kept).rows] == ["event-00001"]
        recorded = apply(writer, RecordBatch(ACCOUNT, batch_of([named(1000), named(1)]), is_atomic=False))
        assert isinstance(recorded, Recorded)
        assert [verdict.outcome for verdict in recorded.verdicts] == [Outcome.DUPLICATE] * 2
        assert connection.pragma("integrity_check") == "ok"


def test_a_step_of_an_erasure_that_meets_damage_behind_its_first_events_is_whole(folder: Path) -> None:
    with opened(folder) as (_, writer, _):
        same = [named(number) for number in range(EVENTS, EVENTS + 200)]
        for event in same:
            event.consumer_id = "consumer-00000"
        apply(writer, RecordBatch(ACCOUNT, batch_of(same), is_atomic=True))
    damage_event(folder, EVENTS + 150)
    with opened(folder) as (reader, writer, _):
        assert erase(writer, "consumer-00000").erased_events == 201
        bounds = reader.bounds(ACCOUNT)
        assert bounds is not None
        assert bounds.last_position == WHOLE.last_position + 201  # one notice


def test_expiry_removes_damaged_events(folder: Path) -> None:
    damage_event(folder, 100)
    with opened(folder) as (reader, writer, connection):
        while apply(writer, ExpireEvents(ACCOUNT, TIME_MS + 500)):
            pass
        numbers, damaged = read_all(reader)
        assert (numbers, damaged) == ([*range(500, EVENTS)], [])
        assert counted(reader) == EVENTS - 500
        assert connection.pragma("integrity_check") == "ok"


def test_damaged_events_of_unknown_age_wait_for_those_behind_them(folder: Path) -> None:
    damage_event(folder, 498)
    with opened(folder) as (reader, writer, _):
        due = reader.receive_times.accounts_due(accepted_before_ms=TIME_MS + 500, clock_ms=TIME_MS + EVENTS)
        assert 400 < due[ACCOUNT] < 499
        with reader.transaction():
            counted = reader.receive_times.count_due(
                accepted_before_ms=TIME_MS + 500, confirmed_before_ms=0, clock_ms=TIME_MS + EVENTS
            )
        assert counted == (due[ACCOUNT], EVENTS, 0)
        while apply(writer, ExpireEvents(ACCOUNT, TIME_MS + 500)):
            pass
        numbers, damaged = read_all(reader)
        (waiting,) = damaged
        assert 498 in waiting
        # Removing events beside a damaged page would meet it.
        assert numbers == [*range(numbers[0], waiting.start), *range(waiting.stop, EVENTS)]
        assert waiting.start - 201 <= numbers[0] <= waiting.start
        while apply(writer, ExpireEvents(ACCOUNT, TIME_MS + 1000)):
            pass
        assert read_all(reader) == ([*range(1000, EVENTS)], [])


def test_a_rebuilt_index_still_names_damaged_events(folder: Path) -> None:
    damage_event(folder, 1000)
    with opened(folder) as (_, _, connection):
        connection.execute("DELETE FROM settings WHERE name = 'search_fingerprint'")
    wanted = v1.EventFilter(consumer_ids=["consumer-01000"])
    with opened(folder) as (reader, _, _), pytest.raises(DamagedEventsError):
        reader.page(PageQuery(ACCOUNT, wanted, None, False, 300, 1 << 24))


def test_a_commit_that_needs_a_damaged_event_is_refused_and_stores_nothing(folder: Path) -> None:
    damage_event(folder, 1000)
    with opened(folder) as (reader, writer, _):
        with pytest.raises(DataDamagedError):
            apply(writer, RecordBatch(ACCOUNT, batch_of([named(1000), named(9999)]), is_atomic=False))
        assert reader.bounds(ACCOUNT) == WHOLE


def test_a_check_ends_if_no_event_can_be_read(folder: Path) -> None:
    with opened(folder) as (_, _, connection):
        ((root,),) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'events'").fetchall()
    assert isinstance(root, int)
    content = bytearray((folder / "engagement.db").read_bytes())
    content[root * 4096 - 100] ^= 1
    (folder / "engagement.db").write_bytes(content)
    report = check_store(folder / "engagement.db", on_progress=lambda *_: None)
    assert ("event", 0) in [(finding.kind, report.events) for finding in report.findings]


@pytest.mark.parametrize("column", ["min_ms", "max_ms", "min_receive_ms", "max_receive_ms"])
def test_a_check_finds_time_bounds_that_leave_events_out(folder: Path, column: str) -> None:
    with opened(folder) as (_, _, connection):
        bound = "max" if column.startswith("min") else "min"
        connection.execute(f"UPDATE blocks SET {column} = {column.replace(column[:3], bound)} ")
    report = check_store(folder / "engagement.db", on_progress=lambda *_: None)
    assert [finding.kind for finding in report.findings] == ["derived"]


def test_a_check_finds_a_wrong_number_of_events(folder: Path) -> None:
    with opened(folder) as (_, _, connection):
        connection.execute("UPDATE accounts SET events = events + 1")
    report = check_store(folder / "engagement.db", on_progress=lambda *_: None)
    assert [(finding.kind, finding.message) for finding in report.findings] == [
        ("derived", f"has {EVENTS} events, not {EVENTS + 1}")
    ]


def test_a_check_of_an_empty_store_finds_nothing(tmp_path: Path) -> None:
    with opened(tmp_path):
        pass
    report = check_store(tmp_path / "engagement.db", on_progress=lambda *_: None)
    assert (report.events, report.accounts, report.findings) == (0, 0, [])


def test_a_start_time_finds_its_place_past_damage_and_leaves_out_no_damaged_event(folder: Path) -> None:
    damage_event(folder, 1000)
    with opened(folder) as (reader, _, _):
        first = first_position(1) + 1
        (damaged,) = read_all(reader)[1]
        for number in (0, 500, 1500):
            assert reader.position_before(WHOLE, accepted_ms=TIME_MS + number) == first + number - 1
        # The page of event 1,000 may begin with events of the time before.
        before = reader.position_before(WHOLE, accepted_ms=TIME_MS + 1000)
        assert before == first + min(damaged.start, 1000) - 1
        assert reader.position_before(WHOLE, accepted_ms=TIME_MS + EVENTS) == WHOLE.last_position
    damage_event(folder, EVENTS - 1)
    with opened(folder) as (reader, _, _):
        for number in (EVENTS - 500, EVENTS):
            assert reader.position_before(WHOLE, accepted_ms=TIME_MS + number) == first + number - 1
