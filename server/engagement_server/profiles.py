"""Profiles: what is known about one consumer, folded from the consumer's events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engagement_server.errors import ProfileNotFoundError

if TYPE_CHECKING:
    from engagement import v1
    from engagement_server.committer import Committer
    from engagement_server.cursor import Cursors
    from engagement_server.store.readers import Readers


class Profiles:
    """Reads profiles."""

    def __init__(self, *, readers: Readers, committer: Committer, cursors: Cursors) -> None:
        self._readers = readers
        self._committer = committer
        self._cursors = cursors

    async def read(self, request: v1.GetProfileRequest) -> v1.Profile:
        """The profile of a consumer. Raises ProfileNotFoundError."""
        raise ProfileNotFoundError(consumerId=request.consumer_id)
