"""A store of every kind of rows, copies of it with flipped bits, and questions that tell if a copy lies."""

from __future__ import annotations

import contextlib
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import apsw

from engagement import v1
from engagement_server.cursor import first_position
from engagement_server.errors import ConfigurationError, DamagedEventsError, DataDamagedError, RequestError
from engagement_server.model import StoredRow, Subject
from engagement_server.operations import (
    BeginErasure,
    Commit,
    CommitChunk,
    EraseEvents,
    FinishUpload,
    OpenUpload,
    Operation,
    PutEntities,
    RecordBatch,
    Recorded,
    SaveProfile,
)
from engagement_server.store.checkup import check_store
from engagement_server.store.database import DatabaseFile
from engagement_server.store.event_pages import PageQuery
from engagement_server.store.failures import failure_of
from engagement_server.store.profile_moment import ProfileMoment
from engagement_server.store.reader import Reader
from engagement_server.store.upload_lists import RejectionQuery
from engagement_server.store.writer import Writer
from tests.support.events import bad_event, batch_of, customer_event

ACCOUNT = "acme"
CONSUMERS = 40
SUPPRESSED = Subject(v1.SubjectKind.SUBJECT_KIND_CONSUMER_ID, "gone")
_TIME_MS = 1_700_000_000_000
_STATUS = v1.EntityKind.ENTITY_KIND_CUSTOMER_STATUS
_DAMAGE = "damaged"
_NOW = ProfileMoment(due_ms=_TIME_MS)

Answer = Any  # each question has its own
Questions = dict[str, Callable[[Reader, Writer], Answer]]


class Walk(NamedTuple):
    """All events that could be read, going on behind damage, and the ranges in between."""

    rows: tuple[tuple[Any, ...], ...]  # Any: each column has its own type
    damaged: tuple[tuple[int, int], ...]


@dataclass
class Tally:
    """What became of the copies."""

    refused: int = 0
    noticed: int = 0
    unaffected: int = 0
    lost_events: list[int] = field(default_factory=list)
    """Events that could not be read, for each copy whose events were damaged."""


def events(count: int) -> list[v1.Event]:
    """Events of many consumers; some are longer than a page."""
    made = []
    for number in range(count):
        event = customer_event(
            f"event-{number * 7919 % count:06}",
            customer_status="active" if number % 3 else "other",
            balance=f"balance {number}",
            role="long " * (1500 if number % 97 == 0 else 3),
            customer_id=f"customer-{number % CONSUMERS}",
        )
        event.consumer_id = f"consumer-{number % CONSUMERS}"
        made.append(event)
    return made


def make_template(folder: Path, *, count: int) -> None:
    """Makes a store whose last commits are in the write-ahead log, as a kill leaves it."""
    live = folder.with_name(folder.name + "-live")
    with opened(live) as (connection, reader, writer):
        _fill(writer, reader, events(count))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        for number in range(20):
            _apply(writer, RecordBatch(ACCOUNT, batch_of([customer_event(f"late-{number}")]), True))
        folder.mkdir()
        for name in ("engagement.db", "engagement.db-wal"):
            shutil.copyfile(live / name, folder / name)


def _fill(writer: Writer, reader: Reader, stored: list[v1.Event]) -> None:
    _apply(writer, PutEntities(ACCOUNT, _STATUS, ["Active", "Vip"], is_closed=False))
    for start in range(0, len(stored), 200):
        _apply(writer, RecordBatch(ACCOUNT, batch_of(stored[start : start + 200]), True))
    gone = [customer_event(f"gone-{number}") for number in range(30)]
    for event in gone:
        event.consumer_id = SUPPRESSED.value
    _apply(writer, RecordBatch(ACCOUNT, batch_of(gone), True))
    _apply(writer, BeginErasure(ACCOUNT, "request", "erasure", [SUPPRESSED], True))
    _apply(writer, EraseEvents(ACCOUNT, "erasure"))
    _apply(writer, OpenUpload(ACCOUNT, "upload", "owner", "salt"))
    for sequence in range(1, 6):
        chunk = [bad_event(f"bad-{sequence}-{number}") for number in range(20)]
        batch = batch_of([*chunk, customer_event(f"uploaded-{sequence}")])
        _apply(writer, CommitChunk(ACCOUNT, "upload", "owner", sequence, batch, b"digest"))
    _apply(writer, FinishUpload(ACCOUNT, "upload", "owner", 5))
    bounds = reader.bounds(ACCOUNT)
    assert bounds is not None
    for number in range(5):
        folding = reader.profiles.fold_consumer(bounds, f"consumer-{number}", moment=_NOW)
        reader.profiles.advance(folding)
        _apply(writer, SaveProfile(ACCOUNT, folding.folded_profile()))


