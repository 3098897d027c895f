"""The books of one upload: unacknowledged chunks, totals, and the reports to the caller."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING

from engagement import v1

if TYPE_CHECKING:
    from engagement.upload.chunking import Chunk


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of an upload, counted in events of its source."""

    sent: int
    """Events handed to the connection, in this run or an earlier one."""
    acknowledged: int
    """Events with an outcome: the sum of the tally."""
    tally: v1.Tally
    reconnects: int


@dataclass(frozen=True, slots=True)
class RejectedEvent:
    """An event that was rejected."""

    position: int
    """Position in the source, from 0."""
    event: v1.Event
    """The event as sent."""
    error: v1.EventError


@dataclass(frozen=True, slots=True)
class UploadSummary:
    """A finished upload."""

    upload_id: str
    tally: v1.Tally
    """Totals of the whole upload, including earlier runs and events that the client itself rejected."""
    reconnects: int
    events: int
    """Events of the whole upload; each has one of the tally's outcomes."""
    skipped_events: int
    """Events of the source that an earlier run had committed. If there are any,
    `EngagementClient.upload_rejections` has all rejections of the server."""
    resumed_by_count: bool
    """Whether these events were skipped by their number and not compared, because the earlier run sent no
    digest of its source."""
    erased: int
    """Duplicates in this run of events that were erased: they are not stored, and stay erased."""


OnProgress = Callable[[Progress], None]
OnRejection = Callable[[RejectedEvent], None]
CountUnreadable = Callable[[], int]


def total(tally: v1.Tally) -> int:
    """The number of events in a tally."""
    return tally.accepted + tally.duplicate + tally.rejected + tally.suppressed


