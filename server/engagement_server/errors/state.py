"""Requests that conflict with what is stored, or with what others do."""

from __future__ import annotations

from engagement_server.errors.base import ConflictError, PreconditionError, TakenOverError


class EventIdConflictError(ConflictError):
    """An event with this id and other content is stored."""

    reason = "EVENT_ID_CONFLICT"

    def __init__(self, event_id: str) -> None:
        super().__init__(
            f"an event with id {event_id!r} and other content is stored; use an id for one event only",
            eventId=event_id,
        )


class RequestIdReusedError(ConflictError):
    """The request id was used for another request."""

    reason = "REQUEST_ID_REUSED"

    def __init__(self, request_id: str) -> None:
        super().__init__(
            f"request_id {request_id!r} was used for another request; use a new one for each",
            requestId=request_id,
        )


class SequenceGapError(PreconditionError):
    """A chunk, or the end of an upload, does not follow the last committed chunk."""

    reason = "SEQUENCE_GAP"

    def __init__(self, *, upload_id: str, sequence: int, expected: int) -> None:
        super().__init__(
            f"upload {upload_id!r} expects sequence {expected}, got {sequence}; continue with {expected}",
            uploadId=upload_id,
            sequence=sequence,
            expected=expected,
        )


class UploadFinishedError(PreconditionError):
    """A new chunk was sent to a finished upload."""

    reason = "UPLOAD_FINISHED"

    def __init__(self, *, upload_id: str, committed_through: int) -> None:
        super().__init__(
            f"upload {upload_id!r} is finished after chunk {committed_through}; open another upload_id",
            uploadId=upload_id,
            committedThrough=committed_through,
        )


class ChunkChangedError(PreconditionError):
    """A committed chunk was sent again with other events, or is too old to be compared."""

    reason = "CHUNK_CHANGED"

    def __init__(self, *, upload_id: str, sequence: int, committed_through: int) -> None:
        super().__init__(
            f"chunk {sequence} of upload {upload_id!r} was committed with other events, or too long ago to be"
            f" compared; continue after chunk {committed_through} with the same source, or open another"
            " upload_id",
            uploadId=upload_id,
            sequence=sequence,
            committedThrough=committed_through,
        )


class FinishMismatchError(PreconditionError):
    """A finished upload was finished again after another chunk."""

    reason = "FINISH_MISMATCH"

    def __init__(self, *, upload_id: str, last_sequence: int, committed_through: int) -> None:
        super().__init__(
            f"upload {upload_id!r} was finished after chunk {committed_through}, not {last_sequence}; open"
            " another upload_id for another source",
            uploadId=upload_id,
            lastSequence=last_sequence,
            committedThrough=committed_through,
        )


class UploadAllRejectedError(PreconditionError):
    """An upload has brought nothing but rejected events."""

    reason = "UPLOAD_ALL_REJECTED"

    def __init__(self, *, upload_id: str, rejected: int, committed_through: int) -> None:
        super().__init__(
            f"the first {rejected} events of upload {upload_id!r} were all rejected; correct the source and"
            " upload it under another upload_id, or resume this upload with keep_going to send the rest"
            " all the same",
            uploadId=upload_id,
            rejected=rejected,
            committedThrough=committed_through,
        )


class CursorExpiredError(PreconditionError):
    """Events after a cursor have expired."""

    reason = "CURSOR_EXPIRED"

    def __init__(self, earliest_cursor: str) -> None:
        super().__init__(
            f"the events after this cursor have expired; the earliest cursor to continue from is"
            f" {earliest_cursor}",
            earliestCursor=earliest_cursor,
        )


class LogEpochChangedError(PreconditionError):
    """A cursor or page token is from before the log was replaced."""

    reason = "LOG_EPOCH_CHANGED"

    def __init__(self) -> None:
        super().__init__("the log was replaced after this cursor was made; read again from the start")


class PartitionNotServedError(PreconditionError):
    """The account's partition is served by other nodes only."""

    reason = "PARTITION_NOT_SERVED"

    def __init__(self, *, account_id: str, partition: int, partition_count: int) -> None:
        super().__init__(
            f"account {account_id!r} is in partition {partition} of {partition_count}, which this node does"
            " not serve; call a node that does",
            accountId=account_id,
            partition=partition,
            partitionCount=partition_count,
        )


class UploadTakenOverError(TakenOverError):
    """Another stream opened the same upload."""

    reason = "UPLOAD_TAKEN_OVER"

    def __init__(self, upload_id: str) -> None:
        super().__init__(
            f"another stream has opened upload {upload_id!r} and taken it over", uploadId=upload_id
        )