def _apply(writer: Writer, *operations: Operation) -> Answer:
    (result, *_) = writer.apply(Commit(operations, _TIME_MS)).results
    if isinstance(result, RequestError):
        raise result
    return result


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[tuple[apsw.Connection, Reader, Writer]]:
    """The store in a folder. Raises ConfigurationError."""
    database = DatabaseFile(folder)
    try:
        with contextlib.closing(database.open_writer()) as connection, database.usable():
            writer = Writer(connection)
            with contextlib.closing(database.open_reader()) as reading:
                yield connection, Reader(reading), writer
    finally:
        database.close()


def walk(reader: Reader) -> Walk:
    """Reads all events of the account behind all damage."""
    bounds = reader.bounds(ACCOUNT)
    assert bounds is not None
    after = first_position(bounds.account)
    rows: list[tuple[Any, ...]] = []
    damaged: list[tuple[int, int]] = []
    while after < bounds.last_position:
        try:
            scan = reader.scan(after=after, through=bounds.last_position, max_bytes=1 << 20)
        except DamagedEventsError as damage:
            damaged.append((damage.first_position, damage.last_position))
            after = damage.last_position
            continue
        rows += scan.rows
        after = bounds.last_position if scan.is_complete else scan.rows[-1].position
    return Walk(tuple(map(tuple, rows)), tuple(damaged))


def questions(count: int) -> Questions:
    """Questions of every kind; each answer is compared with that of the undamaged store."""
    chance = random.Random(1)
    asked: Questions = {
        "upload": lambda reader, _: reader.upload(ACCOUNT, "upload"),
        "rejections": lambda reader, _: reader.rejections(
            RejectionQuery(ACCOUNT, "upload", max_results=1000)
        ),
        "entities": lambda reader, _: reader.entities(ACCOUNT, _STATUS),
        "erasures": lambda reader, _: reader.erasures.running(),
        "notices": lambda reader, _: reader.notices(after=0, through=1 << 62, max_notices=100),
        "suppressed": lambda _, writer: _record(writer, "new", consumer_id=SUPPRESSED.value),
        "tombstone": lambda _, writer: _record(writer, "gone-7", consumer_id="other"),
        "matched": lambda reader, _: _page(reader, v1.EventFilter(customer_statuses=["ACTIVE"])),
        "newest": lambda reader, _: _page(reader, v1.EventFilter(), newest_first=True),
        "search": lambda reader, _: _page(reader, v1.EventFilter(text="balance")),
    }
    stored = events(count)
    for number in chance.sample(range(count), 12):
        asked[f"event {number}"] = partial(_find, stored[number].event_id)
        asked[f"duplicate {number}"] = partial(_repeat, stored[number])
    for number in range(0, CONSUMERS, 4):
        asked[f"consumer {number}"] = partial(_list_consumer, f"consumer-{number}")
        asked[f"profile {number}"] = partial(_fold, f"consumer-{number}")
    return asked


def _find(event_id: str, reader: Reader, _: Writer) -> Answer:
    return reader.find_by_id(ACCOUNT, event_id)


def _repeat(event: v1.Event, _: Reader, writer: Writer) -> Answer:
    return _verdicts(writer, event)


def _list_consumer(consumer_id: str, reader: Reader, _: Writer) -> Answer:
    return _page(reader, v1.EventFilter(consumer_ids=[consumer_id]))


def _fold(consumer_id: str, reader: Reader, _: Writer) -> Answer:
    return _profile(reader, consumer_id)


def _page(reader: Reader, wanted: v1.EventFilter, *, newest_first: bool = False) -> Answer:
    page = reader.page(PageQuery(ACCOUNT, wanted, None, newest_first, 10_000, 1 << 24))
    return tuple(row for row, _ in page.rows), page.next_position


def _profile(reader: Reader, consumer_id: str) -> Answer:
    bounds = reader.bounds(ACCOUNT)
    assert bounds is not None
    folding = reader.profiles.fold_consumer(bounds, consumer_id, moment=_NOW)
    reader.profiles.advance(folding)
    return folding.fold.profile("", folding=v1.Folding.FOLDING_MERGE, encode=str, name_upload=str)


def _record(writer: Writer, event_id: str, *, consumer_id: str) -> Answer:
    event = customer_event(event_id)
    event.consumer_id = consumer_id
    return _verdicts(writer, event)


