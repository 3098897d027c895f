"""What callers are told: each error has the reason that clients branch on.

    EngagementError
    ├── ConfigurationError              the server cannot start like this
    ├── DamagedEventsError              some events cannot be read, others behind them can
    ├── LogError                        a replicated log cannot be used
    │   ├── SubscriberError
    │   ├── LogUnreachableError
    │   │   └── LogAccessDeniedError
    │   ├── LogReplacedError
    │   ├── StaleViewError
    │   ├── UnreadableCommitError
    │   ├── UnusableMessageError
    │   │   ├── DamagedMessageError
    │   │   └── InapplicableCommitError
    │   ├── DamagedSnapshotError
    │   ├── WriterGoneError
    │   └── WriterFailedError
    └── RequestError                    a call, or one event of it, is refused
        ├── UnauthenticatedError
        │   ├── TokenMissingError
        │   ├── TokenInvalidError
        │   └── TokenExpiredError
        ├── PermissionDeniedError
        │   ├── AccountForbiddenError
        │   └── ScopeMissingError
        ├── ExhaustedError
        │   └── QuotaExceededError
        ├── InvalidRequestError
        │   ├── AccountMismatchError
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
        │   ├── ChunkChangedError
        │   ├── FinishMismatchError
        │   ├── UploadAllRejectedError
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
        ├── DataLossError
        │   ├── DataDamagedError
        │   └── LogDamagedError
        └── UnavailableError
            ├── OverloadedError
            ├── DrainingError
            ├── ProfilePendingError
            └── StoreUnavailableError

They know nothing of gRPC; `api/grpc/status.py` gives each family its code.
"""

from engagement_server.errors.access import (
    AccountForbiddenError,
    AccountMismatchError,
    QuotaExceededError,
    ScopeMissingError,
    TokenExpiredError,
    TokenInvalidError,
    TokenMissingError,
)
from engagement_server.errors.base import (
    ConflictError,
    DataLossError,
    EngagementError,
    ExhaustedError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    PreconditionError,
    RequestError,
    TakenOverError,
    UnauthenticatedError,
    UnavailableError,
)
from engagement_server.errors.damage import DamagedEventsError, DataDamagedError, LogDamagedError
from engagement_server.errors.faults import (
    ConfigurationError,
    DamagedMessageError,
    DamagedSnapshotError,
    InapplicableCommitError,
    LogAccessDeniedError,
    LogError,
    LogReplacedError,
    LogUnreachableError,
    StaleViewError,
    SubscriberError,
    UnreadableCommitError,
    UnusableMessageError,
    WriterFailedError,
    WriterGoneError,
)
from engagement_server.errors.invalid import (
    MAX_COUNTED_EVENTS,
    BatchTooLargeError,
    ChunkTooLargeError,
    CursorMalformedError,
    CursorMismatchError,
    EntityUnknownError,
    FieldInvalidError,
    FilterInvalidError,
    PageTokenMismatchError,
)
from engagement_server.errors.missing import (
    EntityNotFoundError,
    ErasureNotFoundError,
    EventNotFoundError,
    ProfileNotFoundError,
    UploadNotFoundError,
)
from engagement_server.errors.state import (
    ChunkChangedError,
    CursorExpiredError,
    EventIdConflictError,
    FinishMismatchError,
    LogEpochChangedError,
    PartitionNotServedError,
    RequestIdReusedError,
    SequenceGapError,
    UploadAllRejectedError,
    UploadFinishedError,
    UploadTakenOverError,
)
from engagement_server.errors.unavailable import (
    DrainingError,
    OverloadedError,
    ProfilePendingError,
    StoreUnavailableError,
)

__all__ = [
    "MAX_COUNTED_EVENTS",
    "AccountForbiddenError",
    "AccountMismatchError",
    "BatchTooLargeError",
    "ChunkChangedError",
    "ChunkTooLargeError",
    "ConfigurationError",
    "ConflictError",
    "CursorExpiredError",
    "CursorMalformedError",
    "CursorMismatchError",
    "DamagedEventsError",
    "DamagedMessageError",
    "DamagedSnapshotError",
    "DataDamagedError",
    "DataLossError",
    "DrainingError",
    "EngagementError",
    "EntityNotFoundError",
    "EntityUnknownError",
    "ErasureNotFoundError",
    "EventIdConflictError",
    "EventNotFoundError",
    "ExhaustedError",
    "FieldInvalidError",
    "FilterInvalidError",
    "FinishMismatchError",
    "InapplicableCommitError",
    "InvalidRequestError",
    "LogAccessDeniedError",
    "LogDamagedError",
    "LogEpochChangedError",
    "LogError",
    "LogReplacedError",
    "LogUnreachableError",
    "NotFoundError",
    "OverloadedError",
    "PageTokenMismatchError",
    "PartitionNotServedError",
    "PermissionDeniedError",
    "PreconditionError",
    "ProfileNotFoundError",
    "ProfilePendingError",
    "QuotaExceededError",
    "RequestError",
    "RequestIdReusedError",
    "ScopeMissingError",
    "SequenceGapError",
    "StaleViewError",
    "StoreUnavailableError",
    "SubscriberError",
    "TakenOverError",
    "TokenExpiredError",
    "TokenInvalidError",
    "TokenMissingError",
    "UnauthenticatedError",
    "UnavailableError",
    "UnreadableCommitError",
    "UnusableMessageError",
    "UploadAllRejectedError",
    "UploadFinishedError",
    "UploadNotFoundError",
    "UploadTakenOverError",
    "WriterFailedError",
    "WriterGoneError",
]
