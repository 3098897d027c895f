"""What accounts store, as quotas ask for it with each call: read again only if it may matter."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from engagement_server.access.recent import Recent

if TYPE_CHECKING:
    from engagement_server.access.buckets import Clock
    from engagement_server.governor.turns import Caller
    from engagement_server.store.account_rows import AccountUse

ReadUse: TypeAlias = Callable[[str, "Caller"], Awaitable["AccountUse"]]
MAX_ACCOUNTS: Final = 10_000
FRESH_SECONDS: Final = 1.0
"""For so long an answer holds for an account that is far from being full."""
FAR_BYTES: Final = 256 * 1024 * 1024
"""Of room that is left: more than all nodes of a log can fill in that time."""


class _Known(NamedTuple):
    use: AccountUse
    read_at: float


class AccountUses:
    """The use of accounts, of this node's view."""

    def __init__(self, read: ReadUse, *, clock: Clock = time.monotonic) -> None:
        """`read` reads the use of an account from the store."""
        self._read = read
        self._clock = clock
        self._known: Recent[str, _Known] = Recent(max_answers=MAX_ACCOUNTS)

    async def of(self, account_id: str, *, max_bytes: int | None, caller: Caller) -> AccountUse:
        """The use of an account, which need not exist; `max_bytes` is what it may store, if that matters."""
        known = self._known.get(account_id)
        if known is not None and self._holds(known, max_bytes):
            return known.use
        read_at = self._clock()
        use = await self._read(account_id, caller)
        self._known.add(account_id, _Known(use, read_at))
        return use

    def _holds(self, known: _Known, max_bytes: int | None) -> bool:
        """Whether an answer still decides as a new one would."""
        if not known.use.had_events:
            return False
        if max_bytes is None:
            return True
        is_fresh = self._clock() - known.read_at < FRESH_SECONDS
        return is_fresh and known.use.stored_bytes + FAR_BYTES <= max_bytes
