"""What a commit holds, and what it answers.

Each operation answers with the value that its docstring names, or is refused with a RequestError, in
which case it changed nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from engagement_server.model import (
    Batch,
    EntityList,
    ErasureState,
    FoldedProfile,
    Subject,
    Tally,
    UploadState,
    Verdict,
)

if TYPE_CHECKING:
    from engagement_server.errors import RequestError


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """Stores events; `Recorded`. Where `is_atomic`, one conflict refuses all: EventIdConflictError."""

    account_id: str
    batch: Batch
    is_atomic: bool


@dataclass(frozen=True, slots=True)
class OpenUpload:
    """Opens an upload, or goes on with it, for a new owner; `UploadState`."""

    account_id: str
    upload_id: str
    owner: str
    """Names the stream; operations of earlier owners are refused from now on."""


@dataclass(frozen=True, slots=True)
class CommitChunk:
    """Stores one chunk; `ChunkCommitted`. A chunk known already answers with its stored results.

    Refused with SequenceGapError, UploadFinishedError or UploadTakenOverError.
    """

    account_id: str
    upload_id: str
    owner: str
    sequence: int
    batch: Batch


@dataclass(frozen=True, slots=True)
class FinishUpload:
    """Ends an upload; `UploadState`. Refused with SequenceGapError or UploadTakenOverError."""

    account_id: str
    upload_id: str
    owner: str
    last_sequence: int


@dataclass(frozen=True, slots=True)
class ExpireUploads:
    """Forgets uploads without a chunk since a time, a bounded number of rows; `int` rows."""

    idle_since_ms: int
    """Counts for those that are not finished."""
    finished_before_ms: int = 0
    """Counts for finished ones."""


@dataclass(frozen=True, slots=True)
class OpenAccount:
    """Gives an account its number, where it has none; `int`, the number."""

    account_id: str


@dataclass(frozen=True, slots=True)
class PutEntities:
    """Adds names to a list and closes or opens it; `EntityList`. Refused with FieldInvalidError."""

    account_id: str
    kind: int
    """A number of `EntityKind`."""
    names: Sequence[str]
    is_closed: bool | None
    """None: as it is."""


@dataclass(frozen=True, slots=True)
class DeleteEntity:
    """Takes a name off a list; `EntityList`. Refused with EntityNotFoundError."""

    account_id: str
    kind: int
    name: str


@dataclass(frozen=True, slots=True)
class BeginErasure:
    """Registers an erasure of all that is stored now; `ErasureState`.

    The same request again answers with the same erasure. Refused with RequestIdReusedError.
    """

    account_id: str
    request_id: str
    erasure_id: str
    subject: Subject
    suppress: bool


@dataclass(frozen=True, slots=True)
class EraseEvents:
    """Erases a bounded number of the events of an erasure; `ErasureState`.

    Refused with ErasureNotFoundError.
    """

    account_id: str
    erasure_id: str


@dataclass(frozen=True, slots=True)
class CompleteErasure:
    """Marks an erasure as complete, once its bytes are purged; `ErasureState`."""

    account_id: str
    erasure_id: str


@dataclass(frozen=True, slots=True)
class LiftSuppression:
    """Lets events of a subject, or of the subject of an erasure, in again; `int` suppressions lifted.

    Refused with ErasureNotFoundError.
    """

    account_id: str
    target: Subject | str
    """A subject, or the id of an erasure."""


@dataclass(frozen=True, slots=True)
class ExpireEvents:
    """Removes a bounded number of an account's events accepted before a time; `int` events."""

    account_id: str
    accepted_before_ms: int


@dataclass(frozen=True, slots=True)
class SaveProfile:
    """Keeps a consumer's folded events; `int` profiles saved, 0 where the account has changed meanwhile."""

    account_id: str
    profile: FoldedProfile


@dataclass(frozen=True, slots=True)
class ChangeEpoch:
    """Gives the log another epoch, where it has the first one; `int` 1 where it had.

    What was seen of the log is not in it any more: cursors from before are refused from now on.
    """

    known: int
    fresh: int


AccountOperation = (
    OpenAccount
    | PutEntities
    | DeleteEntity
    | BeginErasure
    | EraseEvents
    | CompleteErasure
    | LiftSuppression
    | ExpireEvents
)
"""Operations that take effect in order with the events of their account."""

Operation = (
    RecordBatch
    | OpenUpload
    | CommitChunk
    | FinishUpload
    | ExpireUploads
    | SaveProfile
    | ChangeEpoch
    | AccountOperation
)


@dataclass(frozen=True, slots=True)
class Recorded:
    """One verdict an event, in the order of the batch."""

    verdicts: Sequence[Verdict]


@dataclass(frozen=True, slots=True)
class ChunkCommitted:
    """The upload after a chunk, and the events of the chunk that were not accepted."""

    sequence: int
    committed_through: int
    tally: Tally
    not_accepted: Sequence[Verdict]


Result = Recorded | UploadState | ChunkCommitted | EntityList | ErasureState | int


@dataclass(frozen=True, slots=True)
class Commit:
    """Operations that become durable together, and the time at which they do.

    Applying a commit is deterministic: everything that a clock or chance decides is in it.
    """

    operations: Sequence[Operation]
    time_ms: int
    """Where an earlier commit has a later time, that counts."""


class LogEntry(NamedTuple):
    """A message of a replicated log, as its views apply it."""

    sequence: int
    """Its place in the log, from 1."""
    message_id: str
    publisher: str
    """Names the process that published it, once and for all."""
    number: int
    """Grows with every commit of the publisher."""
    commit: Commit | None
    """None: nothing that changes a view."""


class Opening(NamedTuple):
    """An upload that somebody opened."""

    account_id: str
    upload_id: str
    owner: str


class Applied(NamedTuple):
    """What became of a commit that readers see."""

    results: list[Result | RequestError]
    """One an operation, in order."""
    tails: Mapping[str, int]
    """The last positions of the accounts whose logs grew."""
    has_removed: bool
    """Whether events were erased or expired."""
    openings: Sequence[Opening]
