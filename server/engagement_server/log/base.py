"""The port of the commit log: the one way in which state changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from engagement_server.operations import Applied

if TYPE_CHECKING:
    from engagement_server.errors import RequestError
    from engagement_server.operations import Commit, Result

Listener = Callable[[Applied], None]


class CommitLog(Protocol):
    """Makes commits durable, in order, and applies them to the store.

    What every log promises, and the conformance suite holds:

    - When `commit` returns, all of the commit is durable and every reader sees it.
    - When it raises, nothing of the commit is or ever becomes visible, unless the log says otherwise
      (a replicated log may not know); sending the same operations again is safe either way.
    - Commits take effect one after the other, in the order of the calls, and so do the operations of
      each. Positions grow with that order and are never given twice, after a restart either.
    - A refused operation changes nothing and leaves the others of its commit alone.
    """

    max_concurrent_commits: int
    """How many calls of `commit` at once are of use."""
    failure: asyncio.Future[None]
    """Fails with what makes the log useless until the server is started again."""

    @property
    def view_time_ms(self) -> int:
        """Readers see everything that any node committed before this time, in epoch milliseconds."""

    @property
    def is_current(self) -> bool:
        """Whether commits are taken and readers see what is committed now, or was moments ago."""

    def subscribe(self, listener: Listener) -> None:
        """Has `listener` called on the event loop after every commit of any node, once readers see it.

        It must not block or raise.
        """

    def watch_freshness(self, watcher: Callable[[bool], None]) -> None:
        """Has `watcher` called on the event loop when `is_current` changes."""

    async def commit(self, commit: Commit) -> list[Result | RequestError]:
        """One result or refusal an operation. Raises StoreUnavailableError."""

    async def catch_up(self) -> bool:
        """Returns once readers see all that was committed before the call, by whatever node.

        True where that may be more than before it. Raises StoreUnavailableError.
        """

    async def purge(self) -> None:
        """Returns when no byte of what was deleted before is left in the files of the store.

        Raises StoreUnavailableError.
        """

    async def close(self) -> None:
        """Ends the log once the running commit is done."""
