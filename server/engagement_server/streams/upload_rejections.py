"""Puts the rejected events of an upload stream into the record, once their chunks are committed."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

from engagement import v1
from engagement_server.metrics.rejected_events import describe
from engagement_server.metrics.rejections import MAX_RECENT
from engagement_server.model import Outcome
from engagement_server.operations import ChunkCommitted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from engagement_server.metrics.rejected_events import RejectedEvent
    from engagement_server.metrics.rejections import Rejections
    from engagement_server.model import Batch
    from engagement_server.operations import Result

_METHOD = "UploadEvents"


class UploadRejections:
    """The rejected events of one stream. A chunk that is sent again does not count."""

    def __init__(self, rejections: Rejections, *, account_id: str, committed_through: int) -> None:
        self._rejections = rejections
        self._account_id = account_id
        self._noted_through = committed_through

    def watch(
        self, committing: asyncio.Future[Result], batch: Batch, invalid: Mapping[int, RejectedEvent]
    ) -> asyncio.Future[Result]:
        """Notes the rejected events of a chunk when it is committed, even if the stream has ended by then.

        Returns a future for the stream to wait for and to cancel.
        """
        committing.add_done_callback(partial(self._note, batch, invalid))
        return asyncio.shield(committing)

    def _note(
        self, batch: Batch, invalid: Mapping[int, RejectedEvent], committing: asyncio.Future[Result]
    ) -> None:
        if committing.cancelled() or committing.exception() is not None:
            return
        chunk = committing.result()
        if not isinstance(chunk, ChunkCommitted) or chunk.sequence <= self._noted_through:
            return
        self._noted_through = chunk.sequence
        rejected = {
            verdict.index: verdict.error
            for verdict in chunk.not_accepted
            if verdict.outcome == Outcome.REJECTED
        }
        if not rejected:
            return
        alike = Counter([id(invalid[index]) for index in sorted(rejected.keys() & invalid.keys())])
        described = {id(event): event for event in invalid.values()}
        for each, events in alike.items():
            self._rejections.note(self._account_id, _METHOD, described[each], events=events)
        if not rejected.keys() <= invalid.keys():  # others were valid, but cannot be stored
            self._note_valid(batch, rejected)

    def _note_valid(self, batch: Batch, rejected: Mapping[int, bytes]) -> None:
        for index, record in zip(batch.indexes, batch.records, strict=True):
            if index in rejected:
                event, error = v1.Event.FromString(record.payload), v1.EventError.FromString(rejected[index])
                self._rejections.note(self._account_id, _METHOD, describe(event, error))


def describe_invalid(batch: Batch, events: Sequence[v1.Event]) -> Mapping[int, RejectedEvent]:
    """Describes the invalid events of a chunk by their indexes; `events` are all that it holds.

    Those that stay among the recent ones are described one by one. Others share what they have in common,
    since a chunk may hold hundreds, and no call is served meanwhile.
    """
    shared: dict[tuple[str, bytes], RejectedEvent] = {}
    described: dict[int, RejectedEvent] = {}
    last = batch.rejections[-MAX_RECENT:]
    for rejection in batch.rejections[:-MAX_RECENT]:
        event, error = events[rejection.index], rejection.error
        known = shared.get((event.source, error))
        if known is None:
            known = shared[event.source, error] = describe(event, v1.EventError.FromString(error))
        described[rejection.index] = known
    for rejection in last:
        event = events[rejection.index]
        described[rejection.index] = describe(event, v1.EventError.FromString(rejection.error))
    return described