def _verdicts(writer: Writer, event: v1.Event) -> Answer:
    recorded = _apply(writer, RecordBatch(ACCOUNT, batch_of([event]), False))
    assert isinstance(recorded, Recorded)
    return recorded.verdicts


def answers(reader: Reader, writer: Writer, asked: Questions) -> dict[str, Answer]:
    """The answer to each question; `damaged` if the store says that it cannot tell."""
    found: dict[str, Answer] = {}
    for name, question in asked.items():
        try:
            found[name] = question(reader, writer)
            reader.require_checked()
        except apsw.Error as error:
            _require_damage(error)
            found[name] = _DAMAGE
        except (DataDamagedError, DamagedEventsError):
            found[name] = _DAMAGE
    return found


@dataclass
class FlipBench:
    """Flips bits in copies of a template, and compares what the copies answer."""

    template: Path
    folder: Path
    asked: Questions
    truth: dict[str, Answer] = field(default_factory=dict)
    whole: Walk = field(default_factory=lambda: Walk((), ()))
    tally: Tally = field(default_factory=Tally)

    def __post_init__(self) -> None:
        copy = self._copy()
        with opened(copy) as (_, reader, writer):
            self.whole = walk(reader)
            self.truth = answers(reader, writer, self.asked)
            assert not check_store(self.template / "engagement.db", on_progress=_ignore).findings
        assert _DAMAGE not in self.truth.values()
        assert not self.whole.damaged

    def flip(self, chance: random.Random, *, is_checked: bool) -> None:
        """Flips one bit of a copy. Fails if the copy gives an answer that differs without an error.

        If it is checked as well, the check must find what was noticed.
        """
        copy = self._copy()
        noticed = self.tally.noticed + self.tally.refused
        name = chance.choice(["engagement.db"] * 3 + ["engagement.db-wal"])
        content = bytearray((copy / name).read_bytes())
        bit = chance.randrange(len(content) * 8)
        content[bit // 8] ^= 1 << bit % 8
        (copy / name).write_bytes(content)
        report = check_store(copy / "engagement.db", on_progress=_ignore) if is_checked else None
        try:
            with opened(copy) as (_, reader, writer):
                self._compare(reader, writer, f"bit {bit} of {name}")
        except ConfigurationError:
            self.tally.refused += 1
        if report is not None and self.tally.noticed + self.tally.refused > noticed:
            assert report.findings, f"bit {bit} of {name}"

    def _compare(self, reader: Reader, writer: Writer, spot: str) -> None:
        found = _walk_or_damage(reader)
        answered = answers(reader, writer, self.asked)
        # Events are read on without the records of uploads if these are damaged.
        seen = _without_upload if answered["upload"] == _DAMAGE else tuple
        for name, answer in answered.items():
            if answer == _DAMAGE:
                continue
            expected = self.truth[name]
            if name in {"matched", "newest", "search"} or name.startswith("consumer"):
                rows, next_position = answer  # a page may end before damage
                rows, stored = [*map(seen, rows)], [*map(seen, expected[0])]
                assert rows == stored[: len(rows)], (spot, name)
                assert next_position or rows == stored, (spot, name)
            elif isinstance(answer, StoredRow):
                assert seen(answer) == seen(expected), (spot, name)
            else:
                assert answer == expected, (spot, name)
        if found is None:
            self.tally.noticed += 1
            return
        whole, left = {*map(seen, self.whole.rows)}, {*map(seen, found.rows)}
        missing = whole - left
        assert left <= whole, spot
        assert len(found.rows) == len(left), spot
        for row in missing:
            assert any(first <= row[0] <= last for first, last in found.damaged), (spot, row[0])
        if found.damaged:
            self.tally.lost_events.append(len(missing))
        if found.damaged or _DAMAGE in answered.values():
            self.tally.noticed += 1
        else:
            self.tally.unaffected += 1

    def _copy(self) -> Path:
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.template, self.folder)
        return self.folder


def _without_upload(row: tuple[Any, ...]) -> tuple[Any, ...]:  # Any: each column has its own type
    """The columns of a stored row except those of its upload, which are the last two."""
    return row[:-2]


def _walk_or_damage(reader: Reader) -> Walk | None:
    """None if not even the bounds of the account can be read."""
    try:
        return walk(reader)
    except DataDamagedError:
        return None
    except apsw.Error as error:
        _require_damage(error)
        return None


def _require_damage(error: apsw.Error) -> None:
    """Fails unless SQLite says that the file is damaged."""
    assert isinstance(failure_of(error), DataDamagedError), error


def _ignore(what: str, done: int, total: int) -> None:
    """Shows no progress."""
