"""Ends an upload that has brought nothing but rejected events.

See docs/decisions/0045-work-is-bounded-before-it-is-done.md.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from engagement.limits import MAX_REJECTIONS_WITHOUT_SUCCESS
from engagement_server.errors import UploadAllRejectedError

if TYPE_CHECKING:
    from engagement_server.model import UploadState
    from engagement_server.operations import ChunkCommitted, CommitChunk


class RejectionGuard:
    """Watches one stream of an upload. What is committed decides, so that it is the same on every node."""

    def __init__(self, state: UploadState, *, keeps_going: bool) -> None:
        self._upload_id = state.upload_id
        self._keeps_going = keeps_going
        self._committed_through, self._tally = state.committed_through, state.tally
        self._sent_events = state.tally.total
        self._unacked_chunks = 0
        self._has_acked = asyncio.Event()
        self._opened_through = state.committed_through
        self._first_rejected = state.tally.rejected
        self.has_tripped = False
        """Whether the stream is to end: nothing more is read, and what was read is acked."""

    def send(self, chunk: CommitChunk) -> None:
        """Notes a chunk that is about to be committed."""
        self._sent_events += len(chunk.batch.records) + len(chunk.batch.rejections)
        self._unacked_chunks += 1

    def acknowledge(self, chunk: ChunkCommitted) -> None:
        """Notes a chunk whose ack has been sent."""
        self._committed_through, self._tally = chunk.committed_through, chunk.tally
        self._unacked_chunks -= 1
        self._has_acked.set()
        if self._tally.is_all_rejected:
            self._first_rejected = self._tally.rejected
        is_new = chunk.sequence > self._opened_through
        # A good event in a chunk that was sent meanwhile helps the next stream, not this one: how far ahead a
        # client sends must not decide.
        self.has_tripped |= is_new and self._is_wholly_wrong(rejected=self._tally.rejected)

    async def settle(self) -> None:
        """Returns once no ack can end the upload any more. Raises UploadAllRejectedError.

        The end of an upload that is wholly wrong must not be committed: it stays open.
        """
        while self._unacked_chunks and self._is_wholly_wrong(rejected=self._sent_events):
            self._has_acked.clear()
            await self._has_acked.wait()
        if self._is_wholly_wrong(rejected=self._tally.rejected):
            raise self.error()

    def error(self) -> UploadAllRejectedError:
        """The error that ends the upload."""
        return UploadAllRejectedError(
            upload_id=self._upload_id,
            rejected=self._first_rejected,
            committed_through=self._committed_through,
        )

    def _is_wholly_wrong(self, *, rejected: int) -> bool:
        if self._keeps_going or not self._tally.is_all_rejected:
            return False
        return rejected >= MAX_REJECTIONS_WITHOUT_SUCCESS
