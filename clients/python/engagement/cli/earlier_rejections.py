"""The events that the server rejected in earlier runs of a resumed upload."""

from __future__ import annotations

from engagement import v1
from engagement.client import EngagementClient


class EarlierRejections:
    """The rejections of earlier runs, in the order in which their events are read again."""

    def __init__(self, client: EngagementClient, *, upload_id: str, count: int) -> None:
        """`count` is the number of rejections so far."""
        self._results = client.upload_rejections(upload_id)
        # Counted, because the rejections of this run are listed after those of earlier ones.
        self._left = count
        self._next: v1.EventResult | None = None

    async def take(self, event_id: str) -> v1.EventError | None:
        """Why this event was rejected, if it is the next one that was."""
        if self._next is None and self._left:
            self._left -= 1
            self._next = (await anext(self._results)).result
        if self._next is None or self._next.event_id != event_id:
            return None
        error = self._next.error
        self._next = None
        return error
