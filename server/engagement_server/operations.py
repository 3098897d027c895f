"""Commits: the operations that they hold, and the results.

The result of an operation has the type that its docstring names. An operation that raises a RequestError
has changed nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from engagement.limits import END_OF_TIME_MS
from engagement_server.model import (
    Batch,
    EntityList,
    ErasureState,
    FoldedProfile,
    NewEvents,
    RetentionState,
    SourceDigest,
    Subject,
    Tally,
    UploadState,
    Verdict,
)

if TYPE_CHECKING:
    from engagement_server.errors import RequestError


MAX_COMPARED_HASHES = 400_000
"""Hashes of rejected events' subjects that a step compares, in some ten milliseconds."""
RULES = 1
"""The number of the rules by which views apply operations: docs/decisions/0043-the-log-has-no-gaps.md.

Each message of a log has the number, and a version that does not know it does not apply the message.
"""


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """Stores events; returns `Recorded`. If `is_atomic`, one conflict fails all: EventIdConflictError."""

    account_id: str
    batch: Batch
    is_atomic: bool
    principal: str = ""
    """The name in the grants of who sent it; empty if nobody was asked."""


@dataclass(frozen=True, slots=True)
class OpenUpload:
    """Opens or resumes an upload for a new owner; returns `UploadState`.

    Raises ScopeMissingError if the upload belongs to another principal.
    """

    account_id: str
    upload_id: str
    owner: str
    """Identifies the stream; from now on operations of earlier owners raise UploadTakenOverError."""
    salt: str = ""
    """Salt of the upload if it is new."""
    source_name: str = ""
    """Replaces the name of the source, unless it is empty."""
    principal: str = ""
    """The name in the grants of who opens it; empty if nobody was asked. A new upload belongs to it."""
    is_admin: bool = False
    """Whether it may go on with uploads of others."""


@dataclass(frozen=True, slots=True)
class CommitChunk:
    """Stores one chunk; returns `ChunkCommitted`, with the stored results if it was committed before.

    Raises SequenceGapError, ChunkChangedError, UploadFinishedError and UploadTakenOverError.
    """

    account_id: str
    upload_id: str
    owner: str
    sequence: int
    batch: Batch
    digest: bytes = b""
    """Identifies the content of the chunk within the upload."""
    source: SourceDigest | None = None
    principal: str = ""
    """The name in the grants of who sent it, who need not have opened the upload."""


@dataclass(frozen=True, slots=True)
class FinishUpload:
    """Ends an upload; returns `UploadState`.

    Raises SequenceGapError, FinishMismatchError and UploadTakenOverError.
    """

    account_id: str
    upload_id: str
    owner: str
    last_sequence: int
    source: SourceDigest | None = None
    unreadable: int = 0
    """Number of pieces of the source that the client could not read."""


@dataclass(frozen=True, slots=True)
class AbandonUpload:
    """Deletes an upload without chunks, unless it is finished or another stream owns it.

    Returns the `int` number deleted.
    """

    account_id: str
    upload_id: str
    owner: str


@dataclass(frozen=True, slots=True)
class ExpireUploads:
    """Expires idle uploads, a bounded number of rows; returns the `int` number of rows: 0 while held."""

    idle_since_ms: int
    """Time of the last chunk, at the latest, for unfinished uploads."""
    finished_before_ms: int = 0
    """Time of the end, at the latest, for finished uploads."""
    max_uploads: int = 100
    max_rows: int = 10_000


@dataclass(frozen=True, slots=True)
class PutEntities:
    """Adds names to a list, and closes or opens it; returns `EntityList`. Raises FieldInvalidError."""

    account_id: str
    kind: int
    """A number of `EntityKind`."""
    names: Sequence[str]
    is_closed: bool | None
    """None: unchanged."""


@dataclass(frozen=True, slots=True)
class DeleteEntity:
    """Removes a name from a list; returns `EntityList`. Raises EntityNotFoundError."""

    account_id: str
    kind: int
    name: str


@dataclass(frozen=True, slots=True)
class BeginErasure:
    """Begins an erasure of all events stored so far; returns `ErasureState`.

    A repeated request returns the same erasure. Raises RequestIdReusedError.
    """

    account_id: str
    request_id: str
    erasure_id: str
    subjects: Sequence[Subject]
    suppress: bool


@dataclass(frozen=True, slots=True)
class EraseEvents:
    """Erases a bounded number of events, and clears a bounded number of rejected ones.

    Returns `ErasureState`. Raises ErasureNotFoundError.
    """

    account_id: str
    erasure_id: str
    max_events: int = 1_000
    """Also the most events of one notice."""
    max_bytes: int = 16 * 1024 * 1024
    max_candidates: int = 20_000
    """Events to look at."""
    max_rejections: int = 1_000
    max_compared: int = MAX_COMPARED_HASHES
    """Hashes of rejected events' subjects to compare."""
    max_results: int = 5_000
    """Results of uploads that name the erased events: each time that an event was sent again left one."""


