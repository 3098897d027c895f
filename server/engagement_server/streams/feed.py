"""Reads logs for subscriptions: subscribers at the same position share one read and one serialization."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

from engagement_server.errors import DamagedEventsError, OverloadedError
from engagement_server.store.budget import STEP_SECONDS
from engagement_server.store.event_pages import PageQuery
from engagement_server.streams.frames import serialized_events

if TYPE_CHECKING:
    from engagement import v1
    from engagement_server.cursor import Cursors
    from engagement_server.governor.turns import Caller
    from engagement_server.messages import Mask
    from engagement_server.model import Notice, StoredRow
    from engagement_server.store.reader import Reader
    from engagement_server.store.readers import Readers
    from engagement_server.streams.frames import SerializedEvent

# Segments start at multiples of this, so that subscribers at different positions in one still share it.
_SEGMENT_POSITIONS = 1024
_SEGMENT_BYTES = 1024 * 1024
_MAX_CACHED_BYTES = 16 * 1024 * 1024
# A filtered subscriber that lags further searches the index, as a list does, instead of reading every event.
_SEARCH_BEYOND_POSITIONS = 16 * _SEGMENT_POSITIONS
_SEARCH_EVENTS = 1000
# Each covers up to a thousand events.
_MAX_NOTICES = 32
# Memory that an event takes beside its bytes, and a segment beside its events.
_EVENT_OVERHEAD_BYTES = 200
_SEGMENT_OVERHEAD_BYTES = 2_000
_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Segment:
    """The events of a range of positions that match a filter."""

    through: int
    """Last position of the range."""
    events: Sequence[SerializedEvent]
    notices: Sequence[Notice]
    expired_position: int
    """Events up to here had possibly expired when the range was read."""
    size_bytes: int
    """Approximate memory that the segment takes."""
    rows: Sequence[StoredRow] = ()
    """The events as stored, kept only while other filters may select from them."""


def filter_key(wanted: v1.EventFilter) -> bytes:
    """Identifies a filter, which may be large; empty if it matches everything."""
    serialized = wanted.SerializeToString(deterministic=True)
    return blake2b(serialized, digest_size=_KEY_BYTES).digest() if serialized else b""


class _Key(NamedTuple):
    """Identifies a segment."""

    after: int
    through: int
    wanted: bytes = b""
    """The key of the filter; empty if the segment holds everything."""
    mask: Mask | None = None
    """What its events were masked with."""


class _Asked(NamedTuple):
    """What a subscriber asks for, wherever it is in the log."""

    account_id: str
    wanted: v1.EventFilter
    mask: Mask | None
    caller: Caller


class _Shared(NamedTuple):
    """A segment to come."""

    task: asyncio.Task[Segment]
    caller: Caller
    """In whose turn it is read."""


class Feed:
    """Reads segments, and caches the most recent ones for other subscribers. Lives on the event loop."""

    def __init__(self, *, readers: Readers, cursors: Cursors) -> None:
        self._readers = readers
        self._cursors = cursors
        self._segments: OrderedDict[_Key, _Shared] = OrderedDict()
        self._sizes: dict[_Key, int] = {}
        """Of the segments that have been read."""
        self._cached_bytes = 0
        self._subscriptions: Counter[bytes] = Counter()
        """By filter."""
        self._selected: defaultdict[bytes, set[_Key]] = defaultdict(set)
        """By filter, the segments that were selected from others."""

    @contextmanager
    def serving(self, wanted: bytes) -> Iterator[None]:
        """Keeps what the filter with a key selects while one of its subscriptions is open."""
        self._subscriptions[wanted] += 1
        try:
            yield
        finally:
            self._subscriptions[wanted] -= 1
            if not self._subscriptions[wanted]:
                del self._subscriptions[wanted]
                for key in list(self._selected[wanted]):
                    self._drop(key)
                self._selected.pop(wanted, None)

    async def read(  # noqa: PLR0913  # all but two are named at the call
        self,
        account_id: str,
        wanted: v1.EventFilter,
        *,
        after: int,
        tail: int,
        mask: Mask | None,
        caller: Caller,
    ) -> Segment:
        """The next segment after a position, at most up to `tail`, with events as a mask leaves them.

        It covers at least one position after `after`. Raises StoreUnavailableError, and DamagedEventsError
        if the events there cannot be read.
        """
        asked = _Asked(account_id, wanted, mask, caller)
        if wanted.ByteSize() and tail - after > _SEARCH_BEYOND_POSITIONS:
            return await self._readers.run(
                lambda reader: self._search(reader, asked, after, tail), caller=caller
            )
        start = after - after % _SEGMENT_POSITIONS
        end = min(start + _SEGMENT_POSITIONS, tail)
        try:
            segment = await self._segment(asked, start, end)
        except DamagedEventsError:
            if start == after:
                raise
            return await self._segment(asked, after, end)  # may be behind the damage
        if segment.through <= after:  # cut short by large events
            segment = await self._segment(asked, after, end)
        return segment

    async def notices(self, *, after: int, through: int, caller: Caller) -> Sequence[Notice]:
        """The notices in a range whose events cannot be read, up to a limit."""
        return await self._readers.run(
            lambda reader: reader.notices(after=after, through=through, max_notices=_MAX_NOTICES),
            caller=caller,
        )

    def evict(self) -> None:
        """Empties the cache, because events were erased or expired."""
        self._segments.clear()
        self._selected.clear()
        self._sizes.clear()
        self._cached_bytes = 0

    @property
    def cached_bytes(self) -> int:
        """Approximate memory of the cache."""
        return self._cached_bytes

    async def _segment(self, asked: _Asked, after: int, through: int) -> Segment:
        if not asked.wanted.ByteSize():
            return await self._scan_once(asked, after, through)
        key = _Key(after, through, filter_key(asked.wanted), asked.mask)
        return await self._once(key, lambda: self._select_from(asked, after, through), asked.caller)

    async def _scan_once(self, asked: _Asked, after: int, through: int) -> Segment:
        async def scan() -> Segment:
            return await self._readers.run(
                lambda reader: self._scan(reader, asked, after, through), caller=asked.caller
            )

        return await self._once(_Key(after, through, mask=asked.mask), scan, asked.caller)

    async def _select_from(self, asked: _Asked, after: int, through: int) -> Segment:
        whole = await self._scan_once(asked, after, through)
        return await self._readers.run(
            lambda reader: _select(reader, whole, asked.wanted), caller=asked.caller
        )

    async def _once(
        self, key: _Key, work: Callable[[], Coroutine[Any, Any, Segment]], caller: Caller
    ) -> Segment:
        """The result of the work, shared by all callers that ask for the same key while it is cached."""
        while True:
            shared = self._segments.get(key) or self._begin(key, work, caller)
            self._segments.move_to_end(key)
            try:
                return await asyncio.shield(shared.task)  # a caller that goes away must not cancel it
            except OverloadedError:  # the caller in whose turn it is read has too much under way
                if shared.caller == caller:
                    raise
                self._keep(key, shared)  # drops it, if its callback has not yet: it would fail at once again

    def _begin(self, key: _Key, work: Callable[[], Coroutine[Any, Any, Segment]], caller: Caller) -> _Shared:
        """Starts the work, in the turn of its caller."""
        task = asyncio.create_task(work(), name="feed")
        shared = self._segments[key] = _Shared(task, caller)
        if key.wanted:
            self._selected[key.wanted].add(key)
        task.add_done_callback(lambda _: self._keep(key, shared))
        return shared

    def _keep(self, key: _Key, shared: _Shared) -> None:
        """Keeps a segment that has been read; drops one that could not be."""
        task = shared.task
        failed = task.cancelled() or task.exception() is not None
        if self._segments.get(key) is not shared:  # evicted meanwhile
            return
        if failed:
            del self._segments[key]
            self._selected[key.wanted].discard(key)
            return
        self._sizes[key] = task.result().size_bytes
        self._cached_bytes += self._sizes[key]
        while self._cached_bytes > _MAX_CACHED_BYTES:
            self._drop(next(each for each in self._segments if each in self._sizes))

    def _drop(self, key: _Key) -> None:
        """Drops a segment from the cache."""
        del self._segments[key]
        self._selected[key.wanted].discard(key)
        self._cached_bytes -= self._sizes.pop(key, 0)

    # The rest runs on reader threads.

    def _scan(self, reader: Reader, asked: _Asked, after: int, through: int) -> Segment:
        rows = reader.scan(after=after, through=through, max_bytes=_SEGMENT_BYTES)
        covered = through if rows.is_complete else rows.rows[-1].position
        return self._as_segment(reader, asked, rows.rows, after=after, through=covered, keep_rows=True)

    def _search(self, reader: Reader, asked: _Asked, after: int, tail: int) -> Segment:
        page = reader.row_page(
            PageQuery(
                account_id=asked.account_id,
                wanted=asked.wanted,
                after_position=after,
                newest_first=False,
                max_events=_SEARCH_EVENTS,
                max_bytes=_SEGMENT_BYTES,
                max_seconds=STEP_SECONDS,
            )
        )
        through = tail if page.next_position is None else min(tail, page.next_position)
        rows = [row for row in page.rows if row.position <= through]
        return self._as_segment(reader, asked, rows, after=after, through=through, keep_rows=False)

    def _as_segment(  # noqa: PLR0913  # all but three are named at the call
        self,
        reader: Reader,
        asked: _Asked,
        rows: Sequence[StoredRow],
        *,
        after: int,
        through: int,
        keep_rows: bool,
    ) -> Segment:
        notices = reader.notices(after=after, through=through, max_notices=_MAX_NOTICES)
        if len(notices) == _MAX_NOTICES:  # the next segment starts after the last of them
            through = notices[-1].position
            rows = [row for row in rows if row.position <= through]
        events = serialized_events(rows, cursors=self._cursors, mask=asked.mask)
        # Read last, so that it covers every expiry that the rows may lack events to.
        bounds = reader.bounds(asked.account_id)
        expired_position = 0 if bounds is None else bounds.expired_position
        size_bytes = _SEGMENT_OVERHEAD_BYTES + (1 + keep_rows) * sum(
            [len(event.serialized) + _EVENT_OVERHEAD_BYTES for event in events]
        )
        return Segment(through, events, notices, expired_position, size_bytes, rows if keep_rows else ())


def _select(reader: Reader, whole: Segment, wanted: v1.EventFilter) -> Segment:
    matches = reader.predicate(wanted).matches
    events = [event for event, row in zip(whole.events, whole.rows, strict=True) if matches(row)]
    # The bytes of the events are shared with the whole.
    size_bytes = _SEGMENT_OVERHEAD_BYTES + _EVENT_OVERHEAD_BYTES * len(events)
    return replace(whole, events=events, size_bytes=size_bytes, rows=())
