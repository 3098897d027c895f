"""Finds data that any node acknowledged, even if the view of this node lags behind the log."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from engagement_server.errors import CursorMismatchError, LogEpochChangedError, NotFoundError

if TYPE_CHECKING:
    from engagement_server.log.base import CommitLog

T = TypeVar("T")


async def read_with_catch_up(log: CommitLog, read: Callable[[], Awaitable[T]]) -> T:
    """Returns the result of `read`; if that finds nothing, catches up with the log and reads again.

    Cursors and ids may come from a node whose view is ahead. Raises the errors of `read` from a view that
    holds everything committed before the call, and StoreUnavailableError.
    """
    try:
        return await read()
    except (NotFoundError, LogEpochChangedError, CursorMismatchError):
        if not await log.catch_up():
            raise
    return await read()