@dataclass(frozen=True, slots=True)
class CompleteErasure:
    """Completes an erasure whose bytes are purged; returns `ErasureState`.

    Nothing is kept of an erasure that has found and suppressed nothing: it then stays incomplete. Raises
    ErasureNotFoundError.
    """

    account_id: str
    erasure_id: str


@dataclass(frozen=True, slots=True)
class LiftSuppression:
    """Lifts the suppression of a subject, or of an erasure's subject; returns the `int` number lifted.

    Raises ErasureNotFoundError.
    """

    account_id: str
    target: Subject | str
    """A subject, or the id of an erasure."""


@dataclass(frozen=True, slots=True)
class ExpireEvents:
    """Expires a bounded number of an account's oldest events; returns the `int` number: 0 while held.

    It changes nothing if that would remove events before the end of their retention.
    """

    account_id: str
    accepted_before_ms: int
    max_events: int = 500
    clock_ms: int = END_OF_TIME_MS
    """Time of the node; events with a later one were accepted by a clock that was ahead."""
    max_bytes: int = 4 * 1024 * 1024
    """Bytes of events, but at least one event."""
    max_results: int = 5_000
    """Results of uploads that name the events: as in `EraseEvents`, but at least those of one event."""


@dataclass(frozen=True, slots=True)
class SetRetention:
    """Sets how long events are kept; returns `RetentionState`."""

    retention_ms: int
    is_first: bool
    """Whether to change nothing if it is set already."""


@dataclass(frozen=True, slots=True)
class HoldExpiry:
    """Holds expiry, unless it is held already; returns `RetentionState`."""

    reason: int
    """A number of `ExpiryHold.Reason`."""
    commit_ms: int
    """The time that the clock disagrees with."""
    clock_ms: int
    """The time of the clock."""


@dataclass(frozen=True, slots=True)
class ReleaseExpiry:
    """Ends a hold of expiry; returns the `int` number of holds that ended."""

    confirmed_before_ms: int
    """Events accepted before this may all go; 0: the clock has returned, and no operator has confirmed."""
    hold_since_ms: int = 0
    """Ends only a hold that began at this time; 0: any."""


@dataclass(frozen=True, slots=True)
class SaveProfile:
    """Saves a fold; returns the `int` number saved: 0 if events of the account were removed meanwhile."""

    account_id: str
    profile: FoldedProfile


@dataclass(frozen=True, slots=True)
class ChangeEpoch:
    """Replaces the epoch of a log that still has the known one; returns `int` 1 if it had.

    Part of the log was lost after readers saw it: earlier cursors raise LogEpochChangedError from now on.
    """

    known: int
    fresh: int


AccountOperation = (
    PutEntities | DeleteEntity | BeginErasure | EraseEvents | CompleteErasure | LiftSuppression | ExpireEvents
)
"""Operations that take effect in order with the events of their account."""

Operation = (
    RecordBatch
    | OpenUpload
    | CommitChunk
    | FinishUpload
    | AbandonUpload
    | ExpireUploads
    | SaveProfile
    | ChangeEpoch
    | SetRetention
    | HoldExpiry
    | ReleaseExpiry
    | AccountOperation
)


@dataclass(frozen=True, slots=True)
class Recorded:
    """One verdict for each event, in the order of the batch."""

    verdicts: Sequence[Verdict]


@dataclass(frozen=True, slots=True)
class ChunkCommitted:
    """The state of the upload after a chunk, and the verdicts on events that were not accepted."""

    sequence: int
    committed_through: int
    tally: Tally
    not_accepted: Sequence[Verdict]


Result = Recorded | UploadState | ChunkCommitted | EntityList | ErasureState | RetentionState | int


@dataclass(frozen=True, slots=True)
class Commit:
    """Operations that become durable together, and the time of acceptance.

    Applying a commit is deterministic: it contains everything that a clock or chance decides.
    """

    operations: Sequence[Operation]
    time_ms: int
    """If the commit before has a slightly later time, that one counts."""


class Opening(NamedTuple):
    """An upload that a stream has opened."""

    account_id: str
    upload_id: str
    owner: str


class Applied(NamedTuple):
    """The effects of a commit, which readers see now."""

    results: list[Result | RequestError]
    """One for each operation, in order."""
    tails: Mapping[str, int]
    """Last positions of the accounts whose logs grew."""
    has_removed: bool
    """Whether events were erased or expired, or records of uploads."""
    openings: Sequence[Opening]
    erased: Mapping[str, Sequence[int]]
    """By account, positions of the events that were erased, ascending."""
    clock_ms: int = 0
    """The time that the commit came with."""
    retention: RetentionState = RetentionState()
    """How long events are kept after the commit, and whether expiry is held."""
    new_events: Mapping[str, NewEvents] = {}  # as for any tuple, nothing changes it
    """By account, the events that the commit has added, unless something lies between them."""
