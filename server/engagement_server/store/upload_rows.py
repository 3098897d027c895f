"""The rows of uploads: their progress, and their events that were not accepted."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from engagement_server.errors import (
    ChunkChangedError,
    FinishMismatchError,
    ScopeMissingError,
    SequenceGapError,
    UploadFinishedError,
    UploadNotFoundError,
    UploadTakenOverError,
)
from engagement_server.model import (
    BatchPlace,
    CommittedChunk,
    Outcome,
    SourceDigest,
    Tally,
    UploadState,
    Verdict,
    count,
)
from engagement_server.operations import ChunkCommitted
from engagement_server.store.rejection_rows import restored_error, stored_error, subjects_of_rejected
from engagement_server.store.rejection_subjects import MAX_SEQUENCE, ChunkPlace, RejectionSubjects

if TYPE_CHECKING:
    import apsw

    from engagement_server.operations import (
        AbandonUpload,
        CommitChunk,
        ExpireUploads,
        FinishUpload,
        OpenUpload,
    )
    from engagement_server.store.pending_events import PendingEvents

_ADMIN = "admin"
"""The scope that goes on with uploads of others."""
# A result, and the subjects of a chunk.
_ROWS_A_RESULT = 2
UPLOAD_COLUMNS = (
    "number, owner, upload_id, is_finished, committed_through, accepted, duplicate, rejected, suppressed,"
    " create_time_ms, update_time_ms, salt, source_events, source_sha256, source_name, unreadable,"
    " principal"
)
MAX_REMEMBERED_CHUNKS = 1000
"""Limit on the last chunks of each upload whose content and source are remembered."""


class UploadRow(NamedTuple):
    """One row of `uploads`."""

    number: int
    owner: str
    state: UploadState
    principal: str
    """Whom it belongs to; empty: everybody of the account."""

    @classmethod
    def of(cls, row: tuple[Any, ...]) -> UploadRow:
        """The values of `UPLOAD_COLUMNS`."""
        number, owner, upload_id, is_finished, committed_through, *counts = row[:9]
        create_time_ms, update_time_ms, salt, source_events, source_sha256, *rest = row[9:]
        source_name, unreadable, principal = rest
        state = UploadState(
            upload_id=upload_id,
            is_finished=bool(is_finished),
            committed_through=committed_through,
            tally=Tally(*counts),
            create_time_ms=create_time_ms,
            update_time_ms=update_time_ms,
            salt=salt,
            source=_source_digest(source_events, source_sha256),
            source_name=source_name,
            unreadable=unreadable,
        )
        return cls(number, owner, state, principal)


def find_upload(
    connection: apsw.Connection, account_id: str, upload_id: str, *, principal: str | None = None
) -> UploadRow:
    """Reads an upload, which may belong to others than the principal. Raises UploadNotFoundError if not."""
    row = connection.execute(
        f"SELECT {UPLOAD_COLUMNS} FROM uploads WHERE account_id = ? AND upload_id = ?",  # noqa: S608  # a constant
        (account_id, upload_id),
    ).fetchone()
    found = None if row is None else UploadRow.of(row)
    if found is None or (principal is not None and found.principal not in {"", principal}):
        raise UploadNotFoundError(upload_id)
    return found


def _source_digest(events: int | None, sha256: str | None) -> SourceDigest | None:
    return None if events is None or sha256 is None else SourceDigest(events, sha256)


_INSERT_RESULTS = "INSERT INTO upload_results VALUES "
_RESULT_ROW = "(?, ?, ?, ?, ?, ?, ?, ?, ?)"


class UploadRows:
    """Writes the rows of uploads, inside the transaction of the caller."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._rejections = RejectionSubjects(connection)

    def open(self, operation: OpenUpload, time_ms: int) -> UploadState:
        """Gives the upload to a new owner; creates it if missing. Raises ScopeMissingError."""
        self._require_permitted(operation)
        self._connection.execute(
            "INSERT INTO uploads (account_id, upload_id, owner, is_finished, committed_through, accepted,"
            " duplicate, rejected, suppressed, create_time_ms, update_time_ms, salt, source_name, unreadable,"
            " principal) VALUES (?1, ?2, ?3, 0, 0, 0, 0, 0, 0, ?4, ?4, ?5, ?6, 0, ?7)"
            " ON CONFLICT (account_id, upload_id) DO UPDATE"
            " SET owner = ?3, source_name = iif(?6 = '', source_name, ?6)",
            (
                operation.account_id,
                operation.upload_id,
                operation.owner,
                time_ms,
                operation.salt,
                operation.source_name,
                operation.principal,
            ),
        )
        row = find_upload(self._connection, operation.account_id, operation.upload_id)
        return replace(row.state, chunks=self._remembered_chunks(row.number))

    def commit_chunk(self, chunk: CommitChunk, time_ms: int, *, pending: PendingEvents) -> ChunkCommitted:
        """Adds a chunk's events to the pending ones, and stores its results and the progress.

        Raises UploadTakenOverError, UploadFinishedError and SequenceGapError.
        """
        number, _, state, _ = self._owned(chunk.account_id, chunk.upload_id, chunk.owner)
        if chunk.sequence <= state.committed_through:
            self._require_same(number, chunk, state)
            stored = self._stored_results(number, chunk)
            return ChunkCommitted(chunk.sequence, state.committed_through, state.tally, stored)
        if state.is_finished:
            raise UploadFinishedError(upload_id=chunk.upload_id, committed_through=state.committed_through)
        if chunk.sequence != state.committed_through + 1:
            raise SequenceGapError(
                upload_id=chunk.upload_id,
                sequence=chunk.sequence,
                expected=state.committed_through + 1,
            )
        place = BatchPlace(number, chunk.upload_id, state.tally.total + 1)
        judged = pending.judge(chunk.batch, is_atomic=False, principal=chunk.principal, place=place)
        not_accepted = judged.other_verdicts
        tally = state.tally + count(not_accepted) + Tally(accepted=len(judged.new_records))
        self._connection.execute(
            "UPDATE uploads SET committed_through = ?, accepted = ?, duplicate = ?, rejected = ?,"
            " suppressed = ?, update_time_ms = ?, source_events = ?, source_sha256 = ? WHERE number = ?",
            (
                chunk.sequence,
                tally.accepted,
                tally.duplicate,
                tally.rejected,
                tally.suppressed,
                time_ms,
                *(chunk.source or (None, None)),
                number,
            ),
        )
        if not_accepted:
            first = place.first_number
            results: list[apsw.SQLiteValue] = []
            for verdict in map(_as_stored, not_accepted):
                results += (number, chunk.sequence, *verdict, first + verdict.index, time_ms)
            # One statement: between statements the thread may wait for the interpreter.
            self._connection.execute(_INSERT_RESULTS + ",".join([_RESULT_ROW] * len(not_accepted)), results)
            rejected = subjects_of_rejected(chunk.batch, not_accepted)
            self._rejections.add(chunk.account_id, ChunkPlace(number, chunk.sequence), rejected)
        self._remember(number, chunk, events_through=tally.total)
        return ChunkCommitted(chunk.sequence, chunk.sequence, tally, not_accepted)

    def finish(self, operation: FinishUpload, time_ms: int) -> UploadState:
        """Finishes an upload whose chunks are all committed; idempotent.

        Raises UploadTakenOverError and SequenceGapError.
        """
        number, _, state, _ = self._owned(operation.account_id, operation.upload_id, operation.owner)
        if state.is_finished and operation.last_sequence != state.committed_through:
            raise FinishMismatchError(
                upload_id=operation.upload_id,
                last_sequence=operation.last_sequence,
                committed_through=state.committed_through,
            )
        if operation.last_sequence != state.committed_through:
            raise SequenceGapError(
                upload_id=operation.upload_id,
                sequence=operation.last_sequence,
                expected=state.committed_through + 1,
            )
        if not state.is_finished:
            self._connection.execute(
                "UPDATE uploads SET is_finished = 1, unreadable = ?, update_time_ms = ?, source_events = ?,"
                " source_sha256 = ? WHERE number = ?",
                (
                    operation.unreadable,
                    time_ms,
                    *(operation.source or state.source or (None, None)),
                    number,
                ),
            )
        return find_upload(self._connection, operation.account_id, operation.upload_id).state

    def abandon(self, operation: AbandonUpload) -> int:
        """Deletes an upload of this owner that has no chunks; returns how many: 0 or 1."""
        self._connection.execute(
            "DELETE FROM uploads WHERE account_id = ? AND upload_id = ? AND owner = ?"
            " AND committed_through = 0 AND NOT is_finished",
            (operation.account_id, operation.upload_id, operation.owner),
        )
        return self._connection.changes()

    def expire(self, operation: ExpireUploads) -> int:
        """Deletes a bounded number of rows of abandoned and old uploads; returns how many."""
        idle: Any = self._connection.execute(
            "SELECT number FROM uploads WHERE update_time_ms < iif(is_finished, ?, ?)"
            " ORDER BY number LIMIT ?",
            (operation.finished_before_ms, operation.idle_since_ms, operation.max_uploads),
        ).fetchall()
        deleted = 0
        for (number,) in idle:
            removed, has_more = self._expire_results(number, max_rows=operation.max_rows - deleted)
            deleted += removed
            if has_more:
                break
            self._connection.execute("DELETE FROM upload_chunks WHERE upload = ?", (number,))
            deleted += self._connection.changes()
            self._connection.execute("DELETE FROM uploads WHERE number = ?", (number,))
            deleted += 1
            if deleted >= operation.max_rows:
                break
        return deleted

    def _expire_results(self, number: int, *, max_rows: int) -> tuple[int, bool]:
        """Deletes the first results of an upload, each with its subjects.

        Returns how many rows, and whether some may be left.
        """
        last: Any = self._connection.execute(  # Any: each column has its own type
            "SELECT chunk_sequence, event_index FROM upload_results WHERE upload = ? ORDER BY 1, 2"
            " LIMIT 1 OFFSET ?",
            (number, max(max_rows // _ROWS_A_RESULT, 1) - 1),
        ).fetchone()
        through_sequence, through_index = last or (MAX_SEQUENCE, 0)
        self._connection.execute(
            "DELETE FROM upload_results WHERE upload = ? AND (chunk_sequence, event_index) <= (?, ?)",
            (number, through_sequence, through_index),
        )
        deleted = self._connection.changes()
        chunk = ChunkPlace(number, through_sequence)
        deleted += self._rejections.remove_before(chunk)
        deleted += self._rejections.remove(chunk, range(through_index + 1))
        return deleted, last is not None

    def _remember(self, number: int, chunk: CommitChunk, *, events_through: int) -> None:
        self._connection.execute(
            "INSERT INTO upload_chunks VALUES (?, ?, ?, ?, ?, ?)",
            (number, chunk.sequence, chunk.digest, events_through, *(chunk.source or (None, None))),
        )
        self._connection.execute(
            "DELETE FROM upload_chunks WHERE upload = ? AND sequence <= ?",
            (number, chunk.sequence - MAX_REMEMBERED_CHUNKS),
        )

    def _remembered_chunks(self, number: int) -> tuple[CommittedChunk, ...]:
        rows = self._connection.execute(
            "SELECT sequence, events_through, source_events, source_sha256 FROM upload_chunks"
            " WHERE upload = ? ORDER BY sequence",
            (number,),
        )
        return tuple(
            CommittedChunk(sequence, events_through, _source_digest(*source))
            for sequence, events_through, *source in rows
        )

    def _require_same(self, number: int, chunk: CommitChunk, state: UploadState) -> None:
        """Raises ChunkChangedError unless the chunk is the one that was committed."""
        row = self._connection.execute(
            "SELECT digest FROM upload_chunks WHERE upload = ? AND sequence = ?", (number, chunk.sequence)
        ).fetchone()
        if row is None or row[0] != chunk.digest:
            raise ChunkChangedError(
                upload_id=chunk.upload_id,
                sequence=chunk.sequence,
                committed_through=state.committed_through,
            )

    def _require_permitted(self, operation: OpenUpload) -> None:
        """Raises ScopeMissingError if the upload is there and belongs to another principal."""
        row = self._connection.execute(
            "SELECT principal FROM uploads WHERE account_id = ? AND upload_id = ?",
            (operation.account_id, operation.upload_id),
        ).fetchone()
        is_permitted = row is None or row[0] in {"", operation.principal} or operation.is_admin
        if not is_permitted:
            raise ScopeMissingError(_ADMIN)

    def _owned(self, account_id: str, upload_id: str, owner: str) -> UploadRow:
        row = find_upload(self._connection, account_id, upload_id)
        if row.owner != owner:
            raise UploadTakenOverError(upload_id)
        return row

    def _stored_results(self, number: int, chunk: CommitChunk) -> list[Verdict]:
        sent = {
            index: record.event_id
            for index, record in zip(chunk.batch.indexes, chunk.batch.records, strict=True)
        }
        sent |= {rejection.index: rejection.event_id for rejection in chunk.batch.rejections}
        rows = self._connection.execute(
            "SELECT event_index, event_id, outcome, position, error FROM upload_results"
            " WHERE upload = ? AND chunk_sequence = ? ORDER BY event_index",
            (number, chunk.sequence),
        )
        return [
            Verdict(index, event_id or sent.get(index, ""), Outcome(outcome), position, restored_error(error))
            for index, event_id, outcome, position, error in rows
        ]


def _as_stored(verdict: Verdict) -> Verdict:
    """The verdict without the id of an erased or suppressed event, and without keys of maps."""
    if verdict.outcome == Outcome.REJECTED:
        return verdict._replace(error=stored_error(verdict.error))
    return verdict if verdict.position else verdict._replace(event_id="")
