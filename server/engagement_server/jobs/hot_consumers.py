"""Folds the events of consumers that have many, so that no profile read has to fold them all.

docs/decisions/0015-kept-folds.md says how such consumers are found.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from typing import TYPE_CHECKING

from engagement import v1
from engagement_server.errors import RequestError
from engagement_server.operations import CommitChunk, RecordBatch, SaveProfile
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
_MAX_SAVES = 32
_STEP_EVENTS = 500
# Pause after each step, in durations of the step: a tenth of a thread beside ingest, else a quarter.
_BUSY_PAUSE = 9
_IDLE_PAUSE = 3

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


class HotConsumers:
    """Finds hot consumers among the commits, and folds their events in the background, in small steps."""

    def __init__(self, *, readers: Readers, committer: Committer) -> None:
        self._readers = readers
        self._committer = committer
        self._counts = ConsumerCounts()
        self._due: dict[tuple[str, str], None] = {}
        """Accounts and consumers to fold, oldest first."""
        self._arrival = asyncio.Event()
        self._saves: dict[tuple[str, str], asyncio.Task[None]] = {}
        committer.subscribe(self._count)
        self._task = asyncio.create_task(supervise("hot-consumers", self._run), name="hot-consumers")

    def close(self) -> None:
        """Ends the background work; folds that were not saved are made again when needed."""
        self._task.cancel()
        for task in self._saves.values():
            task.cancel()

    def keep(self, account_id: str, profile: FoldedProfile) -> None:
        """Saves a fold in the background, unless that is already under way."""
        key = account_id, profile.consumer_id
        if key not in self._saves and len(self._saves) < _MAX_SAVES:
            self._saves[key] = run_in_background("save-profile", self._save(account_id, profile))
            self._saves[key].add_done_callback(lambda _: self._saves.pop(key))

    def _count(self, operations: Sequence[Operation]) -> None:
        for operation in operations:
            if isinstance(operation, RecordBatch | CommitChunk):
                self._count_records(operation.account_id, operation.batch.records)

    def _count_records(self, account_id: str, records: Sequence[EventRecord]) -> None:
        # A random start, so that no order of events hides a consumer.
        sample = records[random.randrange(_EVENTS_A_SAMPLE) :: _EVENTS_A_SAMPLE]  # noqa: S311  # no secret
        # Events without a consumer have the empty token.
        tokens = [token for record in sample if (token := record.indexed_texts[1])]
        due = self._counts.add(account_id, tokens)
        if not due:
            return
        by_token = {record.indexed_texts[1]: record.payload for record in sample}
        for token in due:
            if len(self._due) < _MAX_DUE:
                self._due[account_id, v1.Event.FromString(by_token[token]).consumer_id] = None
                self._arrival.set()

    async def _run(self) -> None:
        while True:
            await self._arrival.wait()
            if not self._due:
                self._arrival.clear()
                continue
            # Taken out first, so that a consumer that becomes due meanwhile is folded again.
            account_id, consumer_id = next(iter(self._due))
            del self._due[account_id, consumer_id]
            try:
                await self._refresh(account_id, consumer_id)
            except RequestError as error:
                _log.info("folding the events of a consumer is postponed: %s", error)

    async def _refresh(self, account_id: str, consumer_id: str) -> None:
        """Folds new events, and saves the fold unless events were removed in the meantime."""

        def begin(reader: Reader) -> Folding | None:
            with reader.transaction():
                bounds = reader.bounds(account_id)
                return None if bounds is None else reader.profiles.fold_consumer(bounds, consumer_id)

        folding = await self._readers.run(begin)
        if folding is None:
            return
        is_complete = False
        while not is_complete:
            is_complete, step_seconds = await self._readers.run(lambda reader: _advance(reader, folding))
            await asyncio.sleep((_BUSY_PAUSE if self._committer.is_busy else _IDLE_PAUSE) * step_seconds)
        if folding.events >= MIN_KEPT_EVENTS and not folding.fold.is_empty:
            await self._committer.submit(SaveProfile(account_id, folding.folded_profile()), returns=int)

    async def _save(self, account_id: str, profile: FoldedProfile) -> None:
        try:
            await self._committer.submit(SaveProfile(account_id, profile), returns=int)
        except RequestError as error:
            _log.info("a folded profile was not saved: %s", error)


def _advance(reader: Reader, folding: Folding) -> tuple[bool, float]:
    """Whether this step was the last, and the processor seconds that it took."""
    start = time.thread_time()
    is_complete = reader.profiles.advance(folding, max_events=_STEP_EVENTS)
    return is_complete, time.thread_time() - start
