"""Holds calls to the quotas of their grants, before anything of them reaches the log."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Self

from engagement_server.access.account_uses import AccountUses
from engagement_server.access.buckets import Rate
from engagement_server.access.publishing import publishing_rates
from engagement_server.access.quotas import (
    CONCURRENT_STREAMS,
    EVENTS_PER_SECOND,
    MAX_NEW_ACCOUNTS,
    STORED_BYTES,
)
from engagement_server.errors import QuotaExceededError, UnavailableError

if TYPE_CHECKING:
    from engagement_server.access.buckets import Draw, Rates
    from engagement_server.access.ledger import Ledger
    from engagement_server.access.principals import Principal
    from engagement_server.access.quotas import Quotas
    from engagement_server.governor.turns import Caller
    from engagement_server.partitions import Partitions
    from engagement_server.store.account_rows import AccountUse
    from engagement_server.streams.allowance import Settle

UNKNOWN_SECONDS: Final = 10.0
"""How long an account counts as one that is being made if nobody knows whether it was."""
_MAYBE_COMMITTED: Final = (asyncio.CancelledError, UnavailableError)
"""How calls end whose operations may still be committed."""
NEAR_BYTES: Final = 32 * 1024 * 1024
"""Of room that is left: as much as an upload may have under way."""
STREAM_DELAY_SECONDS: Final = 5.0
"""After which a stream too many may be tried again: nobody knows when another one ends."""


class CallQuotas:
    """The quotas of all grants, as calls of this process meet them."""

    def __init__(self, ledger: Ledger, partitions: Partitions) -> None:
        self._ledger = ledger
        self._partitions = partitions
        self._uses = AccountUses(self._read_use)
        self._numbers = itertools.count(1)

    def of(self, principal: Principal, *, account_id: str, caller: Caller) -> AccountQuotas | None:
        """The quotas of who sends events to an account; None if there are none."""
        quotas = principal.quotas
        if quotas is None:
            return None
        return AccountQuotas(self, principal, quotas, account_id=account_id, caller=caller)

    @asynccontextmanager
    async def stream(self, principal: Principal) -> AsyncIterator[None]:
        """Counts a stream while it is open. Raises QuotaExceededError if it is one too many."""
        limit = None if principal.quotas is None else principal.quotas.concurrent_streams
        if limit is None:
            yield
            return
        # The other processes of the node number theirs as well.
        group, name = f"streams of {principal.name}", f"{os.getpid()}-{next(self._numbers)}"
        held = await self.hold(group, name)
        try:
            if held > limit:
                raise QuotaExceededError(
                    quota=CONCURRENT_STREAMS, limit=limit, retry_delay_seconds=STREAM_DELAY_SECONDS
                )
            yield
        finally:
            self.release(group, name)

    async def hold(self, group: str, name: str) -> int:
        """See `Ledger.hold`."""
        return await self._ledger.hold(group, name)

    def release(self, group: str, name: str) -> None:
        """See `Ledger.release`."""
        self._ledger.release(group, name)

    async def draw(self, rates: Rates, *, events: int) -> Draw:
        """See `Ledger.draw`."""
        return await self._ledger.draw(rates, events=events)

    async def use(self, account_id: str, *, max_bytes: int | None, caller: Caller) -> AccountUse:
        """See `AccountUses.of`."""
        return await self._uses.of(account_id, max_bytes=max_bytes, caller=caller)

    async def _read_use(self, account_id: str, caller: Caller) -> AccountUse:
        readers = self._partitions.of(account_id).readers
        return await readers.run(lambda reader: reader.use(account_id), caller=caller)

    async def count_accounts_of(self, principal: Principal, *, at_most: int, caller: Caller) -> int:
        """How many accounts of this node had their first event from a principal, up to a number."""
        count = 0
        for partition in self._partitions:
            count += await partition.readers.run(
                lambda reader: reader.count_accounts_of(principal.name, at_most=at_most), caller=caller
            )
        return count


class AccountQuotas:
    """The quotas of one call or upload, which sends events to one account.

    As a context it ends with the call: until then an account counts as one that the call makes.
    """

    def __init__(
        self, calls: CallQuotas, principal: Principal, quotas: Quotas, *, account_id: str, caller: Caller
    ) -> None:
        self._calls = calls
        self._principal = principal
        self._quotas = quotas
        self._account_id = account_id
        self._caller = caller
        self._rates = _rates(principal, quotas, account_id=account_id, peer=caller.connection)
        self._had_events = quotas.max_new_accounts is None
        """Whether the account is known not to be new, as far as that matters."""
        self._is_held = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._is_held and kind is not None and issubclass(kind, _MAYBE_COMMITTED):
            asyncio.get_running_loop().call_later(UNKNOWN_SECONDS, self._release)
        else:
            self._release()

    async def admit(self, *, events: int, may_store: bool) -> None:
        """Lets the events of a single call in, which may only be checked. Raises QuotaExceededError."""
        if self._rates:
            drawn = await self._calls.draw(self._rates, events=events)
            if drawn.delay_seconds:
                raise QuotaExceededError(
                    quota=EVENTS_PER_SECOND, limit=drawn.limit, retry_delay_seconds=drawn.delay_seconds
                )
        if may_store:
            await self._require_room()

    async def until_open(self) -> None:
        """Returns once further events of an upload may come."""
        await self._until_drawn(0)

    async def wait(self, *, events: int, may_store: bool, settle: Settle) -> None:
        """Lets events of an upload in once they may come. Raises QuotaExceededError if they never may.

        `settle` returns once those before are committed.
        """
        await self._until_drawn(events)
        if may_store:
            await self._require_room(settle)

    async def _until_drawn(self, events: int) -> None:
        while self._rates:
            drawn = await self._calls.draw(self._rates, events=events)
            if not drawn.delay_seconds:
                return
            await asyncio.sleep(drawn.delay_seconds)

    async def _require_room(self, settle: Settle | None = None) -> None:
        """Makes sure that the account may store more, and may be made. Raises QuotaExceededError.

        Near the limit, an upload settles before each chunk, so that one chunk at most passes it.
        """
        if self._quotas.stored_bytes is None and self._had_events:
            return
        limit = self._quotas.stored_bytes
        use = await self._calls.use(self._account_id, max_bytes=limit, caller=self._caller)
        if settle is not None and limit is not None and use.stored_bytes + NEAR_BYTES > limit:
            await settle()
            use = await self._calls.use(self._account_id, max_bytes=limit, caller=self._caller)
        if limit is not None and use.stored_bytes >= limit:
            raise QuotaExceededError(quota=STORED_BYTES, limit=limit, retry_delay_seconds=None)
        if use.had_events and not self._had_events:
            self._had_events = True
            self._release()
        if not self._had_events and not self._is_held:
            await self._make_account()

    async def _make_account(self) -> None:
        """Makes sure that the principal may make one more account."""
        # First held, then counted: what others are making is in one of the two numbers.
        held = await self._calls.hold(self._group, self._account_id)
        self._is_held = True
        limit = self._quotas.max_new_accounts or 0
        made = await self._calls.count_accounts_of(self._principal, at_most=limit, caller=self._caller)
        if made + held <= limit:
            return
        self._release()
        use = await self._calls.use(self._account_id, max_bytes=None, caller=self._caller)
        if not use.had_events:  # another call may have made it meanwhile
            raise QuotaExceededError(quota=MAX_NEW_ACCOUNTS, limit=limit, retry_delay_seconds=None)

    @property
    def _group(self) -> str:
        return f"new accounts of {self._principal.name}"

    def _release(self) -> None:
        if self._is_held:
            self._is_held = False
            self._calls.release(self._group, self._account_id)


def _rates(principal: Principal, quotas: Quotas, *, account_id: str, peer: str) -> Rates:
    """The limits of events a second."""
    rate = quotas.events_per_second
    if rate is None:
        return ()
    if principal.is_publishable:
        return publishing_rates(principal.name, events_per_second=rate, peer=peer)
    return (Rate(rate, principal.name, account_id),)
