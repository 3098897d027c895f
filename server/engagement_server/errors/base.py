"""The families of errors; `api/grpc/status.py` gives each a code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
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

    @property
    def fault(self) -> str:
        """The error for operators, in whose logs the ids that a message quotes have no place."""
        return self.reason


class InvalidRequestError(RequestError):
    """The request can never succeed as it is."""

    violations: Sequence[Violation] = ()


class UnauthenticatedError(RequestError):
    """The server does not know who calls."""


class PermissionDeniedError(RequestError):
    """The caller may not do this."""


class ExhaustedError(RequestError):
    """The caller has used up what it may use."""

    retry_delay_seconds: float | None = None
    """None if waiting does not help."""


class ConflictError(RequestError):
    """The id is taken."""


class PreconditionError(RequestError):
    """The current state does not allow this; repeating the call does not help."""


class TakenOverError(RequestError):
    """Another client has taken over."""


class NotFoundError(RequestError):
    """Nothing has this id."""


class DataLossError(RequestError):
    """Stored data is damaged and cannot be read; repeating the call does not help."""

    @property
    def fault(self) -> str:
        """The message, which says where the damage is."""
        return self.message


class UnavailableError(RequestError):
    """The same call with the same ids succeeds later."""

    retry_delay_seconds = 1.0

    @property
    def fault(self) -> str:
        """The message for operators, without the advice for callers."""
        return self.message.partition("; retry ")[0]
