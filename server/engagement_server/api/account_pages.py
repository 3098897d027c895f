"""Pages of the accounts of all partitions that this node serves, in the order of their ids."""

from __future__ import annotations

from heapq import merge
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING

from engagement import v1
from engagement_server.api.paging import page_size

if TYPE_CHECKING:
    from collections.abc import Iterable

    from engagement_server.access.principals import Accounts
    from engagement_server.governor.turns import Caller
    from engagement_server.partitions import Partition
    from engagement_server.store.account_rows import AccountSummary
    from engagement_server.store.reader import Reader

_ARGUMENTS = b"ListAccounts"
_id = attrgetter("account_id")


class AccountPages:
    """Reads the stores of some partitions, each as it is at that moment."""

    def __init__(self, partitions: Iterable[Partition]) -> None:
        self._partitions = [*partitions]

    async def read(
        self, request: v1.ListAccountsRequest, *, accounts: Accounts, caller: Caller
    ) -> v1.ListAccountsResponse:
        """One page of `accounts`.

        Raises PageTokenMismatchError, LogEpochChangedError, and LogDamagedError if a partition serves
        nothing: a list without its accounts would look complete.
        """
        for partition in self._partitions:
            partition.require_undamaged()
        size = page_size(request.page_size)
        cursors = self._partitions[0].cursors  # a node serves one at least
        after = ""
        if request.page_token:
            after = cursors.decode_name(request.page_token, arguments=_ARGUMENTS)

        ranges = accounts.ranges

        def read(reader: Reader) -> list[AccountSummary]:
            return reader.accounts(ranges=ranges, after=after, max_accounts=size + 1)

        lists = [await partition.readers.run(read, caller=caller) for partition in self._partitions]
        found = [*islice(merge(*lists, key=_id), size + 1)]
        response = v1.ListAccountsResponse(accounts=map(_message, found[:size]))
        if len(found) > size:
            response.next_page_token = cursors.encode_name(found[size - 1].account_id, arguments=_ARGUMENTS)
        return response


def _message(account: AccountSummary) -> v1.Account:
    message = v1.Account(
        account_id=account.account_id, events=account.events, stored_bytes=account.stored_bytes
    )
    if account.last_receive_ms is not None:
        message.last_receive_time.FromMilliseconds(account.last_receive_ms)
    return message
