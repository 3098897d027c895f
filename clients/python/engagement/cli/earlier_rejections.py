"""What the server refused in earlier runs of an upload that is gone on with."""

from __future__ import annotations

from collections.abc import AsyncIterator

from engagement import v1
from engagement.client import EngagementClient
from engagement.errors import NotFoundError


class EarlierRejections:
    """The rejections of earlier runs, in the order of the events, which are read again in that order."""

    def __init__(self, results: AsyncIterator[v1.UploadResult], *, count: int) -> None:
        self._results = results
        self._left = count
        self._next: v1.EventResult | None = None

    @classmethod
    async def read(cls, client: EngagementClient, *, upload_id: str) -> EarlierRejections:
        """The rejections so far; none where the upload is new."""
        try:
            upload = await client.get_upload(upload_id)
        except NotFoundError:
            return cls(client.upload_rejections(upload_id), count=0)
        return cls(client.upload_rejections(upload_id), count=upload.tally.rejected)

    async def take(self, event_id: str) -> v1.EventError | None:
        """Why this event was refused, if it was the next one that was."""
        result = await self._peek()
        if result is None or result.event_id != event_id:
            return None
        self._next = None
        return result.error

    async def rest(self) -> AsyncIterator[v1.EventResult]:
        """Those whose events were not read again."""
        while result := await self._peek():
            self._next = None
            yield result

    async def _peek(self) -> v1.EventResult | None:
        # Counted, because the rejections of this run follow those of earlier ones.
        if self._next is None and self._left:
            self._left -= 1
            self._next = (await anext(self._results)).result
        return self._next
