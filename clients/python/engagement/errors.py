"""The errors of the client, and their translation from gRPC statuses.

    EngagementError
    ├── InvalidArgumentError    INVALID_ARGUMENT: correct the request
    ├── ConflictError           ALREADY_EXISTS: the id is taken by other content
    ├── PreconditionError       FAILED_PRECONDITION: not in the current state
    ├── TakenOverError          ABORTED: a newer stream has taken the upload over
    ├── NotFoundError           NOT_FOUND
    ├── UnauthenticatedError    UNAUTHENTICATED: get a (new) token
    ├── PermissionDeniedError   PERMISSION_DENIED: the token does not cover this
    ├── QuotaExceededError      RESOURCE_EXHAUSTED: wait for `retry_delay_seconds`
    ├── UnavailableError        UNAVAILABLE: retry with the same ids
    ├── DeadlineError           DEADLINE_EXCEEDED: may have taken effect; retry with the same ids
    ├── InternalError           INTERNAL, UNKNOWN, DATA_LOSS: the server's log has the cause; with the reason
    │                           DATA_DAMAGED, stored events are damaged
    └── SourceMismatchError     from the uploader: the upload began with another source

Any other code is a plain EngagementError. Cancellation is asyncio's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

_DETAILS_KEY = "grpc-status-details-bin"


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One broken rule of one field of a request."""

    field: str
    """Path from the request, such as `event.customer_info.last_payment_date.month`."""
    rule: str
    """Id of the rule, such as `string.max_len`."""
    description: str
    """The problem and the limit, for people."""

    def __str__(self) -> str:
        path = f"{self.field}: " if self.field else ""
        return f"{path}{self.description} ({self.rule})"


@dataclass(frozen=True, slots=True)
class _Details:
    """The details of a status, besides its code and message."""

    reason: str = ""
    metadata: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    violations: tuple[FieldViolation, ...] = ()
    retry_delay_seconds: float | None = None


class EngagementError(Exception):
    """A failed call, with its cause for programs and for people."""

    def __init__(  # noqa: PLR0913 - all but the first are named at the call
        self,
        message: str,
        *,
        code: grpc.StatusCode | None = None,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[FieldViolation] = (),
        retry_delay_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        """The status code; None if the client itself detected the error."""
        self.reason = reason
        """Name of an `ErrorReason` without its prefix; empty if the status is not the service's own."""
        self.metadata: Mapping[str, str] = metadata or {}
        self.violations = tuple(violations)
        """The invalid fields; the server lists at most 32."""
        self.retry_delay_seconds = retry_delay_seconds
        """How long the server asks to wait before a retry, if it does."""

    def __str__(self) -> str:
        kind = " / ".join(part for part in (self.code.name if self.code else "", self.reason) if part)
        lines = [f"{kind}: {self.message}" if kind else self.message]
        lines += [f"  {violation}" for violation in self.violations]
        total = self.metadata.get("violationsTotal", "")
        unnamed = int(total) - len(self.violations) if total.isdecimal() else 0
        if self.violations and unnamed > 0:
            lines.append(f"  and {unnamed} more")
        return "\n".join(lines)


class InvalidArgumentError(EngagementError):
    """The request breaks a rule of the contract; see `violations`."""


class ConflictError(EngagementError):
    """The id was used before, for other content."""


class PreconditionError(EngagementError):
    """The request is valid, but not in the current state, for example of an upload."""


class TakenOverError(EngagementError):
    """A newer stream has taken the upload over; this one must stop."""


class NotFoundError(EngagementError):
    """Nothing has this id, cursor or name."""


class UnauthenticatedError(EngagementError):
    """The token is missing, invalid or expired."""


class PermissionDeniedError(EngagementError):
    """The token does not cover this account or this kind of call."""


class QuotaExceededError(EngagementError):
    """A usage limit of the service has been reached."""


class UnavailableError(EngagementError):
    """The service is unreachable or cannot answer now; a retry with the same ids is safe."""


class DeadlineError(EngagementError):
    """No answer in time: the call may have taken effect; a retry with the same ids is safe."""


class InternalError(EngagementError):
    """The server failed unexpectedly."""


class SourceMismatchError(EngagementError):
    """An upload began with another source; nothing of this one was sent."""


_CLASSES: Mapping[grpc.StatusCode, type[EngagementError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgumentError,
    grpc.StatusCode.ALREADY_EXISTS: ConflictError,
    grpc.StatusCode.FAILED_PRECONDITION: PreconditionError,
    grpc.StatusCode.ABORTED: TakenOverError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.UNAUTHENTICATED: UnauthenticatedError,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDeniedError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: QuotaExceededError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineError,
    grpc.StatusCode.INTERNAL: InternalError,
    grpc.StatusCode.UNKNOWN: InternalError,
    grpc.StatusCode.DATA_LOSS: InternalError,
}


def is_expired_token(error: EngagementError) -> bool:
    """Whether a call failed because its token has expired, so that another one may help."""
    return isinstance(error, UnauthenticatedError) and error.reason == "TOKEN_EXPIRED"


OnDamage = Callable[[EngagementError], None]
"""Called with the error of a read that met damaged events and goes on behind them."""


@contextmanager
def typed_errors() -> Iterator[None]:
    """Translates a gRPC error that is raised in the block into an EngagementError."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise error_from_rpc(error) from error


def error_from_rpc(error: grpc.aio.AioRpcError) -> EngagementError:
    """The typed error for a gRPC error, with the details of its status."""
    code = error.code()
    details = _read_details(error)
    return _CLASSES.get(code, EngagementError)(
        error.details() or "no message",
        code=code,
        reason=details.reason,
        metadata=details.metadata,
        violations=details.violations,
        retry_delay_seconds=details.retry_delay_seconds,
    )


def _read_details(error: grpc.aio.AioRpcError) -> _Details:
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            try:
                return _parse_details(value)
            except DecodeError:
                # A proxy wrote it; the code and the message have to suffice.
                break
    return _Details()


def _parse_details(serialized: bytes) -> _Details:
    info = error_details_pb2.ErrorInfo()
    bad_request = error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    for detail in status_pb2.Status.FromString(serialized).details:
        for kind in (info, bad_request, retry):
            detail.Unpack(kind)
    return _Details(
        reason=info.reason,
        metadata=MappingProxyType(dict(info.metadata)),
        violations=tuple(
            FieldViolation(field=violation.field, rule=violation.reason, description=violation.description)
            for violation in bad_request.field_violations
        ),
        retry_delay_seconds=(
            retry.retry_delay.ToTimedelta().total_seconds() if retry.HasField("retry_delay") else None
        ),
    )
