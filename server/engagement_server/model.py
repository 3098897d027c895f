"""The values that travel between the layers: what is to be stored, and what became of it.

They know nothing of gRPC or SQL.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from engagement import v1


class Outcome(IntEnum):
    """What became of an event; the numbers of the contract."""

    ACCEPTED = v1.Outcome.OUTCOME_ACCEPTED
    DUPLICATE = v1.Outcome.OUTCOME_DUPLICATE
    REJECTED = v1.Outcome.OUTCOME_REJECTED
    SUPPRESSED = v1.Outcome.OUTCOME_SUPPRESSED


# The next three are tuples, not dataclasses: one is made for every event, and a tuple costs a third.


class EventRecord(NamedTuple):
    """A checked event in the form in which the store keeps it."""

    event_id: str
    attribute_set: int
    """A number of `AttributeSet`."""
    authenticated: bool
    server_time_ms: int
    """0 where the producer left it to the server: then the time of the commit counts."""
    payload: bytes
    """The serialized event as the producer sent it, with its id."""
    attributes_text: str
    consumer_text: str
    conversation_text: str


class Refusal(NamedTuple):
    """An event that breaks a rule, and why."""

    item: int
    """Place of the event in its batch, from 0."""
    event_id: str
    error: bytes
    """A serialized `EventError`."""


class Verdict(NamedTuple):
    """What became of one event of a batch."""

    item: int
    """Place of the event in its batch, from 0."""
    event_id: str
    outcome: Outcome
    position: int
    """Position in the log of the stored event; 0 where there is none."""
    error: bytes
    """A serialized `EventError` where rejected, else empty."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Events of one call or chunk: the good ones with their places in it, and the refused ones."""

    records: Sequence[EventRecord]
    items: Sequence[int]
    """Places of the records in the batch."""
    refusals: Sequence[Refusal] = ()

    @property
    def size_bytes(self) -> int:
        """Bytes that the batch takes while it waits, at the most: a character may take four."""
        return sum([len(record.payload) + 4 * len(record.attributes_text) for record in self.records])


@dataclass(frozen=True, slots=True)
class Tally:
    """How many events had each outcome."""

    accepted: int = 0
    duplicate: int = 0
    rejected: int = 0
    suppressed: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.accepted + other.accepted,
            self.duplicate + other.duplicate,
            self.rejected + other.rejected,
            self.suppressed + other.suppressed,
        )


def count(verdicts: Sequence[Verdict]) -> Tally:
    """How many verdicts there are of each outcome."""
    outcomes = [verdict.outcome for verdict in verdicts]
    return Tally(
        outcomes.count(Outcome.ACCEPTED),
        outcomes.count(Outcome.DUPLICATE),
        outcomes.count(Outcome.REJECTED),
        outcomes.count(Outcome.SUPPRESSED),
    )


@dataclass(frozen=True, slots=True)
class UploadState:
    """An upload as the store knows it; times are epoch milliseconds."""

    upload_id: str
    is_finished: bool
    committed_through: int
    tally: Tally
    create_time_ms: int
    update_time_ms: int


# Operations: what a commit holds. Each answers with the value that its docstring names, or is refused
# with a RequestError, in which case it changed nothing.


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
    """Forgets unfinished uploads without a chunk since a time, a bounded number of rows; `int` rows."""

    idle_since_ms: int


Operation = RecordBatch | OpenUpload | CommitChunk | FinishUpload | ExpireUploads


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


Result = Recorded | UploadState | ChunkCommitted | int


@dataclass(frozen=True, slots=True)
class Commit:
    """Operations that become durable together, and the time at which they do.

    Applying a commit is deterministic: everything that a clock or chance decides is in it.
    """

    operations: Sequence[Operation]
    time_ms: int


class StoredRow(NamedTuple):
    """One stored event as it is read."""

    position: int
    server_time_ms: int
    receive_time_ms: int
    payload: bytes
