"""Applies commits to the SQLite file, each in one transaction and on one thread.

Applying is deterministic: the same commits give the same rows everywhere.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import apsw

from engagement_server.errors import RequestError
from engagement_server.model import (
    CommitChunk,
    ExpireUploads,
    FinishUpload,
    OpenUpload,
    RecordBatch,
    Recorded,
)
from engagement_server.store.database import unavailable
from engagement_server.store.index_merges import IndexMerges
from engagement_server.store.pending_events import PendingEvents
from engagement_server.store.upload_rows import UploadRows

if TYPE_CHECKING:
    from engagement_server.model import Commit, Operation, Result


class Writer:
    """Turns commits into rows. Not safe to share between threads."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._uploads = UploadRows(connection)
        self._merges = IndexMerges(connection)
        self._pending: dict[str, PendingEvents] = {}

    def apply(self, commit: Commit) -> list[Result | RequestError]:
        """Makes a commit durable; one result or refusal an operation, in order.

        Guarantees that all of the commit is on disk when it returns, or none of it after it raised.
        Raises StoreUnavailableError.
        """
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._look_up(commit)
            results = [self._apply(operation, commit.time_ms) for operation in commit.operations]
            for pending in self._pending.values():
                pending.flush()
            self._connection.execute("COMMIT")
        except apsw.Error as error:
            raise unavailable(error) from error
        finally:
            self._pending.clear()
            if self._connection.in_transaction:  # SQLite has ended it already after some failures
                self._connection.execute("ROLLBACK")
        return results

    def _look_up(self, commit: Commit) -> None:
        """Prepares to judge the events of the commit, account by account."""
        event_ids: defaultdict[str, list[str]] = defaultdict(list)
        for operation in commit.operations:
            if isinstance(operation, RecordBatch | CommitChunk):
                event_ids[operation.account_id] += [record.event_id for record in operation.batch.records]
        for account_id, ids in event_ids.items():
            self._pending[account_id] = PendingEvents(
                self._connection, account_id, ids, merges=self._merges, time_ms=commit.time_ms
            )

    def _apply(self, operation: Operation, time_ms: int) -> Result | RequestError:
        try:
            match operation:
                case RecordBatch():
                    pending = self._pending[operation.account_id]
                    return Recorded(pending.judge(operation.batch, is_atomic=operation.is_atomic).verdicts())
                case CommitChunk():
                    pending = self._pending[operation.account_id]
                    return self._uploads.commit_chunk(operation, time_ms, pending=pending)
                case OpenUpload():
                    return self._uploads.open(operation, time_ms)
                case FinishUpload():
                    return self._uploads.finish(operation, time_ms)
                case ExpireUploads():
                    return self._uploads.expire(operation)
        except RequestError as refusal:
            return refusal
