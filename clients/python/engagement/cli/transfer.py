"""Transfers events from a subscription to the unfinished file of an export."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from engagement import v1
from engagement.cli.export_format import ExportFormat
from engagement.cli.outage import OutageReport
from engagement.cli.part_file import Mark, PartFile
from engagement.client import EngagementClient
from engagement.errors import EngagementError, OnDamage
from engagement.follow import EventBatch

_BATCH_EVENTS: Final = 1000
# A block is written at this number of events, of batches, which bound its bytes, or at this age.
_BLOCK_EVENTS: Final = 4000
_BLOCK_BATCHES: Final = 16
_BLOCK_SECONDS: Final = 1.0
_MAX_ERASED_CURSORS: Final = 100_000


class ErasedMeanwhileError(Exception):
    """The part holds events that have been erased since they were written."""

    def __init__(self, events: int) -> None:
        super().__init__(f"{events} events were erased")
        self.events = events


class Transfer:
    """Appends all stored events after the mark of a part that match a filter.

    Events are collected in memory into blocks. However it ends, the export can be resumed at the mark.
    """

    def __init__(
        self,
        part: PartFile,
        format: ExportFormat,  # noqa: A002 - the field's own term
        *,
        wanted: v1.EventFilter,
        on_progress: Callable[[int, int], None],
        on_damage: OnDamage | None = None,
    ) -> None:
        """`on_progress` receives the number of events in the part, and at most how many remain."""
        self._part = part
        self._format = format
        self._wanted = wanted
        self._on_progress = on_progress
        self._on_damage = on_damage
        self._leaves_out_damage = part.mark.leaves_out_damage
        self._held: list[Sequence[v1.StoredEvent]] = []
        self._held_events = 0
        self._held_since = 0.0
        self._erased = set(part.mark.erased_cursors)

    async def run(self, client: EngagementClient) -> None:
        """Transfers all events. Raises ErasedMeanwhileError, OSError and EngagementError."""
        cursor = self._part.mark.cursor
        if not cursor:
            self._part.append(self._format.begin(), mark=Mark())
        outage = OutageReport()
        follower = client.follow(
            self._wanted,
            after_cursor=cursor or None,
            earliest=not cursor,
            stop_at_tail=True,
            max_batch_events=_BATCH_EVENTS,
            on_erasure=self._note_erasure,
            on_reconnect=outage.begin,
            on_connected=outage.end,
            on_damage=self._leave_out if self._on_damage else None,
        )
        async with follower:
            try:
                async for batch in follower.batches():
                    self._hold(batch)
                    self._on_progress(self._part.mark.events + self._held_events, follower.lag_events)
            except (EngagementError, asyncio.CancelledError):
                self._save(follower.cursor)
                raise
            self._save(follower.cursor)
        self._check_erased()

    def _hold(self, batch: EventBatch) -> None:
        now = asyncio.get_running_loop().time()
        if not self._held:
            self._held_since = now
        self._held.append(batch.events)
        self._held_events += len(batch.events)
        if (
            self._held_events >= _BLOCK_EVENTS
            or len(self._held) == _BLOCK_BATCHES
            or now >= self._held_since + _BLOCK_SECONDS
        ):
            self._write(batch.cursor)

    def _write(self, cursor: str) -> None:
        """Writes the held events, which the cursor covers."""
        events = [stored for batch in self._held for stored in batch]
        mark = Mark(
            cursor=cursor,
            events=self._part.mark.events + len(events),
            erased_cursors=tuple(self._erased),
            leaves_out_damage=self._leaves_out_damage,
        )
        self._part.append(self._format.encode(events) if events else b"", mark=mark)
        self._held.clear()
        self._held_events = 0

    def _save(self, cursor: str) -> None:
        if cursor:
            self._write(cursor)
            self._part.checkpoint()

    def _leave_out(self, error: EngagementError) -> None:
        assert self._on_damage is not None
        self._leaves_out_damage = True
        self._on_damage(error)

    def _note_erasure(self, notice: v1.SubscribeEventsResponse.ErasureNotice) -> None:
        self._erased.update(notice.erased_cursors)
        if len(self._erased) > _MAX_ERASED_CURSORS:
            self._check_erased()

    def _check_erased(self) -> None:
        """Raises ErasedMeanwhileError if the part or the held events have been erased."""
        if not self._erased:
            return
        held = (stored.cursor for batch in self._held for stored in batch)
        found = sum(cursor in self._erased for cursor in held)
        found += sum(cursor in self._erased for cursor in self._format.read_cursors(self._part.path))
        if found:
            raise ErasedMeanwhileError(found)
        self._erased.clear()
