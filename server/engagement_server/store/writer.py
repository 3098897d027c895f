"""Applies commits to the SQLite file, each in one transaction and on one thread.

Applying is deterministic: the same commits give the same rows everywhere.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

import apsw

from engagement_server.cursor import SEQUENCE_BITS
from engagement_server.errors import RequestError
from engagement_server.operations import (
    CommitChunk,
    DeleteEntity,
    ExpireUploads,
    FinishUpload,
    OpenAccount,
    OpenUpload,
    PutEntities,
    RecordBatch,
    Recorded,
)
from engagement_server.store.database import unavailable
from engagement_server.store.entity_rows import EntityRows
from engagement_server.store.forgotten import Forgotten
from engagement_server.store.index_merges import IndexMerges
from engagement_server.store.pending_events import PendingEvents, open_account
from engagement_server.store.upload_rows import UploadRows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engagement_server.operations import AccountOperation, Commit, Operation, Result


class Applied(NamedTuple):
    """What became of a commit."""

    results: list[Result | RequestError]
    """One an operation, in order."""
    tails: Mapping[str, int]
    """The last positions of the accounts whose logs grew."""


class Writer:
    """Turns commits into rows. Not safe to share between threads."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._forgotten = Forgotten(connection)
        self._uploads = UploadRows(connection)
        self._entities = EntityRows(connection)
        self._merges = IndexMerges(connection)
        self._event_ids: dict[str, list[str]] = {}
        self._pending: dict[str, PendingEvents] = {}
        self._tails: dict[str, int] = {}

    def apply(self, commit: Commit) -> Applied:
        """Makes a commit durable.

        Guarantees that all of the commit is on disk when it returns, or none of it after it raised.
        Raises StoreUnavailableError.
        """
        self._event_ids = _event_ids(commit)
        self._tails = {}
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            results = [self._attempt(operation, commit.time_ms) for operation in commit.operations]
            for account_id in list(self._pending):
                self._settle(account_id)
            self._connection.execute("COMMIT")
        except apsw.Error as error:
            raise unavailable(error) from error
        finally:
            self._pending.clear()
            if self._connection.in_transaction:  # SQLite has ended it already after some failures
                self._connection.execute("ROLLBACK")
        return Applied(results, self._tails)

    def purge(self) -> None:
        """Moves everything from the write-ahead log to the file and empties the log.

        Deleted rows are overwritten in the file (`secure_delete`), but older versions of their pages stand
        in the log until then. Raises StoreUnavailableError where a reader holds on to one for too long.
        """
        try:
            ((is_busy, _, _),) = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except apsw.Error as error:
            raise unavailable(error) from error
        if is_busy:
            raise unavailable(apsw.BusyError())

    def _attempt(self, operation: Operation, time_ms: int) -> Result | RequestError:
        try:
            return self._apply(operation, time_ms)
        except RequestError as refusal:
            return refusal

    def _apply(self, operation: Operation, time_ms: int) -> Result:
        match operation:
            case RecordBatch():
                pending = self._pending_of(operation.account_id, time_ms)
                return Recorded(pending.judge(operation.batch, is_atomic=operation.is_atomic).verdicts())
            case CommitChunk():
                pending = self._pending_of(operation.account_id, time_ms)
                return self._uploads.commit_chunk(operation, time_ms, pending=pending)
            case OpenUpload():
                return self._uploads.open(operation, time_ms)
            case FinishUpload():
                return self._uploads.finish(operation, time_ms)
            case ExpireUploads():
                return self._uploads.expire(operation)
            case _:
                return self._change(operation, time_ms)

    def _change(self, operation: AccountOperation, time_ms: int) -> Result:
        """Applies what looks at the stored events of an account or changes what is made of new ones."""
        self._settle(operation.account_id)
        account = self._open_account(operation.account_id)
        match operation:
            case OpenAccount():
                return account
            case PutEntities():
                return self._entities.put(operation, account)
            case DeleteEntity():
                return self._entities.delete(operation, account)
            case _:
                raise NotImplementedError

    def _open_account(self, account_id: str) -> int:
        return open_account(self._connection, account_id) >> SEQUENCE_BITS

    def _pending_of(self, account_id: str, time_ms: int) -> PendingEvents:
        """The new events of an account; its first use looks up all ids that the commit brings."""
        pending = self._pending.get(account_id)
        if pending is None:
            pending = self._pending[account_id] = PendingEvents(
                self._connection,
                account_id,
                self._event_ids[account_id],
                forgotten=self._forgotten,
                merges=self._merges,
                time_ms=time_ms,
            )
        return pending

    def _settle(self, account_id: str) -> None:
        """Writes the new events of an account that were judged so far."""
        pending = self._pending.pop(account_id, None)
        if pending is not None:
            self._tails[account_id] = pending.flush()


def _event_ids(commit: Commit) -> dict[str, list[str]]:
    """The ids of all events that a commit brings, by account."""
    event_ids: defaultdict[str, list[str]] = defaultdict(list)
    for operation in commit.operations:
        if isinstance(operation, RecordBatch | CommitChunk):
            event_ids[operation.account_id] += [record.event_id for record in operation.batch.records]
    return event_ids
