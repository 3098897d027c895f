"""Folds the events of consumers and customer ids that have many, so that no read has to fold them all.

docs/decisions/0015-kept-folds.md says how such consumers are found.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from engagement import v1
from engagement_server.clock import now_ms
from engagement_server.errors import RequestError
from engagement_server.governor.turns import Caller, Room, Turns
from engagement_server.operations import CommitChunk, RecordBatch, SaveProfile
from engagement_server.store.budget import STEP_SECONDS
from engagement_server.store.profile_moment import ProfileMoment
from engagement_server.supervision import run_in_background, supervise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engagement_server.log.committer import Committer
    from engagement_server.model import EventRecord, FoldedProfile
    from engagement_server.operations import Operation
    from engagement_server.store.profile_rows import Folding
    from engagement_server.store.reader import Reader
    from engagement_server.store.readers import Readers

MIN_KEPT_EVENTS = 200
"""Fewer events are folded as fast as a kept fold is read."""
MAX_NEW_EVENTS = 500
"""Approximate number of new events of one consumer after which they are folded in the background."""
# Counting every event would cost ingest a fifteenth of its rate.
_EVENTS_A_SAMPLE = 8
MAX_SAMPLES = MAX_NEW_EVENTS // _EVENTS_A_SAMPLE
MAX_COUNTERS = 32_768
_MAX_DUE = 10_000
_MAX_STOPPED = 10_000
_MAX_UNDER_WAY = 4
_MAX_SAVES = 32
_STEP_EVENTS = 500
# Pause after each step, in durations of the step: a tenth of a thread beside ingest, else a quarter.
_BUSY_PAUSE = 9
_IDLE_PAUSE = 3
# While a read waits for it: half a thread.
_WANTED_PAUSE = 1

_log = logging.getLogger(__name__)


class ConsumerCounts:
    """Counts samples by token in bounded space, at the expense of rare tokens.

    A count is never too high, and too low by at most 1 / `max_counters` of all samples.
    """

    def __init__(self, *, max_counters: int = MAX_COUNTERS) -> None:
        self._max_counters = max_counters
        self._counters: dict[str, Counter[str]] = {}
        """By account."""
        self.size = 0
        """Number of counters, at most twice `max_counters`."""

    def add(self, account_id: str, tokens: Sequence[str]) -> list[str]:
        """Counts one sample for each token; returns the tokens due for folding, and resets their counts."""
        counter = self._counters.setdefault(account_id, Counter())
        size = len(counter)
        counter.update(tokens)
        due = [token for token in set(tokens) if counter[token] >= MAX_SAMPLES]
        for token in due:
            del counter[token]
        self.size += len(counter) - size
        # Evicting down to half makes room for many events at once.
        if self.size > 2 * self._max_counters:
            while self.size > self._max_counters:
                self._lower_all()
        return due

    def _lower_all(self) -> None:
        lowered = {
            account_id: Counter({token: count - 1 for token, count in counter.items() if count > 1})
            for account_id, counter in self._counters.items()
        }
        self._counters = {account_id: counter for account_id, counter in lowered.items() if counter}
        self.size = sum(map(len, self._counters.values()))


class Subject(NamedTuple):
    """Whose events to fold: a consumer or a customer id of an account; the other id is empty."""

    account_id: str
    consumer_id: str = ""
    customer_id: str = ""


class HotConsumers:
    """Finds hot consumers among the commits, and folds their events in the background, in small steps.

    Accounts take turns, and at most one subject of each is folded at a time.
    """

    def __init__(self, *, readers: Readers, committer: Committer) -> None:
        self._readers = readers
        self._committer = committer
        self._counts = ConsumerCounts()
        self._due: Turns[Subject] = Turns()
        self._waiting: set[Subject] = set()
        """All that are due."""
        self._room = Room(_MAX_DUE)
        self._preparing: set[Subject] = set()
        """Those that a read waits for, until they are folded."""
        self._stopped: dict[Subject, int] = {}
        """The last position in the fold of a subject whose next event is ahead of the clock."""
        self._busy_accounts: set[str] = set()
        self._arrival = asyncio.Event()
        self._saves: dict[Subject, asyncio.Task[None]] = {}
        committer.subscribe(self._count)
        self._tasks = [
            asyncio.create_task(supervise("hot-consumers", self._run), name="hot-consumers")
            for _ in range(_MAX_UNDER_WAY)
        ]

    def close(self) -> None:
        """Ends the background work; folds that were not saved are made again when needed."""
        for task in (*self._tasks, *self._saves.values()):
            task.cancel()

    def keep(self, account_id: str, profile: FoldedProfile) -> None:
        """Saves a fold in the background, unless that is already under way."""
        key = Subject(account_id, profile.consumer_id, profile.customer_id)
        if key not in self._saves and len(self._saves) < _MAX_SAVES:
            self._saves[key] = run_in_background("save-profile", partial(self._save, account_id, profile))
            self._saves[key].add_done_callback(lambda _: self._saves.pop(key))

    def prepare(self, subject: Subject) -> None:
        """Folds the events of a subject whose profile is wanted, unless that is under way.

        If too many of its account wait already, a later read has to ask again.
        """
        if subject not in self._preparing and self._add(subject):
            self._preparing.add(subject)

    def is_preparing(self, subject: Subject) -> bool:
        """Whether a subject is about to be folded because a read wants its profile."""
        return subject in self._preparing

    def stopped_at(self, subject: Subject) -> int | None:
        """The last position that the fold of a subject could reach; None: it reached the end of the log."""
        return self._stopped.get(subject)

    def _add(self, subject: Subject) -> bool:
        """Whether a subject is due now."""
        if subject in self._waiting:
            return True
        caller = Caller(subject.account_id, "")
        if self._room.used_bytes >= _MAX_DUE or not self._room.is_free_for(caller):
            return False
        self._room.take(caller, 1)
        self._waiting.add(subject)
        self._due.append(caller, subject)
        self._arrival.set()
        return True

    def _take(self) -> Subject | None:
        """The next subject, of an account of which none is being folded."""
        subject = self._due.pop(lambda caller: caller.connection not in self._busy_accounts)
        if subject is None:
            return None
        self._room.give_back(Caller(subject.account_id, ""), 1)
        # Taken out first, so that a subject that becomes due meanwhile is folded again.
        self._waiting.remove(subject)
        self._busy_accounts.add(subject.account_id)
        return subject

    def _count(self, operations: Sequence[Operation]) -> None:
        for operation in operations:
            if isinstance(operation, RecordBatch | CommitChunk):
                self._count_records(operation.account_id, operation.batch.records)

    def _count_records(self, account_id: str, records: Sequence[EventRecord]) -> None:
        # A random start, so that no order of events hides a consumer.
        sample = records[random.randrange(_EVENTS_A_SAMPLE) :: _EVENTS_A_SAMPLE]  # noqa: S311  # no secret
        by_token = {token: record for record in sample if (token := _token(record))}
        for token in self._counts.add(account_id, [token for record in sample if (token := _token(record))]):
            event = v1.Event.FromString(by_token[token].payload)
            if event.consumer_id:
                self._add(Subject(account_id, consumer_id=event.consumer_id))
            else:
                self._add(Subject(account_id, customer_id=event.customer_info.customer_id))

    async def _run(self) -> None:
        while True:
            subject = self._take()
            if subject is None:
                self._arrival.clear()
                await self._arrival.wait()
                continue
            try:
                await self._refresh(subject)
            except RequestError as error:
                _log.info("folding the events of a consumer is postponed: %s", error.fault)
            finally:
                self._busy_accounts.remove(subject.account_id)
                self._preparing.discard(subject)
                self._arrival.set()

    async def _refresh(self, subject: Subject) -> None:
        """Folds new events, and saves the fold unless events were removed in the meantime."""

        def begin(reader: Reader) -> Folding | None:
            with reader.transaction():
                bounds = reader.bounds(subject.account_id)
                if bounds is None:
                    return None
                moment = ProfileMoment(due_ms=now_ms())
                if subject.consumer_id:
                    return reader.profiles.fold_consumer(bounds, subject.consumer_id, moment=moment)
                return reader.profiles.fold_customer(bounds, subject.customer_id, moment=moment)

        folding = await self._readers.run(begin)
        if folding is None:
            return
        is_complete = False
        while not is_complete:
            is_complete, step_seconds = await self._readers.run(lambda reader: _advance(reader, folding))
            await asyncio.sleep(self._pause(subject) * step_seconds)
        self._stopped.pop(subject, None)
        if folding.newer is not None:
            while len(self._stopped) >= _MAX_STOPPED:
                del self._stopped[next(iter(self._stopped))]
            self._stopped[subject] = folding.kept_through_position
        if folding.events >= MIN_KEPT_EVENTS and folding.is_worth_keeping:
            await self._committer.submit(
                SaveProfile(subject.account_id, folding.folded_profile()), returns=int
            )

    def _pause(self, subject: Subject) -> int:
        """The pause after a step; all that are under way share the time."""
        if self._committer.is_busy:
            share = _BUSY_PAUSE
        else:
            share = _WANTED_PAUSE if subject in self._preparing else _IDLE_PAUSE
        return share * len(self._busy_accounts)

    async def _save(self, account_id: str, profile: FoldedProfile) -> None:
        try:
            await self._committer.submit(SaveProfile(account_id, profile), returns=int)
        except RequestError as error:
            _log.info("a folded profile was not saved: %s", error.fault)


def _token(record: EventRecord) -> str:
    """Identifies whose profile an event is counted for; empty if it has none."""
    _, consumer, _, customer = record.indexed_texts
    return consumer or (f"customer {customer}" if customer else "")


def _advance(reader: Reader, folding: Folding) -> tuple[bool, float]:
    """Whether this step was the last, and the processor seconds that it took."""
    start = time.thread_time()
    is_complete = reader.profiles.advance(folding, max_events=_STEP_EVENTS, max_seconds=STEP_SECONDS)
    return is_complete, time.thread_time() - start