class UploadLedger:
    """Keeps the chunks that are not known to be committed, and reports outcomes to the caller.

    Each rejection is reported once, with the event's position in the source, whatever connections are lost.
    """

    def __init__(
        self,
        *,
        on_progress: OnProgress | None,
        on_rejection: OnRejection | None,
        count_unreadable: CountUnreadable | None = None,
    ) -> None:
        self._on_progress = on_progress
        self._on_rejection = on_rejection
        self._count_unreadable = count_unreadable
        self.unacked: deque[Chunk] = deque()
        """Chunks to resend after a lost connection; the stream bounds their number."""
        self.committed_through = 0
        self.skipped_events = 0
        self.resumed_by_count = False
        self._erased = 0
        self.is_finished = False
        self.finish: v1.UploadEventsRequest.Finish | None = None
        """The end of the upload, once it is about to be sent."""
        self._source: v1.SourceDigest | None = None
        self._tally = v1.Tally()
        self._sent = 0
        self._rejected_here = 0
        self._reconnects = 0

    def resume(self, committed: v1.SourceDigest | None) -> int:
        """Starts after the events that an earlier run committed.

        Returns how many events to skip by their number, if that run sent no digest of its source.
        """
        self._source = committed
        self._sent = self.skipped_events = total(self._tally) if committed is None else committed.events
        self.resumed_by_count = committed is None and self.skipped_events > 0
        return self.skipped_events if self.resumed_by_count else 0

    def is_own_progress(self, opened: v1.UploadEventsResponse.Opened) -> bool:
        """Whether a reopened upload is where this run has brought it, and not another one."""
        source = self._source
        for chunk in self.unacked:
            if chunk.sequence <= opened.committed_through:
                source = chunk.source
        last = self.unacked[-1].sequence if self.unacked else self.committed_through
        if opened.committed_through > last:
            return False
        is_end = self.finish is not None and opened.source == self.finish.source
        return source is None or not opened.HasField("source") or opened.source == source or is_end

    def add(self, chunk: Chunk) -> None:
        """Notes a chunk that is about to be sent."""
        self.unacked.append(chunk)
        self._sent = chunk.end_position

    def acknowledge(self, ack: v1.UploadEventsResponse.Ack) -> bool:
        """Applies an ack; returns whether the upload advances or has nothing left to wait for."""
        has_advanced = ack.committed_through > self.committed_through
        self._settle(ack.committed_through, ack.tally, ack.results)
        return has_advanced or not self.unacked

    def misses_rejections(self, upload: v1.Upload) -> bool:
        """Whether rejections of unacknowledged chunks are missing."""
        return bool(self._on_rejection and self.unacked and upload.tally.rejected > self._tally.rejected)

    def catch_up(self, upload: v1.Upload, missed: Iterable[v1.UploadResult]) -> None:
        """Applies the state of the upload, with the rejections that were missing."""
        self._settle(upload.committed_through, upload.tally, missed)
        self.is_finished = upload.state == v1.Upload.STATE_FINISHED

    def reject(self, position: int, event: v1.Event, error: v1.EventError) -> None:
        """Reports an event that cannot be sent at all."""
        self._rejected_here += 1
        self._report(RejectedEvent(position, event, error))

    @property
    def unreadable(self) -> int:
        """Number of pieces of the source that were not sent: unreadable ones, events that are too large."""
        return self._rejected_here + (0 if self._count_unreadable is None else self._count_unreadable())

    def note_reconnect(self) -> None:
        """Counts a lost connection."""
        self._reconnects += 1
        self._report_progress()

    def summarize(self, upload_id: str) -> UploadSummary:
        """The summary of the finished upload."""
        tally = self._full_tally()
        return UploadSummary(
            upload_id,
            tally,
            self._reconnects,
            total(tally),
            self.skipped_events,
            self.resumed_by_count,
            self._erased,
        )

    def _settle(self, committed_through: int, tally: v1.Tally, results: Iterable[v1.UploadResult]) -> None:
        self._take(results)
        self.committed_through = committed_through
        self._tally = tally
        while self.unacked and self.unacked[0].sequence <= committed_through:
            self._source = self.unacked.popleft().source
        self._report_progress()

    def _take(self, results: Iterable[v1.UploadResult]) -> None:
        """Reports rejections and counts erased events, each once."""
        told = [item for item in results if _is_rejected(item.result) or _is_erased(item.result)]
        if not told:
            return
        chunks = {chunk.sequence: chunk for chunk in self.unacked}
        # Results come in the order of their chunks.
        for sequence, items in groupby(told, key=attrgetter("chunk_sequence")):
            chunk = chunks.get(sequence)
            if chunk is None:
                continue
            # A lost connection can split the results of a chunk; then all of them are sent again.
            fresh = [item.result for item in items if item.result.index not in chunk.reported]
            chunk.reported.update(result.index for result in fresh)
            rejected = [result for result in fresh if _is_rejected(result)]
            self._erased += len(fresh) - len(rejected)
            if rejected and self._on_rejection is not None:
                events = chunk.events()
                for result in rejected:
                    position = chunk.first_position + result.index
                    self._report(RejectedEvent(position, events[result.index], result.error))

    def _report(self, rejected: RejectedEvent) -> None:
        if self._on_rejection is not None:
            # Copied, because a submessage keeps its whole message in memory.
            event, error = v1.Event(), v1.EventError()
            event.CopyFrom(rejected.event)
            error.CopyFrom(rejected.error)
            self._on_rejection(RejectedEvent(rejected.position, event, error))

    def _report_progress(self) -> None:
        if self._on_progress is not None:
            tally = self._full_tally()
            self._on_progress(Progress(self._sent, total(tally), tally, self._reconnects))

    def _full_tally(self) -> v1.Tally:
        tally = v1.Tally()
        tally.CopyFrom(self._tally)
        tally.rejected += self._rejected_here
        return tally


def _is_rejected(result: v1.EventResult) -> bool:
    return result.outcome == v1.Outcome.OUTCOME_REJECTED


def _is_erased(result: v1.EventResult) -> bool:
    """Whether an event with this id was erased."""
    return result.outcome == v1.Outcome.OUTCOME_DUPLICATE and not result.cursor
