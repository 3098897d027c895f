"""The port of the commit log: the only way to change state."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

from engagement_server.operations import Applied

if TYPE_CHECKING:
    from engagement_server.errors import DataLossError, RequestError
    from engagement_server.operations import Commit, Result

AppliedCallback = Callable[[Applied], None]
FreshnessCallback = Callable[[bool], None]
SettleCallback = Callable[[], Awaitable[None]]


class CommitLog(Protocol):
    """Makes commits durable, in order, and applies them to the store.

    Every log guarantees, and the conformance suite checks:

    - When `commit` returns, the whole commit is durable and every reader sees it.
    - When it raises, nothing of the commit is or ever becomes visible, unless the log says otherwise
      (a replicated log may not know). Sending the same operations again is safe either way.
    - Commits take effect one after another, in the order of the calls, and so do the operations of each.
      Positions grow in that order and are never reused, not even after a restart.
    - A refused operation changes nothing and does not affect the other operations of its commit.
    """

    max_concurrent_commits: int
    """Maximum useful concurrency of `commit`."""
    takes_lanes_apart: bool
    """Whether commits of calls, of uploads and of background work go apart, to be merged elsewhere."""
    has_other_writers: bool
    """Whether other nodes commit to it, with clocks of their own."""
    node_id: str
    """What this node's commits are known by in the log; empty without a replicated log."""
    failure: asyncio.Future[None]
    """Fails with the error that makes the log unusable until the server is restarted."""

    @property
    def view_time_ms(self) -> int:
        """Readers see everything that any node committed before this time, in epoch milliseconds."""

    @property
    def is_current(self) -> bool:
        """Whether the log accepts commits and readers are at most moments behind it."""

    @property
    def damage(self) -> DataLossError | None:
        """The error for all calls about this log's accounts while it or the store is damaged."""

    @property
    def lag_messages(self) -> int:
        """Messages of other nodes and this one that readers do not see yet; 0 without a replicated log."""

    def subscribe(self, callback: AppliedCallback) -> None:
        """Registers `callback`, to be called on the event loop after each commit, once readers see it.

        It gets the commits of all nodes, and must not block or raise. If one raises, the others are called
        all the same, and the log fails: what the callback keeps up to date would be wrong from then on.
        """

    def want_events(self, account_id: str, *, are_wanted: bool) -> None:
        """Asks for the account's `Applied.new_events`, or no longer; without, they may be left out."""

    def watch_freshness(self, callback: FreshnessCallback) -> None:
        """Registers `callback`, to be called on the event loop when `is_current` changes."""

    async def commit(self, commit: Commit) -> list[Result | RequestError]:
        """Returns one result or error per operation. Raises StoreUnavailableError and LogDamagedError."""

    async def catch_up(self) -> bool:
        """Returns once readers see everything that any node committed before the call.

        True if that may be more than they saw then. Raises StoreUnavailableError.
        """

    async def purge(self) -> None:
        """Returns once the files of the store hold no byte of data that was deleted before the call.

        Raises StoreUnavailableError.
        """

    def watch_settling(self, callback: SettleCallback) -> None:
        """Registers `callback`, which returns once this process sends nothing that was erased before."""

    async def settle(self) -> None:
        """Returns once no process of this node sends events that were erased before the call.

        Each has called its callbacks for all earlier commits, and then those of `watch_settling`. Raises
        StoreUnavailableError.
        """

    async def close(self) -> None:
        """Closes the log once the running commit is done."""
