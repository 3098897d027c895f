"""The Python client of the engagement attributes service."""

from importlib import import_module

# As in typing, which would take most of the time before a command can handle Ctrl-C.
TYPE_CHECKING = False

if TYPE_CHECKING:
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
else:

    def __getattr__(name: str) -> object:
        """Imports the client on first use: `engagement.cli` and `engagement.rules` start faster."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        modules = [import_module(f"{__name__}.{home}") for home in ("errors", "client", "follow", "upload")]
        found = next(vars(module)[name] for module in modules if name in vars(module))
        globals()[name] = found
        return found


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
