"""Counts what commits store and how long they take, in the process that owns the log."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from engagement_server.metrics.catalogue import COMMIT_EVENTS, COMMIT_SECONDS, EVENTS
from engagement_server.model import Outcome
from engagement_server.operations import ChunkCommitted, CommitChunk, FinishUpload, RecordBatch, Recorded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engagement_server.errors import RequestError
    from engagement_server.metrics.measures import Measures
    from engagement_server.operations import Operation, Result

_MAX_UPLOADS: Final = 10_000
"""Uploads whose last chunk is known, so that it does not count again if it is sent again."""


class CommitCounts:
    """The counts of all commits of one process.

    Rejected events are not among them: those that are found before a commit are never part of one.
    """

    def __init__(self, measures: Measures) -> None:
        self._seconds = measures.histogram(COMMIT_SECONDS)
        self._events = measures.histogram(COMMIT_EVENTS)
        self._accepted = measures.count(EVENTS, "accepted")
        self._duplicate = measures.count(EVENTS, "duplicate")
        self._suppressed = measures.count(EVENTS, "suppressed")
        self._counted_through: OrderedDict[tuple[str, str], int] = OrderedDict()
        """The last chunk that was counted, by account and upload."""

    def note(
        self,
        operations: Sequence[Operation],
        results: Sequence[Result | RequestError],
        *,
        seconds: float,
        trace_id: str = "",
    ) -> None:
        """Counts a commit; `trace_id` is empty if it is not traced."""
        events = 0
        for operation, result in zip(operations, results, strict=True):
            if isinstance(operation, RecordBatch):
                events += len(operation.batch.records)
                if isinstance(result, Recorded):
                    self._count(result)
            elif isinstance(operation, CommitChunk):
                events += len(operation.batch.records)
                if isinstance(result, ChunkCommitted):
                    self._count_chunk(operation, result)
            elif isinstance(operation, FinishUpload):
                self._counted_through.pop((operation.account_id, operation.upload_id), None)
        self._seconds.observe(seconds, trace_id=trace_id)
        self._events.observe(events)

    def _count(self, recorded: Recorded) -> None:
        outcomes = [verdict.outcome for verdict in recorded.verdicts]
        self._add(outcomes, accepted=outcomes.count(Outcome.ACCEPTED))

    def _count_chunk(self, chunk: CommitChunk, committed: ChunkCommitted) -> None:
        key = chunk.account_id, chunk.upload_id
        if committed.sequence < committed.committed_through:
            return  # it is sent again
        if self._counted_through.get(key, 0) >= committed.sequence:
            return
        self._counted_through[key] = committed.sequence
        self._counted_through.move_to_end(key)
        if len(self._counted_through) > _MAX_UPLOADS:
            self._counted_through.popitem(last=False)
        outcomes = [verdict.outcome for verdict in committed.not_accepted]
        total = len(chunk.batch.records) + len(chunk.batch.rejections)
        self._add(outcomes, accepted=total - len(outcomes))

    def _add(self, outcomes: list[Outcome], *, accepted: int) -> None:
        self._accepted.value += accepted
        self._duplicate.value += outcomes.count(Outcome.DUPLICATE)
        self._suppressed.value += outcomes.count(Outcome.SUPPRESSED)
