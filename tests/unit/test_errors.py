"""gRPC statuses as typed errors."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from engagement import errors

INFO = error_details_pb2.ErrorInfo(
    reason="FIELD_INVALID", domain="engagement.v1", metadata={"violationsTotal": "3"}
)
BAD_REQUEST = error_details_pb2.BadRequest(
    field_violations=[
        {"field": "event.customer_info.balance", "description": "too long", "reason": "string.max_len"},
        {"field": "event.source", "description": "must not contain NUL", "reason": "string.not_contains"},
    ]
)


def rpc_error(code: grpc.StatusCode, *details: Message, message: str = "refused") -> grpc.aio.AioRpcError:
    status = status_pb2.Status(code=code.value[0], message=message)
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    trailing = grpc.aio.Metadata(("grpc-status-details-bin", status.SerializeToString()))
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, message)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, errors.InvalidArgumentError),
        (grpc.StatusCode.ALREADY_EXISTS, errors.ConflictError),
        (grpc.StatusCode.FAILED_PRECONDITION, errors.PreconditionError),
        (grpc.StatusCode.ABORTED, errors.TakenOverError),
        (grpc.StatusCode.NOT_FOUND, errors.NotFoundError),
        (grpc.StatusCode.UNAUTHENTICATED, errors.UnauthenticatedError),
        (grpc.StatusCode.PERMISSION_DENIED, errors.PermissionDeniedError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, errors.QuotaExceededError),
        (grpc.StatusCode.UNAVAILABLE, errors.UnavailableError),
        (grpc.StatusCode.DEADLINE_EXCEEDED, errors.DeadlineError),
        (grpc.StatusCode.INTERNAL, errors.InternalError),
        (grpc.StatusCode.UNKNOWN, errors.InternalError),
        (grpc.StatusCode.DATA_LOSS, errors.InternalError),
        (grpc.StatusCode.UNIMPLEMENTED, errors.EngagementError),
    ],
)
def test_each_code_has_its_class(code: grpc.StatusCode, kind: type[errors.EngagementError]) -> None:
    error = errors.error_from_rpc(rpc_error(code))
    assert type(error) is kind
    assert error.code is code


def test_every_code_but_ok_becomes_an_engagement_error() -> None:
    for code in set(grpc.StatusCode) - {grpc.StatusCode.OK}:
        assert isinstance(errors.error_from_rpc(rpc_error(code)), errors.EngagementError)


def test_details_become_reason_metadata_and_violations() -> None:
    error = errors.error_from_rpc(rpc_error(grpc.StatusCode.INVALID_ARGUMENT, INFO, BAD_REQUEST))
    assert error.reason == "FIELD_INVALID"
    assert error.metadata == {"violationsTotal": "3"}
    assert error.violations[0] == errors.FieldViolation(
        field="event.customer_info.balance", rule="string.max_len", description="too long"
    )
    assert error.retry_delay_seconds is None


def test_retry_info_becomes_seconds() -> None:
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromMilliseconds(1500)
    error = errors.error_from_rpc(rpc_error(grpc.StatusCode.UNAVAILABLE, retry))
    assert error.retry_delay_seconds == 1.5


def test_the_text_names_code_reason_message_and_every_violation() -> None:
    error = errors.error_from_rpc(rpc_error(grpc.StatusCode.INVALID_ARGUMENT, INFO, BAD_REQUEST))
    assert str(error).splitlines() == [
        "INVALID_ARGUMENT / FIELD_INVALID: refused",
        "  event.customer_info.balance: too long (string.max_len)",
        "  event.source: must not contain NUL (string.not_contains)",
        "  and 1 more",
    ]


def test_the_text_of_a_bare_status_is_one_line() -> None:
    error = errors.error_from_rpc(rpc_error(grpc.StatusCode.UNAVAILABLE, message="connection refused"))
    assert str(error) == "UNAVAILABLE: connection refused"


def test_the_text_of_an_error_of_the_client_is_its_message() -> None:
    assert str(errors.SourceMismatchError("too short")) == "too short"


def test_a_status_without_details_has_an_empty_reason() -> None:
    bare = grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata(), "gone")
    error = errors.error_from_rpc(bare)
    assert (error.reason, error.metadata, error.violations) == ("", {}, ())


def test_details_that_cannot_be_read_do_not_hide_the_error() -> None:
    trailing = grpc.aio.Metadata(("grpc-status-details-bin", b"\xff\xff\xff"))
    broken = grpc.aio.AioRpcError(grpc.StatusCode.NOT_FOUND, grpc.aio.Metadata(), trailing, "nothing")
    error = errors.error_from_rpc(broken)
    assert isinstance(error, errors.NotFoundError)
    assert error.message == "nothing"


def test_a_typed_error_keeps_its_cause() -> None:
    cause = rpc_error(grpc.StatusCode.NOT_FOUND)
    with pytest.raises(errors.NotFoundError) as caught, errors.typed_errors():
        raise cause
    assert caught.value.__cause__ is cause
