"""What callers are told: each error has the reason that clients branch on.

    EngagementError
    ├── …                               faults.py: the server cannot start or go on
    └── RequestError                    a call, or one event of it, is refused
        ├── InvalidRequestError
        │   ├── FieldInvalidError
        │   ├── EntityUnknownError
        │   ├── BatchTooLargeError
        │   ├── ChunkTooLargeError
        │   ├── FilterInvalidError
        │   ├── PageTokenMismatchError
        │   ├── CursorMalformedError
        │   └── CursorMismatchError
        ├── ConflictError
        │   ├── EventIdConflictError
        │   └── RequestIdReusedError
        ├── PreconditionError
        │   ├── SequenceGapError
        │   ├── UploadFinishedError
        │   ├── CursorExpiredError
        │   ├── LogEpochChangedError
        │   └── PartitionNotServedError
        ├── TakenOverError
        │   └── UploadTakenOverError
        ├── NotFoundError
        │   ├── EventNotFoundError
        │   ├── UploadNotFoundError
        │   ├── EntityNotFoundError
        │   ├── ErasureNotFoundError
        │   └── ProfileNotFoundError
        └── UnavailableError
            ├── OverloadedError
            ├── DrainingError
            └── StoreUnavailableError

They know nothing of gRPC; `api/grpc/status.py` gives each family its code.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engagement.rules import Violation


class EngagementError(Exception):
    """Base of all errors that the server raises on purpose."""


class RequestError(EngagementError):
    """A call, or one event of it, is refused.

    `reason` is a name of `ErrorReason`; `metadata` holds all dynamic text of the message.
    """

    reason: ClassVar[str]
    max_metadata_bytes: ClassVar[int] = 512
    """Limit on each value of the metadata in an answer."""

    def __init__(self, message: str, **metadata: object) -> None:
        super().__init__(message)
        self.message = message
        self.metadata = {key: str(value) for key, value in metadata.items()}


class InvalidRequestError(RequestError):
    """The request can never succeed as it is."""

    violations: Sequence[Violation] = ()


class FieldInvalidError(InvalidRequestError):
    """Fields break rules of the contract."""

    reason = "FIELD_INVALID"

    def __init__(self, violations: Sequence[Violation]) -> None:
        first = violations[0]
        more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
        super().__init__(
            f"{first.field or 'the request'}: {first.description}{more}",
            field=first.field,
            rule=first.rule,
            description=first.description,
            violationsTotal=len(violations),
        )
        self.violations = violations


class FilterInvalidError(FieldInvalidError):
    """A filter cannot be understood."""

    reason = "FILTER_INVALID"


class EntityUnknownError(FieldInvalidError):
    """A value is not on a closed list; `index` is the index of its event in the batch.

    Its path starts at the event, until `within` adds the path of the event in the request.
    """

    reason = "ENTITY_UNKNOWN"
    max_metadata_bytes = 2048

    def __init__(self, violation: Violation, *, allowed: str, index: int = 0) -> None:
        super().__init__([violation])
        self.metadata["allowed"] = allowed
        self.index = index

    def within(self, path: str) -> EntityUnknownError:
        """The same error, with the path of the event in front of its own."""
        (violation,) = self.violations
        moved = replace(violation, field=f"{path}.{violation.field}")
        return EntityUnknownError(moved, allowed=self.metadata["allowed"], index=self.index)


class BatchTooLargeError(InvalidRequestError):
    """A call exceeds a limit."""

    reason = "BATCH_TOO_LARGE"

    def __init__(self, *, count: int, limit: int, unit: str) -> None:
        super().__init__(
            f"at most {limit} {unit} are allowed in one message, got {count}; split it",
            count=count,
            limit=limit,
            unit=unit,
        )


class ChunkTooLargeError(BatchTooLargeError):
    """A chunk of an upload exceeds a limit."""

    reason = "CHUNK_TOO_LARGE"


class PageTokenMismatchError(InvalidRequestError):
    """A page token is damaged, or belongs to other arguments."""

    reason = "PAGE_TOKEN_MISMATCH"

    def __init__(self) -> None:
        super().__init__(
            "page_token belongs to another account, filter or order; restart from the first page"
        )


class CursorMalformedError(InvalidRequestError):
    """A cursor was not made by this service."""

    reason = "CURSOR_MALFORMED"

    def __init__(self) -> None:
        super().__init__("cursor is not one that this service made; pass it exactly as it was received")


class CursorMismatchError(InvalidRequestError):
    """A cursor belongs to another account."""

    reason = "CURSOR_MISMATCH"

    def __init__(self) -> None:
        super().__init__("cursor belongs to another account")


class ConflictError(RequestError):
    """The id is taken."""


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


class PreconditionError(RequestError):
    """The current state does not allow this; repeating the call does not help."""


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


class TakenOverError(RequestError):
    """Another client has taken over."""


class UploadTakenOverError(TakenOverError):
    """Another stream opened the same upload."""

    reason = "UPLOAD_TAKEN_OVER"

    def __init__(self, upload_id: str) -> None:
        super().__init__(
            f"another stream has opened upload {upload_id!r} and taken it over", uploadId=upload_id
        )


class NotFoundError(RequestError):
    """Nothing has this id."""


class EventNotFoundError(NotFoundError):
    """No event has this id or cursor."""

    reason = "EVENT_NOT_FOUND"

    def __init__(self, **key: str) -> None:
        ((name, value),) = key.items()
        super().__init__(f"the account has no event with {name} {value!r}", **key)


class UploadNotFoundError(NotFoundError):
    """No upload has this id."""

    reason = "UPLOAD_NOT_FOUND"

    def __init__(self, upload_id: str) -> None:
        super().__init__(f"the account has no upload {upload_id!r}", uploadId=upload_id)


class EntityNotFoundError(NotFoundError):
    """A list does not have this name."""

    reason = "ENTITY_NOT_FOUND"

    def __init__(self, name: str) -> None:
        super().__init__(f"the list has no name {name!r}", name=name)


class ErasureNotFoundError(NotFoundError):
    """No erasure has this id."""

    reason = "ERASURE_NOT_FOUND"

    def __init__(self, erasure_id: str) -> None:
        super().__init__(f"the account has no erasure {erasure_id!r}", erasureId=erasure_id)


class ProfileNotFoundError(NotFoundError):
    """No event describes this consumer."""

    reason = "PROFILE_NOT_FOUND"

    def __init__(self, **key: str) -> None:
        ((name, value),) = key.items()
        super().__init__(f"no event of the account describes the consumer with {name} {value!r}", **key)


class UnavailableError(RequestError):
    """The same call with the same ids succeeds later."""

    retry_delay_seconds = 1.0


class OverloadedError(UnavailableError):
    """Too much work is waiting."""

    reason = "OVERLOADED"

    def __init__(self) -> None:
        super().__init__("the server is overloaded; retry with the same event ids")


class DrainingError(UnavailableError):
    """The server is stopping."""

    reason = "DRAINING"

    def __init__(self) -> None:
        super().__init__("the server is stopping; retry with the same event ids")


class StoreUnavailableError(UnavailableError):
    """The store cannot be written or read."""

    reason = "STORE_UNAVAILABLE"

    def __init__(self, cause: str) -> None:
        super().__init__(f"the store is not available ({cause}); retry with the same event ids", cause=cause)
