"""Commits on a disk that is full: expiry and erasure get the reserve, everything else is refused."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeVar

from engagement_server.errors import StoreUnavailableError
from engagement_server.operations import (
    AbandonUpload,
    BeginErasure,
    Commit,
    CompleteErasure,
    EraseEvents,
    ExpireEvents,
    ExpireUploads,
    HoldExpiry,
    ReleaseExpiry,
    SetRetention,
)
from engagement_server.supervision import call_all

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from engagement_server.log.base import RoomCallback
    from engagement_server.log_entries import LogEntry
    from engagement_server.operations import Applied, Operation
    from engagement_server.store.reserve import Reserve
    from engagement_server.store.writer import Writer

T = TypeVar("T")

_REMOVALS = (
    AbandonUpload,
    BeginErasure,
    CompleteErasure,
    EraseEvents,
    ExpireEvents,
    ExpireUploads,
    HoldExpiry,
    ReleaseExpiry,
    SetRetention,
)
_FULL = "disk full"

_log = logging.getLogger(__name__)


class DiskRoom:
    """Whether a log has room for events, for whoever wants to know when that changes."""

    def __init__(self, reserve: Reserve | None) -> None:
        self._reserve = reserve
        self._was_full = False
        self._callbacks: list[RoomCallback] = []

    @property
    def is_full(self) -> bool:
        """See `CommitLog.is_full`."""
        return self._reserve is not None and self._reserve.is_full

    def watch(self, callback: RoomCallback) -> None:
        """See `CommitLog.watch_room`."""
        self._callbacks.append(callback)

    async def look(self, run: Callable[[Callable[[Writer], None]], Awaitable[None]]) -> None:
        """See `CommitLog.look_for_room`; `run` runs a function on the writer's thread."""
        reserve = self._reserve
        if reserve is not None and reserve.is_full:
            await run(lambda writer: _look_for_room(writer, reserve))
        if self.is_full == self._was_full:
            return
        self._was_full = self.is_full
        if self._was_full:
            _log.warning("the disk is full: no event is accepted until there is room")
        else:
            _log.info("the disk has room: events are accepted")
        call_all("disk-room", self._callbacks, self._was_full)


def is_removal(operation: Operation) -> bool:
    """Whether an operation makes room, or decides what does."""
    return isinstance(operation, _REMOVALS)


def apply_with_reserve(writer: Writer, commit: Commit, reserve: Reserve | None) -> Applied:
    """Applies a commit; what needs room while there is none gets StoreUnavailableError as its result.

    Raises StoreUnavailableError if nothing could be applied.
    """
    _update(reserve, writer)
    if reserve is not None and reserve.is_low:
        return _apply_removals(writer, commit, reserve)
    try:
        applied = _with_free_log(writer, lambda: writer.apply(commit))
    except StoreUnavailableError as error:
        if reserve is not None and error.is_full:
            reserve.note_full()
        has_removals = any(map(is_removal, commit.operations))
        if reserve is None or not error.is_full or not has_removals or not reserve.give_up():
            raise
        writer.free_log()  # the file grows by what the log holds, before anything else takes the room
        return _apply_removals(writer, commit, reserve)
    if reserve is not None and reserve.is_full and not all(map(is_removal, commit.operations)):
        reserve.note_room()
    return applied


def apply_entries_with_reserve(
    writer: Writer, entries: Sequence[LogEntry], reserve: Reserve | None
) -> list[Applied | None]:
    """Applies entries of a log, with the reserve if need be: none can be left out.

    Raises StoreUnavailableError.
    """
    _update(reserve, writer)
    try:
        return _with_free_log(writer, lambda: writer.apply_entries(entries))
    except StoreUnavailableError as error:
        if reserve is not None and error.is_full:
            reserve.note_full()
        if reserve is None or not error.is_full or not reserve.give_up():
            raise
        writer.free_log()
        return writer.apply_entries(entries)


def _update(reserve: Reserve | None, writer: Writer) -> None:
    """Decides whether there is room again after the reserve was given up."""
    if reserve is None or reserve.is_whole:
        return
    if reserve.is_low:
        writer.free_log()  # it takes room that nothing else can use
    reserve.update(free_page_bytes=writer.free_page_bytes)


def _look_for_room(writer: Writer, reserve: Reserve) -> None:
    """Decides whether there is room again although no commit came."""
    _update(reserve, writer)
    reserve.look_for_room(free_page_bytes=writer.free_page_bytes)


def _with_free_log(writer: Writer, apply: Callable[[], T]) -> T:
    """Applies something, once more with a free write-ahead log if the disk is full."""
    try:
        return apply()
    except StoreUnavailableError as error:
        if not error.is_full:
            raise
        writer.free_log()
        return apply()


def require_room(operations: Sequence[Operation], reserve: Reserve | None) -> None:
    """Raises StoreUnavailableError if one of the operations needs room and there is none."""
    if reserve is not None and reserve.is_low and not all(map(is_removal, operations)):
        raise StoreUnavailableError(_FULL)


def _apply_removals(writer: Writer, commit: Commit, reserve: Reserve) -> Applied:
    removals = [operation for operation in commit.operations if is_removal(operation)]
    if not removals:
        raise StoreUnavailableError(_FULL)
    fewer = Commit(removals, commit.time_ms)
    applied = _with_free_log(writer, lambda: writer.apply(fewer))
    _update(reserve, writer)  # the next removal may be minutes away
    results = iter(applied.results)
    return applied._replace(
        results=[
            next(results) if is_removal(operation) else StoreUnavailableError(_FULL)
            for operation in commit.operations
        ]
    )
