"""Errors as gRPC statuses with details."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from engagement.limits import MAX_VIOLATIONS
from engagement_server.errors import (
    ConflictError,
    DataLossError,
    ExhaustedError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    PreconditionError,
    QuotaExceededError,
    RequestError,
    TakenOverError,
    UnauthenticatedError,
    UnavailableError,
)
from engagement_server.messages import bounded

if TYPE_CHECKING:
    from google.protobuf.message import Message

DOMAIN = "engagement.v1"
# Clients refuse metadata over 16 KiB, base64 and other entries included.
MAX_DETAILS_BYTES = 4096
CODES: dict[type[RequestError], grpc.StatusCode] = {
    InvalidRequestError: grpc.StatusCode.INVALID_ARGUMENT,
    ConflictError: grpc.StatusCode.ALREADY_EXISTS,
    PreconditionError: grpc.StatusCode.FAILED_PRECONDITION,
    TakenOverError: grpc.StatusCode.ABORTED,
    NotFoundError: grpc.StatusCode.NOT_FOUND,
    DataLossError: grpc.StatusCode.DATA_LOSS,
    UnavailableError: grpc.StatusCode.UNAVAILABLE,
    UnauthenticatedError: grpc.StatusCode.UNAUTHENTICATED,
    PermissionDeniedError: grpc.StatusCode.PERMISSION_DENIED,
    ExhaustedError: grpc.StatusCode.RESOURCE_EXHAUSTED,
}
Metadata = tuple[tuple[str, str | bytes], ...]


def code_of(error: RequestError) -> grpc.StatusCode:
    """The gRPC code of an error."""
    return next(code for family, code in CODES.items() if isinstance(error, family))


def describe(error: RequestError) -> tuple[grpc.StatusCode, str, Metadata]:
    """Code, message and trailing metadata for an error."""
    code = code_of(error)
    message = bounded(error.message)
    info = error_details_pb2.ErrorInfo(
        reason=error.reason,
        domain=DOMAIN,
        metadata={
            key: bounded(value, max_bytes=error.max_metadata_bytes) for key, value in error.metadata.items()
        },
    )
    details: list[Message] = [info]
    trailing: list[tuple[str, str | bytes]] = []
    if isinstance(error, QuotaExceededError):
        details.append(_quota_failure(error))
    if isinstance(error, UnavailableError | ExhaustedError) and error.retry_delay_seconds is not None:
        delay_ms = int(error.retry_delay_seconds * 1000)
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(delay_ms)
        details.append(retry)
        if isinstance(error, UnavailableError):  # clients wait for quotas by themselves
            trailing.append(("grpc-retry-pushback-ms", str(delay_ms)))
    if isinstance(error, InvalidRequestError) and error.violations:
        details.append(_bad_request(error, room=MAX_DETAILS_BYTES - info.ByteSize() - len(message.encode())))
    trailing.append(_details_entry(code, message, details))
    return code, message, tuple(trailing)


def describe_internal(request_id: str) -> tuple[grpc.StatusCode, str, Metadata]:
    """Code, message and trailing metadata for an unexpected failure, without internals."""
    message = f"internal error; the server's log has the cause under request id {request_id}"
    info = error_details_pb2.ErrorInfo(reason="INTERNAL", domain=DOMAIN, metadata={"requestId": request_id})
    code = grpc.StatusCode.INTERNAL
    return code, message, (_details_entry(code, message, [info]),)


def _quota_failure(error: QuotaExceededError) -> error_details_pb2.QuotaFailure:
    failure = error_details_pb2.QuotaFailure()
    failure.violations.add(
        subject="grant",
        description=bounded(error.message),
        api_service=DOMAIN,
        quota_metric=error.quota,
        quota_value=int(error.limit),
    )
    return failure


def _bad_request(error: InvalidRequestError, *, room: int) -> error_details_pb2.BadRequest:
    bad_request = error_details_pb2.BadRequest()
    for violation in error.violations[:MAX_VIOLATIONS]:
        bad_request.field_violations.add(
            field=violation.field, description=bounded(violation.description), reason=violation.rule
        )
        if bad_request.ByteSize() > room - 256 and len(bad_request.field_violations) > 1:
            del bad_request.field_violations[-1]
            break
    return bad_request


def _details_entry(code: grpc.StatusCode, message: str, details: list[Message]) -> tuple[str, bytes]:
    status = status_pb2.Status(code=code.value[0], message=message)
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return "grpc-status-details-bin", status.SerializeToString()
