"""Operations that wait for a commit: by kind, in turn, and bounded."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from engagement_server.governor.turns import Caller, Room, Turns
from engagement_server.operations import (
    AbandonUpload,
    CommitChunk,
    CompleteErasure,
    EraseEvents,
    ExpireEvents,
    ExpireUploads,
    FinishUpload,
    OpenUpload,
    RecordBatch,
    SaveProfile,
)
from engagement_server.telemetry.spans import current_span

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from engagement_server.operations import Operation, Result
    from engagement_server.telemetry.spans import Span

COMMIT_MICROSECONDS: Final = 30_000
"""How long a commit should take at most: enough to share an fsync, and short enough to wait for."""
CALLS_MICROSECONDS: Final = 8_000
"""The same for the calls of a commit, of which many share an fsync."""
BUSY_COMMIT_MICROSECONDS: Final = 4_500
"""The same for uploads while calls come: each waits for the commit before its own. It is about a chunk."""
_BUSY_SECONDS: Final = 1.0
_OPERATION_BYTES: Final = 256
# Measured on the slower of the machines at hand; their ratio matters more than their size.
_OPERATION_MICROSECONDS: Final = 50.0
_EVENT_MICROSECONDS: Final = 8.0
_BYTE_MICROSECONDS: Final = 0.006
_STEP_MICROSECONDS: Final = 10_000.0
_PAUSE_FACTOR: Final = 3.0


class Lane(IntEnum):
    """A kind of work."""

    CALLS = 0
    """A caller waits for it, and is refused if there is no room."""
    UPLOADS = 1
    """Its stream waits until there is room."""
    BACKGROUND = 2
    """No caller waits for it, or only for the whole of it: removal, and what makes reading faster."""


_LANES: Final = {
    OpenUpload: Lane.UPLOADS,
    CommitChunk: Lane.UPLOADS,
    FinishUpload: Lane.UPLOADS,
    AbandonUpload: Lane.UPLOADS,
    EraseEvents: Lane.BACKGROUND,
    CompleteErasure: Lane.BACKGROUND,
    ExpireEvents: Lane.BACKGROUND,
    ExpireUploads: Lane.BACKGROUND,
    SaveProfile: Lane.BACKGROUND,
}
LANES: Final = tuple(Lane)
_MAX_BACKGROUND_BYTES: Final = 64 * 1024 * 1024

Future: TypeAlias = "asyncio.Future[Result]"


def lane_of(operation: Operation) -> Lane:
    """The lane of an operation."""
    return _LANES.get(type(operation), Lane.CALLS)


class Waiting(NamedTuple):
    """Operations that are committed together, in order: usually one."""

    operations: Sequence[Operation]
    results: Sequence[Future]
    caller: Caller
    lane: Lane
    """The lane of the first."""
    size_bytes: int
    microseconds: float
    """Processor time that committing them should take."""
    on_enqueued: Callable[[], None] | None = None
    """Called as they are enqueued."""
    origin: Span | None = None
    """What they are a part of, if that is traced."""


class Group(NamedTuple):
    """The operations of one commit, with their results to come."""

    operations: Sequence[Operation]
    results: Sequence[Future]
    has_background: bool
    origins: Sequence[Span] = ()
    """What is traced of that which they are a part of."""


def waiting(
    operations: Sequence[Operation], caller: Caller, on_enqueued: Callable[[], None] | None = None
) -> Waiting:
    """Operations with their size and their estimated cost."""
    loop = asyncio.get_running_loop()
    size_bytes, microseconds = 0, 0.0
    for operation in operations:
        size_bytes += _OPERATION_BYTES
        microseconds += _OPERATION_MICROSECONDS
        if isinstance(operation, RecordBatch | CommitChunk):
            batch = operation.batch
            batch_bytes = batch.size_bytes
            size_bytes += batch_bytes
            microseconds += _EVENT_MICROSECONDS * (len(batch.records) + len(batch.rejections))
            microseconds += _BYTE_MICROSECONDS * batch_bytes
        elif lane_of(operation) is Lane.BACKGROUND:
            microseconds += _STEP_MICROSECONDS
    results = [loop.create_future() for _ in operations]
    lane = lane_of(operations[0])
    return Waiting(
        operations, results, caller, lane, size_bytes, microseconds, on_enqueued, current_span.get()
    )


@dataclass(slots=True, eq=False)
class _Outside:
    """Operations that there was no room for."""

    entry: Waiting
    inside: asyncio.Future[None]
    """Done once they are enqueued."""


class _LaneQueue:
    """The operations of one lane."""

    def __init__(self, max_bytes: int) -> None:
        self.turns: Turns[Waiting] = Turns()
        self.room = Room(max_bytes)
        self._outside: Turns[_Outside] = Turns()

    def enqueue(self, entry: Waiting) -> None:
        self.turns.append(entry.caller, entry)
        self.room.take(entry.caller, entry.size_bytes)
        if entry.on_enqueued is not None:
            entry.on_enqueued()

    async def enqueue_in_turn(self, entry: Waiting) -> None:
        if not self._outside and self.room.is_free_for(entry.caller):
            self.enqueue(entry)
            return
        outside = _Outside(entry, asyncio.get_running_loop().create_future())
        self._outside.append(entry.caller, outside)
        try:
            await asyncio.shield(outside.inside)  # pending until `let_in`, even if the caller is cancelled
        finally:
            if not outside.inside.done():
                self._outside.remove(entry.caller, outside)

    def take(self) -> Waiting:
        entry = self.turns.popleft()
        self.room.give_back(entry.caller, entry.size_bytes)
        return entry

    def let_in(self) -> None:
        """Enqueues those outside that there is room for now."""
        for outside in self._outside.pop_while(self.room.is_free_for):
            outside.inside.set_result(None)
            self.enqueue(outside.entry)


class WaitingOperations:
    """All operations that wait, and which of them go into the next commit."""

    def __init__(self, *, max_call_bytes: int, max_upload_bytes: int, are_joined: bool = False) -> None:
        """If commits `are_joined` with those of others into larger ones, they are always small."""
        self._are_joined = are_joined
        self._lanes = {
            Lane.CALLS: _LaneQueue(max_call_bytes),
            Lane.UPLOADS: _LaneQueue(max_upload_bytes),
            Lane.BACKGROUND: _LaneQueue(_MAX_BACKGROUND_BYTES),
        }
        self._background_from = 0.0
        """When background work may have a part of a commit again, by the monotonic clock."""
        self._busy_until = 0.0
        """How long calls are expected to come, by the monotonic clock."""

    def has_any(self, lanes: Collection[Lane] = LANES) -> bool:
        """Whether an operation of these lanes waits."""
        return any(self._lanes[lane].turns for lane in lanes)

    def waiting_bytes(self, lanes: Collection[Lane]) -> int:
        """Bytes of the operations of these lanes that wait."""
        return sum(self._lanes[lane].room.used_bytes for lane in lanes)

    def has_room(self, entry: Waiting) -> bool:
        """Whether there is room for an operation."""
        return self._lanes[entry.lane].room.is_free_for(entry.caller)

    def enqueue(self, entry: Waiting) -> None:
        """Appends an operation."""
        self._lanes[entry.lane].enqueue(entry)

    async def enqueue_in_turn(self, entry: Waiting) -> None:
        """Appends an operation once there is room."""
        await self._lanes[entry.lane].enqueue_in_turn(entry)

    def take_group(self, lanes: Collection[Lane]) -> Group:
        """Removes what is committed next: calls first, but at least a quarter of the time for uploads.

        Background work comes last: alone, or in its time.
        """
        now = time.monotonic()
        if self._lanes[Lane.CALLS].turns:
            self._busy_until = now + _BUSY_SECONDS
        is_small = self._are_joined or now < self._busy_until
        limit = BUSY_COMMIT_MICROSECONDS if is_small else COMMIT_MICROSECONDS
        entries: list[Waiting] = []
        has_uploads = Lane.UPLOADS in lanes and bool(self._lanes[Lane.UPLOADS].turns)
        spent = 0.0
        if Lane.CALLS in lanes:
            spent = self._take(Lane.CALLS, entries, CALLS_MICROSECONDS)
        if has_uploads:
            self._take(Lane.UPLOADS, entries, max(limit - spent, spent / 3))  # a quarter of both
        has_background = False
        if Lane.BACKGROUND in lanes and self._lanes[Lane.BACKGROUND].turns:
            is_due = now >= self._background_from
            has_background = is_due or not entries
            if has_background:
                # One step, unless all is quiet: the next caller waits for it.
                self._take(Lane.BACKGROUND, entries, limit if is_due and not entries else 1.0)
        for lane in lanes:
            self._lanes[lane].let_in()
        operations = [operation for entry in entries for operation in entry.operations]
        results = [result for entry in entries for result in entry.results]
        origins = [entry.origin for entry in entries if entry.origin is not None]
        return Group(operations, results, has_background, origins)

    def note_background(self, seconds: float) -> None:
        """Notes how long a commit with background work took: others come first for a while."""
        self._background_from = time.monotonic() + _PAUSE_FACTOR * seconds

    def _take(self, lane: Lane, entries: list[Waiting], microseconds: float) -> float:
        """Takes operations of a lane for that long, or one that takes longer; returns how long they take."""
        spent = 0.0
        while self._lanes[lane].turns and spent < microseconds:
            entry = self._lanes[lane].take()
            entries.append(entry)
            spent += entry.microseconds
        return spent
