"""Applies commits to the SQLite file, each in one transaction and on one thread.

Applying is deterministic: the same commits give the same rows everywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import apsw

from engagement_server.cursor import BLOCK_BITS, SEQUENCE_BITS, first_position
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
from engagement_server.store.upload_rows import UploadRows
from engagement_server.store.verdicts import judge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engagement_server.model import Batch, Commit, EventRecord, Operation, Result
    from engagement_server.store.verdicts import Judgement

# One statement inserts a usual chunk: between two statements the thread may wait for the interpreter.
_ROWS_A_STATEMENT = 500
_EVENT_COLUMNS = 8
_SEARCH_COLUMNS = 4


class Writer:
    """Turns commits into rows. Not safe to share between threads."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._uploads = UploadRows(connection)
        self._last_positions: dict[str, int] = {}

    def apply(self, commit: Commit) -> list[Result | RequestError]:
        """Makes a commit durable; one result or refusal an operation, in order.

        Guarantees that all of the commit is on disk when it returns, or none of it after it raised.
        Raises StoreUnavailableError.
        """
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            results = [self._apply(operation, commit.time_ms) for operation in commit.operations]
            self._save_last_positions()
            self._connection.execute("COMMIT")
        except apsw.Error as error:
            raise unavailable(error) from error
        finally:
            self._last_positions.clear()
            if self._connection.in_transaction:  # SQLite has ended it already after some failures
                self._connection.execute("ROLLBACK")
        return results

    def _apply(self, operation: Operation, time_ms: int) -> Result | RequestError:
        try:
            match operation:
                case RecordBatch():
                    return self._record_batch(operation, time_ms)
                case CommitChunk():
                    return self._uploads.commit_chunk(operation, time_ms, record=self._record)
                case OpenUpload():
                    return self._uploads.open(operation, time_ms)
                case FinishUpload():
                    return self._uploads.finish(operation, time_ms)
                case ExpireUploads():
                    return self._uploads.expire(operation)
        except RequestError as refusal:
            return refusal

    def _record_batch(self, operation: RecordBatch, time_ms: int) -> Recorded:
        first_position = self._last_position(operation.account_id) + 1
        judgement = self._record(
            operation.account_id, operation.batch, time_ms, is_atomic=operation.is_atomic
        )
        return Recorded(judgement.verdicts(first_position))

    def _record(self, account_id: str, batch: Batch, time_ms: int, *, is_atomic: bool = False) -> Judgement:
        """Stores what is new. Raises EventIdConflictError before that, where `is_atomic`."""
        last_position = self._last_position(account_id)
        account = last_position >> SEQUENCE_BITS
        judgement = judge(
            self._connection,
            batch,
            account=account,
            first_position=last_position + 1,
            is_atomic=is_atomic,
        )
        self._insert(account, last_position + 1, judgement.fresh, time_ms)
        self._widen_blocks(last_position + 1, judgement.fresh, time_ms)
        self._last_positions[account_id] = last_position + len(judgement.fresh)
        return judgement

    def _insert(self, account: int, position: int, records: Sequence[EventRecord], time_ms: int) -> None:
        for start in range(0, len(records), _ROWS_A_STATEMENT):
            events: list[apsw.SQLiteValue] = []
            search: list[apsw.SQLiteValue] = []
            part = records[start : start + _ROWS_A_STATEMENT]
            for offset, record in enumerate(part, position + start):
                event_id, attribute_set, authenticated, server_time_ms, payload, text, who, where = record
                events += (
                    offset, account, event_id, attribute_set,
                    authenticated, server_time_ms or time_ms, time_ms, payload,
                )  # fmt: skip
                search += (offset, text, who, where)
            self._connection.execute(_insert_statement("events", len(part)), events)
            self._connection.execute(_insert_statement("search", len(part)), search)

    def _widen_blocks(self, position: int, records: Sequence[EventRecord], time_ms: int) -> None:
        """Lets the time bounds of the blocks cover new events."""
        start = 0
        while start < len(records):
            block = position + start >> BLOCK_BITS
            end = min(len(records), (block + 1 << BLOCK_BITS) - position)
            times = [record.server_time_ms or time_ms for record in records[start:end]]
            self._connection.execute(
                "INSERT INTO blocks VALUES (?, ?, ?) ON CONFLICT (block) DO UPDATE"
                " SET min_ms = min(min_ms, excluded.min_ms), max_ms = max(max_ms, excluded.max_ms)",
                (block, min(times), max(times)),
            )
            start = end

    def _last_position(self, account_id: str) -> int:
        known = self._last_positions.get(account_id)
        if known is not None:
            return known
        self._connection.execute(
            "INSERT INTO accounts (account_id, last_sequence) VALUES (?, 0) ON CONFLICT DO NOTHING",
            (account_id,),
        )
        ((number, sequence),) = self._connection.execute(
            "SELECT number, last_sequence FROM accounts WHERE account_id = ?", (account_id,)
        )
        return first_position(int(number)) + int(sequence)

    def _save_last_positions(self) -> None:
        # Kept apart from the events, so that erasing the newest one never frees its position.
        for position in self._last_positions.values():
            self._connection.execute(
                "UPDATE accounts SET last_sequence = ? WHERE number = ?",
                (position & (1 << SEQUENCE_BITS) - 1, position >> SEQUENCE_BITS),
            )


def _insert_statement(table: str, rows: int) -> str:
    if table == "events":
        return _INSERT_EVENTS + ",".join(_EVENT_ROW for _ in range(rows))
    return _INSERT_SEARCH + ",".join(_SEARCH_ROW for _ in range(rows))


_INSERT_EVENTS = "INSERT INTO events VALUES "
_EVENT_ROW = "(" + ",".join("?" * _EVENT_COLUMNS) + ")"
_INSERT_SEARCH = "INSERT INTO search (rowid, attributes, consumer_id, conversation_id) VALUES "
_SEARCH_ROW = "(" + ",".join("?" * _SEARCH_COLUMNS) + ")"
