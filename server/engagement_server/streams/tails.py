"""The ends of the accounts' logs: commits hand their new events over to the followers there.

Events are matched once for each distinct filter, and nothing is read from the store.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

from engagement_server.streams.selections import Place, Run, Selection

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from engagement_server.log.base import CommitLog
    from engagement_server.model import NewEvents, StoredRow
    from engagement_server.operations import Applied
    from engagement_server.store.predicate import Predicate
    from engagement_server.streams.pace import Pace

MAX_HELD_BYTES = 16 * 1024 * 1024
"""Approximate memory of all events that are held for followers; beyond it, these read the store."""
# Memory that an event takes beside its payload, which is held once more as soon as it is serialized, and once
# more if there are followers with a mask.
_EVENT_OVERHEAD_BYTES = 400
_PAYLOAD_COPIES = 2
# What a mask may add to an event: its texts, and the paths of the fields.
_MASKED_OVERHEAD_BYTES = 600
_RUN_EVENTS = 64
# Larger runs are matched on a thread, because words of long texts take time.
_RUN_BYTES = 64 * 1024
# Matching lets others run after this time.
_SLICE_SECONDS = 0.001
# Followers that are woken at a time.
_WAKE_FOLLOWERS = 8

_log = logging.getLogger(__name__)


class Tails:
    """The ends of all logs that subscriptions read; lives on the event loop."""

    def __init__(self, log: CommitLog, *, pace: Pace) -> None:
        self.log = log
        self.pace = pace
        self._tails: dict[str, Tail] = {}
        self._runs: dict[Run, Tail] = {}
        """All runs that are held, oldest first."""
        self._held_bytes = 0

    @contextmanager
    def watch(self, account_id: str) -> Iterator[Tail]:
        """The end of an account's log, which is kept up to date while the context is open."""
        tail = self._tails.get(account_id)
        if tail is None:
            tail = self._tails[account_id] = Tail(self, account_id)
        tail.watchers += 1
        try:
            yield tail
        finally:
            tail.watchers -= 1
            if not tail.watchers:
                del self._tails[account_id]

    def apply(self, applied: Applied) -> None:
        """Hands over the new events of a commit that readers see."""
        if applied.has_removed:
            for tail in self._tails.values():
                tail.drop_events()
        for account_id, position in applied.tails.items():
            if (followed := self._tails.get(account_id)) is not None:
                followed.hand_over(position, applied.new_events.get(account_id))
        while self._held_bytes > MAX_HELD_BYTES:
            oldest = next(iter(self._runs))
            self._runs[oldest].evict(oldest)

    @property
    def held_bytes(self) -> int:
        """Approximate memory of the events that are held."""
        return self._held_bytes

    def hold(self, run: Run, tail: Tail) -> None:
        """Counts a run of a tail, which may have to evict it."""
        self._runs[run] = tail
        self._held_bytes += _size_bytes(run)

    def release(self, run: Run) -> None:
        """Counts a run no longer."""
        del self._runs[run]
        self._held_bytes -= _size_bytes(run)

    def hold_masked(self, run: Run) -> None:
        """Counts what is masked of a run that is held."""
        self._held_bytes -= _size_bytes(run)
        run.is_masked = True
        self._held_bytes += _size_bytes(run)


