"""The Python client of the engagement attributes service."""

from engagement.client import EngagementClient
from engagement.errors import (
    ConflictError,
    DeadlineError,
    EngagementError,
    FieldViolation,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    PreconditionError,
    QuotaExceededError,
    SourceMismatchError,
    TakenOverError,
    UnauthenticatedError,
    UnavailableError,
)
from engagement.follow import EventBatch, Follower
from engagement.upload import Progress, RejectedEvent, Uploader, UploadSummary

__all__ = [
    "ConflictError",
    "DeadlineError",
    "EngagementClient",
    "EngagementError",
    "EventBatch",
    "FieldViolation",
    "Follower",
    "InternalError",
    "InvalidArgumentError",
    "NotFoundError",
    "PermissionDeniedError",
    "PreconditionError",
    "Progress",
    "QuotaExceededError",
    "RejectedEvent",
    "SourceMismatchError",
    "TakenOverError",
    "UnauthenticatedError",
    "UnavailableError",
    "UploadSummary",
    "Uploader",
]
