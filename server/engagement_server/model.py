"""The values that travel between the layers. They know nothing of gRPC or SQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from engagement import v1


class Outcome(IntEnum):
    """What became of an event; the numbers are the contract's."""

    ACCEPTED = v1.Outcome.OUTCOME_ACCEPTED
    DUPLICATE = v1.Outcome.OUTCOME_DUPLICATE
    REJECTED = v1.Outcome.OUTCOME_REJECTED
    SUPPRESSED = v1.Outcome.OUTCOME_SUPPRESSED


ALLOWED_MARK = "; allowed: "
"""In the description of a value that is on no list of entities: before the names that are."""
_MAX_CHARACTER_BYTES = 4
# Times, a cursor, and the names and lengths of the fields of a stored event.
_MAX_ENVELOPE_BYTES = 128
# A verdict with its id and cursor, and the message of it.
_RESULT_BYTES = 512

# The next three are tuples, not dataclasses: each event needs one, and a tuple costs a third.


class EventRecord(NamedTuple):
    """A valid event as the store keeps it."""

    event_id: str
    attribute_set: int
    """A number of `AttributeSet`."""
    authenticated: bool
    server_time_ms: int
    """0 if the producer left it to the server: then the time of the commit counts."""
    payload: bytes
    """The serialized event as the producer sent it, with its id."""
    indexed_texts: tuple[str, str, str, str]
    """Texts for the search index, in the order of its columns."""


class Subject(NamedTuple):
    """The person, conversation or single event that an erasure is about."""

    kind: int
    """A number of `SubjectKind`."""
    value: str


class Rejection(NamedTuple):
    """An event that breaks a rule, and the reason."""

    index: int  # type: ignore[assignment]  # hides a method of tuples that nothing calls
    """Position of the event in its batch, from 0."""
    event_id: str
    error: bytes
    """A serialized `EventError`."""
    subjects: Sequence[Subject]
    """Whom the event names: it is suppressed and erased with them."""

    @property
    def size_bytes(self) -> int:
        """Upper bound of the memory that it takes."""
        names = sum([len(subject.value) for subject in self.subjects])
        return len(self.error) + _MAX_CHARACTER_BYTES * names


class Verdict(NamedTuple):
    """What became of one event of a batch."""

    index: int  # type: ignore[assignment]  # hides a method of tuples that nothing calls
    """Position of the event in its batch, from 0."""
    event_id: str
    outcome: Outcome
    position: int
    """Position of the stored event in the log; 0 if it is not stored."""
    error: bytes
    """A serialized `EventError` if rejected, else empty."""

    @property
    def max_result_bytes(self) -> int:
        """A bound on the bytes that the result takes in a response."""
        # The error says what is in it once more, as facts for programs.
        texts = len(self.error) + _MAX_CHARACTER_BYTES * len(self.event_id)
        return 2 * (texts + _MAX_ENVELOPE_BYTES)


@dataclass(frozen=True, slots=True)
class Batch:
    """The events of one call or chunk: the valid ones with their indexes, and the rejected ones."""

    records: Sequence[EventRecord]
    indexes: Sequence[int]
    """Indexes of the records in the batch."""
    rejections: Sequence[Rejection] = ()
    fingerprint: str = ""
    """Of the server that made the indexed texts; with another fingerprint they are made again."""

    @property
    def size_bytes(self) -> int:
        """Upper bound of the memory that the batch takes until it is answered, with the results."""
        events = sum(
            [
                len(record.payload) + _MAX_CHARACTER_BYTES * len(record.indexed_texts[0])
                for record in self.records
            ]
        )
        rejected = sum([rejection.size_bytes for rejection in self.rejections])
        return events + rejected + _RESULT_BYTES * (len(self.records) + len(self.rejections))


@dataclass(frozen=True, slots=True)
class Tally:
    """Number of events by outcome."""

    accepted: int = 0
    duplicate: int = 0
    rejected: int = 0
    suppressed: int = 0

    @property
    def is_all_rejected(self) -> bool:
        """Whether no event was accepted, a duplicate, or suppressed."""
        return self.rejected == self.total

    @property
    def total(self) -> int:
        """Number of all events."""
        return self.accepted + self.duplicate + self.rejected + self.suppressed

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.accepted + other.accepted,
            self.duplicate + other.duplicate,
            self.rejected + other.rejected,
            self.suppressed + other.suppressed,
        )


def count(verdicts: Sequence[Verdict]) -> Tally:
    """The tally of verdicts."""
    outcomes = [verdict.outcome for verdict in verdicts]
    return Tally(
        outcomes.count(Outcome.ACCEPTED),
        outcomes.count(Outcome.DUPLICATE),
        outcomes.count(Outcome.REJECTED),
        outcomes.count(Outcome.SUPPRESSED),
    )


class SourceDigest(NamedTuple):
    """The beginning of an upload's source, as the client digests it."""

    events: int
    sha256: str


class CommittedChunk(NamedTuple):
    """A chunk that an upload remembers."""

    sequence: int
    events_through: int
    """Number of events in this chunk and all before it."""
    source: SourceDigest | None


@dataclass(frozen=True, slots=True)
class UploadState:
    """The state of an upload; times are epoch milliseconds."""

    upload_id: str
    is_finished: bool
    committed_through: int
    tally: Tally
    create_time_ms: int
    update_time_ms: int
    salt: str = ""
    """Digests of the upload's events are keyed with it, so that they reveal nothing about erased events."""
    source: SourceDigest | None = None
    """The client's latest digest of its source; None if it sent none with the last chunk."""
    chunks: tuple[CommittedChunk, ...] = ()
    """The last chunks, in order; only when the upload is opened."""
    source_name: str = ""
    unreadable: int = 0
    """Number of pieces of the source that the client could not read."""