class Tail:
    """The end of one account's log."""

    def __init__(self, tails: Tails, account_id: str) -> None:
        self.position = 0
        """The last position; 0 until it is known."""
        self.watchers = 0
        self._tails = tails
        self._account_id = account_id
        self._selections: dict[bytes, Selection] = {}
        """By the key of the filter."""
        self._masked_followers = 0
        self._runs: set[Run] = set()
        self._pending: deque[Run] = deque()
        self._matching: asyncio.Task[None] | None = None

    def advance(self, position: int) -> None:
        """Notes that the log reaches at least to this position."""
        self.position = max(self.position, position)

    @contextmanager
    def follow(
        self, key: bytes, predicate: Predicate | None, place: Place, *, is_masked: bool = False
    ) -> Iterator[Selection]:
        """What the filter with a key selects at the tail, for a follower at a place, while it is open.

        Followers with and without a mask share it: it has no bytes of events.
        """
        if not self._selections:
            self._tails.log.want_events(self._account_id, are_wanted=True)
        selection = self._selections.get(key)
        if selection is None:
            selection = self._selections[key] = Selection(predicate)
        selection.places.add(place)
        if is_masked and not self._masked_followers:
            self._count_masked()
        self._masked_followers += is_masked
        try:
            yield selection
        finally:
            self._masked_followers -= is_masked
            selection.places.remove(place)
            if not selection.places:
                del self._selections[key]
            if not self._selections:
                self.drop_events()
                self._tails.log.want_events(self._account_id, are_wanted=False)

    def hand_over(self, position: int, new: NewEvents | None) -> None:
        """Takes the new events of a commit, after which the log ends at this position."""
        if position > self.position > 0:
            self._tails.pace.note_growth(position - self.position)
        self.advance(position)
        if not self._selections:
            return
        if new is None or new.last_position != position:  # a notice, or events that are not at hand
            self.drop_events()
            return
        for run in _runs_of(new.read()):
            self._runs.add(run)
            self._pending.append(run)
            self._tails.hold(run, self)
            if self._masked_followers:
                self._tails.hold_masked(run)
        if self._pending and (self._matching is None or self._matching.done()):
            self._matching = asyncio.create_task(self._match(), name="tail")

    def drop_events(self) -> None:
        """Drops all events, because some were removed, or are missing: followers read the store."""
        self._pending.clear()
        while self._runs:
            run = self._runs.pop()
            run.end()
            self._tails.release(run)
        for selection in self._selections.values():
            selection.restart(self.position)

    def evict(self, run: Run) -> None:
        """Drops the oldest run, to save memory."""
        if run.is_pending:  # what comes after it would leave a gap
            self.drop_events()
            return
        self._runs.remove(run)
        self._tails.release(run)
        for selection in self._selections.values():
            selection.trim(run.last_position)

    def _count_masked(self) -> None:
        for run in self._runs:
            if not run.is_masked:
                self._tails.hold_masked(run)

    async def _match(self) -> None:
        """Matches the pending runs, one after another."""
        try:
            while self._pending:
                await self._match_run(self._pending[0])
        except Exception:  # followers would wait for ever
            _log.exception("cannot match new events; followers read them from the store")
            self.drop_events()

    async def _match_run(self, run: Run) -> None:
        start = time.perf_counter()
        for selection in list(self._selections.values()):
            if run.payload_bytes > _RUN_BYTES:
                matching = await asyncio.to_thread(run.matching, selection.predicate)
            else:
                matching = run.matching(selection.predicate)
            if not run.is_pending:  # dropped meanwhile
                return
            selection.extend(run, matching)
            await _wake(selection, has_matches=bool(matching))
            spent_seconds = time.perf_counter() - start
            if spent_seconds > _SLICE_SECONDS:
                await self._tails.pace.turn(spent_seconds)
                await asyncio.sleep(0)
                start = time.perf_counter()
            if not run.is_pending:
                return
        run.end()
        self._pending.popleft()


async def _wake(selection: Selection, *, has_matches: bool) -> None:
    """Wakes the followers that have something to do, few at a time: each sends a frame."""
    woken = 0
    for place in list(selection.places):
        if (has_matches or not place.is_idle) and not place.growth.is_set():
            place.growth.set()
            woken += 1
            if woken % _WAKE_FOLLOWERS == 0:
                await asyncio.sleep(0)


def _runs_of(rows: Sequence[StoredRow]) -> Iterator[Run]:
    """Cuts events into runs that are matched in a short time, if they are small enough."""
    start = size_bytes = 0
    for index, row in enumerate(rows):
        size_bytes += len(row.payload)
        if index > start and (index - start == _RUN_EVENTS or size_bytes > _RUN_BYTES):
            yield Run(rows[start:index])
            start, size_bytes = index, len(row.payload)
    if rows:
        yield Run(rows[start:])


def _size_bytes(run: Run) -> int:
    size_bytes = _PAYLOAD_COPIES * run.payload_bytes + _EVENT_OVERHEAD_BYTES * len(run.events)
    if run.is_masked:
        size_bytes += run.payload_bytes + _MASKED_OVERHEAD_BYTES * len(run.events)
    return size_bytes
