"""The values that travel between the layers: what is to be stored, and what is stored.

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
    indexed_texts: tuple[str, str, str, str]
    """What the search index holds, in the order of its columns."""


class Rejection(NamedTuple):
    """An event that breaks a rule, and why."""

    index: int  # type: ignore[assignment]  # hides a method of tuples that nothing calls
    """Position of the event in its batch, from 0."""
    event_id: str
    error: bytes
    """A serialized `EventError`."""


class Verdict(NamedTuple):
    """What became of one event of a batch."""

    index: int  # type: ignore[assignment]  # hides a method of tuples that nothing calls
    """Position of the event in its batch, from 0."""
    event_id: str
    outcome: Outcome
    position: int
    """Position in the log of the stored event; 0 where there is none."""
    error: bytes
    """A serialized `EventError` where rejected, else empty."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Events of one call or chunk: the valid ones with their indexes in it, and the rejected ones."""

    records: Sequence[EventRecord]
    indexes: Sequence[int]
    """Indexes of the records in the batch."""
    rejections: Sequence[Rejection] = ()

    @property
    def size_bytes(self) -> int:
        """Bytes that the batch takes while it waits, at the most: a character may take four."""
        return sum([len(record.payload) + 4 * len(record.indexed_texts[0]) for record in self.records])


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


@dataclass(frozen=True, slots=True)
class EntityList:
    """The names of one list in their canonical spelling, and whether other values are refused."""

    names: Sequence[str] = ()
    is_closed: bool = False


class Subject(NamedTuple):
    """Whom an erasure is about."""

    kind: int
    """A number of `SubjectKind`."""
    value: str


@dataclass(frozen=True, slots=True)
class ErasureState:
    """An erasure as the store knows it; times are epoch milliseconds."""

    number: int
    """Grows with every erasure of the store."""
    erasure_id: str
    request_id: str
    subject_kind: int
    erased_events: int
    is_suppressing: bool
    create_time_ms: int
    complete_time_ms: int | None
    has_events_left: bool
    """Whether there may be more to erase; afterwards the bytes are purged, and then it is complete."""


class LogBounds(NamedTuple):
    """How far the log of an account reaches."""

    account: int
    """Number of the account."""
    expired_position: int
    """Everything up to here is gone because of its age; reading may start behind it."""
    last_position: int
    """The newest position, of an event or a notice; what stood there may be erased."""


class Notice(NamedTuple):
    """Tells, in its place in the log, which events before it were erased."""

    position: int
    erasure_id: str
    erased: Sequence[int]
    """Positions of the events, in order."""


@dataclass(frozen=True, slots=True)
class FoldedProfile:
    """All events of a consumer up to a position, folded in either way."""

    consumer_id: str
    through_position: int
    oldest_position: int
    """Lowest position that a value comes from."""
    merged: bytes
    """A serialized `Profile`."""
    replaced: bytes


@dataclass(frozen=True, slots=True)
class PartitionState:
    """A partition that this node carries, and how well it knows the partition's log."""

    number: int
    """From 0."""
    log_epoch: str
    view_time_ms: int | None
    """Everything that was accepted before this time, epoch milliseconds, is in the node's view; None
    while no such time is known."""
    is_current: bool
    """Whether the node follows the log without delay."""


class StoredRow(NamedTuple):
    """One stored event as it is read."""

    position: int
    server_time_ms: int
    receive_time_ms: int
    payload: bytes
    matched_status: str | None
    """Name of the entity that the event's customer status matched when it was accepted."""
    matched_type: str | None