class UploadRejection(NamedTuple):
    """A rejected event of an upload."""

    chunk_sequence: int
    event_number: int
    """Among all events of the upload, from 1."""
    time_ms: int
    verdict: Verdict


class BatchPlace(NamedTuple):
    """The place of a batch in the upload that brings it."""

    upload: int
    """Number of the upload."""
    upload_id: str
    first_number: int
    """Number of the batch's first event among all events of the upload, from 1."""


@dataclass(frozen=True, slots=True)
class EntityList:
    """The names of one list in canonical spelling, and whether events with other values are rejected."""

    names: Sequence[str] = ()
    is_closed: bool = False


@dataclass(frozen=True, slots=True)
class ErasureState:
    """The state of an erasure; times are epoch milliseconds."""

    number: int
    """Increases with every erasure in the store; `NO_ERASURE` if nothing was found."""
    erasure_id: str
    request_id: str
    subject_kinds: Sequence[int]
    """Numbers of `SubjectKind`, in the order of the request."""
    erased_events: int
    cleared_rejections: int
    """Rejected events whose ids and field paths are cleared."""
    is_suppressing: bool
    create_time_ms: int
    complete_time_ms: int | None
    lift_time_ms: int | None
    """When the last of its suppressions was lifted."""
    has_more: bool
    """Whether anything may be left to erase. If not, the bytes are purged, and the erasure completes."""


NO_ERASURE = 0
"""Number of an erasure that has found nothing, and is not kept."""


class Suppression(NamedTuple):
    """A suppression of a subject, lasting or lifted; times are epoch milliseconds."""

    subject_kind: int
    """A number of `SubjectKind`."""
    erasure_id: str
    request_id: str
    create_time_ms: int
    lift_time_ms: int | None
    """None while it lasts."""


@dataclass(frozen=True, slots=True)
class ExpiryHold:
    """Why nothing expires, and since when; times are epoch milliseconds."""

    reason: int
    """A number of `ExpiryHold.Reason`."""
    since_ms: int
    commit_ms: int
    """The last time that was good."""
    clock_ms: int
    """The time of the clock that disagreed."""
    sequences: int
    """Number of positions in all accounts when the hold began."""


@dataclass(frozen=True, slots=True)
class RetentionState:
    """How long the store keeps events, and whether expiry is held."""

    retention_ms: int | None = None
    """None until the first server has set it."""
    confirmed_before_ms: int = 0
    """Events accepted before this may go however many they are: an operator has confirmed it."""
    hold: ExpiryHold | None = None


class DueEvents(NamedTuple):
    """How many events are due for expiry, and how many are stored."""

    due: int
    stored: int
    confirmed: int
    """How many of those due an operator has confirmed."""


class LogBounds(NamedTuple):
    """The bounds of an account's log."""

    account: int
    """Number of the account."""
    expired_position: int
    """Everything up to here has expired; reading may start after it."""
    last_position: int
    """The newest position, of an event or a notice; its event may have been erased."""


class Notice(NamedTuple):
    """A notice in the log that tells which events before it were erased."""

    position: int
    erasure_id: str
    erased: Sequence[int]
    """Positions of the events, in order."""


@dataclass(frozen=True, slots=True)
class FoldedProfile:
    """All events of a consumer, or with a customer id, up to a position, folded in both ways."""

    consumer_id: str
    """Empty if the fold is of a customer id."""
    through_position: int
    oldest_position: int
    """Lowest position that any value comes from."""
    merged: bytes
    """A serialized `Profile`."""
    replaced: bytes
    fingerprint: str = ""
    """Of the server that folded the events."""
    customer_id: str = ""
    read_through_position: int = 0
    """The end of the log when the events were read; events behind `through_position` are not in the fold."""


@dataclass(frozen=True, slots=True)
class PartitionState:
    """A partition that this node serves, and how fresh its view is."""

    number: int
    """From 0."""
    log_epoch: str
    view_time_ms: int | None
    """Watermark: the view holds everything accepted before this time, in epoch milliseconds; None while
    unknown."""
    is_current: bool
    """Whether the view keeps up with the log."""
    damage: str = ""
    """Why this node refuses the partition's accounts; empty while it serves them."""


class StoredRow(NamedTuple):
    """A stored event as read from the store."""

    position: int
    server_time_ms: int
    receive_time_ms: int
    payload: bytes
    matched_status: str | None
    """The entity that the event's customer status matched on acceptance."""
    matched_type: str | None
    upload_id: str | None = None
    """The upload that brought the event; None if a single call did, or its record has expired."""
    event_number: int | None = None
    """Number of the event in the upload, from 1."""

    @property
    def max_response_bytes(self) -> int:
        """A bound on the bytes that the event takes in a response."""
        names = len(self.matched_status or "") + len(self.matched_type or "") + len(self.upload_id or "")
        return len(self.payload) + _MAX_CHARACTER_BYTES * names + _MAX_ENVELOPE_BYTES


class NewEvents(NamedTuple):
    """New events of one account, at adjacent positions."""

    last_position: int
    read: Callable[[], Sequence[StoredRow]]
    """Returns the events, in order. They are put together by the call, so that others cost nothing."""
