"""The port of the commit log: the one way in which state changes."""

from __future__ import annotations

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

    def listen(self, listener: Listener) -> None:
        """Has `listener` called on the event loop after every commit, once readers see it.

        It must not block or raise.
        """

    async def commit(self, commit: Commit) -> list[Result | RequestError]:
        """One result or refusal an operation. Raises StoreUnavailableError."""

    async def purge(self) -> None:
        """Returns when no byte of what was deleted before is left in the files of the store.

        Raises StoreUnavailableError.
        """

    async def close(self) -> None:
        """Ends the log once the running commit is done."""
