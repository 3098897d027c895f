"""The new events of one commit, by account, until they are inserted."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from engagement_server.operations import CommitChunk, RecordBatch
from engagement_server.store.account_rows import NO_ACCOUNT, find_bounds
from engagement_server.store.pending_events import PendingEvents
from engagement_server.store.verdicts import Judge

if TYPE_CHECKING:
    import apsw

    from engagement_server.model import NewEvents
    from engagement_server.operations import Commit
    from engagement_server.store.entity_rows import EntityRows
    from engagement_server.store.index_merges import IndexMerges
    from engagement_server.store.retention_rows import RetentionRows
    from engagement_server.store.tombstones import Suppressions, Tombstones


class PendingAccounts:
    """Works inside the transactions of the writer."""

    def __init__(  # noqa: PLR0913  # all but one are named at the call
        self,
        connection: apsw.Connection,
        *,
        entities: EntityRows,
        retention: RetentionRows,
        merges: IndexMerges,
        suppressions: Suppressions,
        tombstones: Tombstones,
    ) -> None:
        self._connection = connection
        self._entities = entities
        self._retention = retention
        self._merges = merges
        self._suppressions = suppressions
        self._tombstones = tombstones
        self._event_ids: dict[str, list[str]] = {}
        self._time_ms = 0
        self._pending: dict[str, PendingEvents] = {}
        self.new_events: dict[str, NewEvents] = {}
        """By account, the new events of the commit that were inserted last."""

    def begin(self, commit: Commit, *, time_ms: int) -> None:
        """Begins a commit, whose events are accepted at this time."""
        self._event_ids = _event_ids(commit)
        self._time_ms = time_ms
        self.new_events = {}

    def of(self, account_id: str) -> PendingEvents:
        """The new events of an account; the first call looks up all ids of the commit."""
        pending = self._pending.get(account_id)
        if pending is None:
            bounds = find_bounds(self._connection, account_id)
            account = NO_ACCOUNT if bounds is None else bounds.account
            judge = Judge(
                self._connection,
                account,
                self._event_ids[account_id],
                lists=self._entities.lists_of(account),
                suppressions=self._suppressions,
                tombstones=self._tombstones,
            )
            pending = self._pending[account_id] = PendingEvents(
                self._connection,
                account_id,
                last_position=None if bounds is None else bounds.last_position,
                judge=judge,
                merges=self._merges,
                time_ms=self._time_ms,
                event_time_ms=self._retention.event_time_ms(self._time_ms),
            )
        return pending

    def flush(self, account_id: str) -> int | None:
        """Inserts the new events of an account that have been judged so far; returns its last position.

        None if there were none to judge, or if none was accepted and the account does not exist.
        """
        pending = self._pending.pop(account_id, None)
        if pending is None:
            return None
        last_position = pending.flush()
        if (new_events := pending.new_events) is not None:
            self.new_events[account_id] = new_events
        return last_position

    def flush_all(self) -> dict[str, int]:
        """Inserts the new events of all accounts; returns the last positions, by account."""
        flushed = {account_id: self.flush(account_id) for account_id in list(self._pending)}
        return {account_id: last for account_id, last in flushed.items() if last is not None}

    def discard(self) -> None:
        """Discards what was not inserted."""
        self._pending.clear()


def _event_ids(commit: Commit) -> dict[str, list[str]]:
    """The ids of all events in a commit, by account."""
    event_ids: defaultdict[str, list[str]] = defaultdict(list)
    for operation in commit.operations:
        if isinstance(operation, RecordBatch | CommitChunk):
            event_ids[operation.account_id] += [record.event_id for record in operation.batch.records]
    return event_ids
