"""Looks again before it is said that something is not there: the view may only be behind the log."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from engagement_server.errors import CursorMismatchError, LogEpochChangedError, NotFoundError

if TYPE_CHECKING:
    from engagement_server.log.base import CommitLog

T = TypeVar("T")


async def look_twice(log: CommitLog, look: Callable[[], Awaitable[T]]) -> T:
    """What `look` finds: where it finds nothing, or not yet what a cursor was made for, again later.

    Cursors and ids come from other nodes too, whose views may be ahead. Raises what `look` raises once the
    view holds all that was committed before, and StoreUnavailableError.
    """
    try:
        return await look()
    except (NotFoundError, LogEpochChangedError, CursorMismatchError):
        if not await log.catch_up():
            raise
    return await look()
