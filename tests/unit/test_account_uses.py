"""What quotas know of accounts: as new as it has to be, but not read for each call if there is room."""

from __future__ import annotations

from engagement_server.access.account_uses import FAR_BYTES, FRESH_SECONDS, AccountUses
from engagement_server.governor.turns import Caller
from engagement_server.store.account_rows import AccountUse
from tests.unit.test_buckets import SetClock

CALLER = Caller("ipv4:127.0.0.1:1", "acme")
LIMIT = 2 * FAR_BYTES


class Account:
    """An account as a test fills it, which counts how often it is looked up."""

    def __init__(self, use: AccountUse) -> None:
        self.use = use
        self.reads = 0
        self.clock = SetClock()
        self.uses = AccountUses(self._read, clock=self.clock)

    async def ask(self, max_bytes: int | None) -> AccountUse:
        return await self.uses.of("acme", max_bytes=max_bytes, caller=CALLER)

    async def _read(self, account_id: str, caller: Caller) -> AccountUse:
        assert (account_id, caller) == ("acme", CALLER)
        self.reads += 1
        return self.use


async def test_an_account_with_much_room_is_looked_up_once_a_second() -> None:
    account = Account(AccountUse(FAR_BYTES, had_events=True))
    for _ in range(3):
        assert await account.ask(LIMIT) == account.use
    assert account.reads == 1
    account.clock.now += FRESH_SECONDS
    await account.ask(LIMIT)
    assert account.reads == 2


async def test_an_account_that_may_be_full_soon_is_looked_up_each_time() -> None:
    account = Account(AccountUse(FAR_BYTES + 1, had_events=True))
    for stored in (FAR_BYTES + 2, LIMIT, 0):
        account.use = AccountUse(stored, had_events=True)
        assert (await account.ask(LIMIT)).stored_bytes == stored
    assert account.reads == 3


async def test_a_lower_limit_of_another_grant_is_not_decided_by_an_old_answer() -> None:
    account = Account(AccountUse(FAR_BYTES, had_events=True))
    await account.ask(LIMIT)
    account.use = AccountUse(FAR_BYTES + 5, had_events=True)
    assert (await account.ask(FAR_BYTES + 5)).stored_bytes == FAR_BYTES + 5


async def test_an_account_is_looked_up_until_it_has_an_event_and_never_again_for_that() -> None:
    account = Account(AccountUse())
    for had_events in (False, False, True, True, True):
        account.use = AccountUse(0, had_events)
        assert (await account.ask(None)).had_events == had_events
    assert account.reads == 3
