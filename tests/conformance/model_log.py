"""A log in memory, as simple as possible: the reference for real ones."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from engagement import v1
from engagement.rules import Violation
from engagement_server.errors import (
    ChunkChangedError,
    EntityNotFoundError,
    EntityUnknownError,
    EventIdConflictError,
    FinishMismatchError,
    RequestError,
    ScopeMissingError,
    SequenceGapError,
    UploadFinishedError,
    UploadNotFoundError,
    UploadTakenOverError,
)
from engagement_server.model import (
    Batch,
    CommittedChunk,
    EntityList,
    Outcome,
    Tally,
    UploadState,
    Verdict,
    count,
)
from engagement_server.operations import (
    AbandonUpload,
    ChunkCommitted,
    Commit,
    CommitChunk,
    DeleteEntity,
    ExpireUploads,
    FinishUpload,
    OpenUpload,
    Operation,
    PutEntities,
    RecordBatch,
    Recorded,
    Result,
)
from tests.support.plain_filter import caseless


class ModelEvent(NamedTuple):
    """A stored event; its rank stands for its position."""

    rank: int
    server_time_ms: int
    receive_time_ms: int
    payload: bytes
    matched_status: str | None
    matched_type: str | None
    upload_id: str | None = None
    event_number: int | None = None


@dataclass
class ModelUpload:
    """An upload and its chunks."""

    state: UploadState
    owner: str
    principal: str = ""
    results: dict[int, list[Verdict]] = field(default_factory=dict)
    digests: dict[int, bytes] = field(default_factory=dict)
    chunks: list[CommittedChunk] = field(default_factory=list)


@dataclass
class ModelLog:
    """The state of a log; operations work on a copy, which an error discards."""

    events: dict[str, dict[str, ModelEvent]] = field(default_factory=dict)
    uploads: dict[tuple[str, str], ModelUpload] = field(default_factory=dict)
    entities: dict[tuple[str, int], EntityList] = field(default_factory=dict)
    accounts: set[str] = field(default_factory=set)

    def apply(self, commit: Commit) -> list[Result | RequestError]:
        """The results of `CommitLog.commit`, with ranks for positions."""
        return [self._attempt(operation, commit.time_ms) for operation in commit.operations]

    def _attempt(self, operation: Operation, time_ms: int) -> Result | RequestError:
        trial = copy.deepcopy(self)
        try:
            result = trial._apply(operation, time_ms)
        except RequestError as error:
            return error
        self.events, self.uploads, self.entities = trial.events, trial.uploads, trial.entities
        self.accounts = trial.accounts
        return result

    def _apply(self, operation: Operation, time_ms: int) -> Result:
        match operation:
            case RecordBatch(account_id, batch, is_atomic):
                return Recorded(self._record(account_id, batch, time_ms, is_atomic=is_atomic))
            case OpenUpload():
                return self._open(operation, time_ms)
            case CommitChunk():
                return self._commit_chunk(operation, time_ms)
            case FinishUpload():
                return self._finish(operation, time_ms)
            case ExpireUploads(idle_since_ms):
                return self._expire(idle_since_ms)
            case AbandonUpload():
                return self._abandon(operation)
            case PutEntities():
                return self._put(operation)
            case DeleteEntity():
                return self._delete(operation)
            case _:
                raise AssertionError(f"the model's histories have no {type(operation).__name__}")

    def _record(
        self,
        account_id: str,
        batch: Batch,
        time_ms: int,
        *,
        is_atomic: bool,
        upload: UploadState | None = None,
    ) -> list[Verdict]:
        known = self.events.setdefault(account_id, {})
        verdicts = [
            Verdict(item, name, Outcome.REJECTED, 0, error) for item, name, error, _ in batch.rejections
        ]
        for item, record in zip(batch.indexes, batch.records, strict=True):
            name, outcome, error = record.event_id, Outcome.DUPLICATE, b""
            if name not in known:
                try:
                    matched = self._match(account_id, record.payload, item)
                except EntityUnknownError:
                    if is_atomic:
                        raise
                    verdicts.append(Verdict(item, name, Outcome.REJECTED, 0, _UNKNOWN))
                    continue
                times = record.server_time_ms or time_ms, time_ms
                event = ModelEvent(len(known) + 1, *times, record.payload, matched[0], matched[1])
                if upload is not None:
                    number = upload.tally.total + item + 1
                    event = event._replace(upload_id=upload.upload_id, event_number=number)
                known[name] = event
                outcome = Outcome.ACCEPTED
                self.accounts.add(account_id)
            elif known[name].payload != record.payload:
                if is_atomic:
                    raise EventIdConflictError(name)
                outcome, error = Outcome.REJECTED, _CONFLICT
            rank = 0 if outcome is Outcome.REJECTED else known[name].rank
            verdicts.append(Verdict(item, name, outcome, rank, error))
        return sorted(verdicts)

    def _match(self, account_id: str, payload: bytes, item: int) -> list[str | None]:
        """Matched status and type. Raises EntityUnknownError."""
        customer = v1.Event.FromString(payload).customer_info
        matched: list[str | None] = []
        for kind, attribute in _ATTRIBUTES.items():
            entities = self.entities.get((account_id, kind), EntityList())
            value = getattr(customer, attribute) if customer.HasField(attribute) else None
            same = [name for name in entities.names if value is not None and _are_same(name, value)]
            if entities.is_closed and value is not None and not same:
                violation = Violation(f"customer_info.{attribute}", "", "")
                raise EntityUnknownError(violation, allowed="", index=item)
            matched.append(same[0] if same else None)
        return matched

    def _put(self, put: PutEntities) -> EntityList:
        before = self.entities.get((put.account_id, put.kind), EntityList())
        names = list(before.names)
        for name in put.names:
            if same := [each for each in names if _are_same(each, name)]:
                names[names.index(same[0])] = name
            else:
                names.append(name)
        is_closed = before.is_closed if put.is_closed is None else put.is_closed
        after = self.entities[put.account_id, put.kind] = EntityList(names, is_closed)
        if names or is_closed:
            self.accounts.add(put.account_id)
        return after

    def _delete(self, delete: DeleteEntity) -> EntityList:
        before = self.entities.get((delete.account_id, delete.kind), EntityList())
        names = [name for name in before.names if not _are_same(name, delete.name)]
        if len(names) == len(before.names):
            raise EntityNotFoundError(delete.name)
        after = self.entities[delete.account_id, delete.kind] = replace(before, names=names)
        return after

    def _open(self, operation: OpenUpload, time_ms: int) -> UploadState:
        fresh = UploadState(operation.upload_id, False, 0, Tally(), time_ms, time_ms, operation.salt)
        new = ModelUpload(fresh, operation.owner, operation.principal)
        upload = self.uploads.setdefault((operation.account_id, operation.upload_id), new)
        if upload.principal not in {"", operation.principal} and not operation.is_admin:
            raise ScopeMissingError("admin")
        upload.owner = operation.owner
        if operation.source_name:
            upload.state = replace(upload.state, source_name=operation.source_name)
        return replace(upload.state, chunks=tuple(upload.chunks))

    def _commit_chunk(self, chunk: CommitChunk, time_ms: int) -> ChunkCommitted:
        upload = self._owned(chunk)
        through = upload.state.committed_through
        if chunk.sequence > through:
            if upload.state.is_finished:
                raise UploadFinishedError(upload_id=chunk.upload_id, committed_through=through)
            if chunk.sequence > through + 1:
                raise SequenceGapError(
                    upload_id=chunk.upload_id, sequence=chunk.sequence, expected=through + 1
                )
            verdicts = self._record(
                chunk.account_id, chunk.batch, time_ms, is_atomic=False, upload=upload.state
            )
            upload.digests[chunk.sequence] = chunk.digest
            upload.results[chunk.sequence] = [
                verdict for verdict in verdicts if verdict.outcome is not Outcome.ACCEPTED
            ]
            upload.state = replace(
                upload.state,
                committed_through=chunk.sequence,
                tally=upload.state.tally + count(verdicts),
                update_time_ms=time_ms,
                source=chunk.source,
            )
            upload.chunks.append(CommittedChunk(chunk.sequence, upload.state.tally.total, chunk.source))
        elif chunk.digest != upload.digests[chunk.sequence]:
            raise ChunkChangedError(
                upload_id=chunk.upload_id, sequence=chunk.sequence, committed_through=through
            )
        state = upload.state
        return ChunkCommitted(
            chunk.sequence, state.committed_through, state.tally, upload.results[chunk.sequence]
        )

    def _finish(self, finish: FinishUpload, time_ms: int) -> UploadState:
        upload = self._owned(finish)
        expected = upload.state.committed_through
        if finish.last_sequence != expected and upload.state.is_finished:
            raise FinishMismatchError(
                upload_id=finish.upload_id, last_sequence=finish.last_sequence, committed_through=expected
            )
        if finish.last_sequence != expected:
            raise SequenceGapError(
                upload_id=finish.upload_id, sequence=finish.last_sequence, expected=expected + 1
            )
        if not upload.state.is_finished:
            source = finish.source or upload.state.source
            upload.state = replace(
                upload.state,
                is_finished=True,
                update_time_ms=time_ms,
                source=source,
                unreadable=finish.unreadable,
            )
        return upload.state

    def _abandon(self, abandon: AbandonUpload) -> int:
        key = abandon.account_id, abandon.upload_id
        upload = self.uploads.get(key)
        if upload is None or upload.owner != abandon.owner or upload.state.is_finished or upload.chunks:
            return 0
        del self.uploads[key]
        return 1

    def _expire(self, idle_since_ms: int) -> int:
        idle = [
            key
            for key, upload in self.uploads.items()
            if not upload.state.is_finished and upload.state.update_time_ms < idle_since_ms
        ]
        expired = [self.uploads.pop(key) for key in idle]
        for account_id, upload_id in idle:
            known = self.events.get(account_id, {})
            for name, event in known.items():
                if event.upload_id == upload_id:
                    known[name] = event._replace(upload_id=None)
        return sum(1 + len(each.chunks) + sum(map(_rows, each.results.values())) for each in expired)

    def _owned(self, operation: CommitChunk | FinishUpload) -> ModelUpload:
        upload = self.uploads.get((operation.account_id, operation.upload_id))
        if upload is None:
            raise UploadNotFoundError(operation.upload_id)
        if upload.owner != operation.owner:
            raise UploadTakenOverError(operation.upload_id)
        return upload


def _rows(results: Sequence[Verdict]) -> int:
    """The rows of a chunk: one for each result, and one for the subjects of those that are rejected."""
    return len(results) + any(each.outcome is Outcome.REJECTED for each in results)


def comparable(result: Result | RequestError, *, ranks: Mapping[int, int]) -> object:
    """A result that compares equal for equal logs: positions as ranks, errors by their content."""

    def verdicts(of: Sequence[Verdict]) -> list[tuple[object, ...]]:
        return [
            (*verdict[:3], ranks[verdict.position], v1.EventError.FromString(verdict.error).reason)
            for verdict in of
        ]

    match result:
        case EntityUnknownError():
            return type(result), result.index, result.metadata["field"]
        case RequestError():
            return type(result), result.metadata
        case Recorded():
            return verdicts(result.verdicts)
        case ChunkCommitted():
            return replace(result, not_accepted=()), verdicts(result.not_accepted)
        case _:
            return result


_CONFLICT = v1.EventError(reason=v1.ErrorReason.ERROR_REASON_EVENT_ID_CONFLICT).SerializeToString()
_UNKNOWN = v1.EventError(reason=v1.ErrorReason.ERROR_REASON_ENTITY_UNKNOWN).SerializeToString()
_ATTRIBUTES = {
    v1.EntityKind.ENTITY_KIND_CUSTOMER_STATUS: "customer_status",
    v1.EntityKind.ENTITY_KIND_CUSTOMER_TYPE: "customer_type",
}


def _are_same(name: str, value: str) -> bool:
    return caseless(name) == caseless(value)
