"""The server's side of subscriptions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from engagement import v1
from engagement_server.errors import DrainingError

if TYPE_CHECKING:
    from engagement_server.committer import Committer
    from engagement_server.cursor import Cursors
    from engagement_server.store.readers import Readers

Send = Callable[[v1.SubscribeEventsResponse], Awaitable[None]]


class Subscriptions:
    """All subscriptions of this server."""

    def __init__(
        self,
        *,
        committer: Committer,
        readers: Readers,
        cursors: Cursors,
        heartbeat_seconds: float,
        max_age_seconds: float,
    ) -> None:
        self._committer = committer
        self._readers = readers
        self._cursors = cursors
        self._heartbeat_seconds = heartbeat_seconds
        self._max_age_seconds = max_age_seconds

    async def serve(self, request: v1.SubscribeEventsRequest, send: Send) -> None:
        """Serves one subscription to its end. Raises what refuses it."""
        raise DrainingError

    def drain(self) -> None:
        """Asks all streams to end."""
