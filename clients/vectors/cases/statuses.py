"""Statuses as they arrive on the wire, and the typed errors that clients make of them."""

from __future__ import annotations

import base64
from typing import Any

import grpc
from google.protobuf import any_pb2, struct_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

Json = Any  # what json.dumps takes

_DOMAIN = "engagement.v1"

# Reason: its code and example metadata.
_REASONS: dict[str, tuple[str, dict[str, str]]] = {
    "FIELD_INVALID": ("INVALID_ARGUMENT", {"field": "event.customer_info.balance", "violationsTotal": "2"}),
    "ENTITY_UNKNOWN": ("INVALID_ARGUMENT", {"allowed": '"active", "cancelled"'}),
    "BATCH_TOO_LARGE": ("INVALID_ARGUMENT", {"count": "501", "limit": "500", "unit": "events"}),
    "CHUNK_TOO_LARGE": ("INVALID_ARGUMENT", {"count": "501", "limit": "500", "unit": "events"}),
    "FILTER_INVALID": ("INVALID_ARGUMENT", {"field": "filter.text"}),
    "PAGE_TOKEN_MISMATCH": ("INVALID_ARGUMENT", {}),
    "CURSOR_MALFORMED": ("INVALID_ARGUMENT", {}),
    "CURSOR_MISMATCH": ("INVALID_ARGUMENT", {}),
    "ACCOUNT_MISMATCH": ("INVALID_ARGUMENT", {}),
    "EVENT_ID_CONFLICT": ("ALREADY_EXISTS", {"eventId": "0198a1b2-\u2026"}),
    "REQUEST_ID_REUSED": ("ALREADY_EXISTS", {"requestId": "r-1"}),
    "SEQUENCE_GAP": ("FAILED_PRECONDITION", {"uploadId": "u-1", "sequence": "9", "expected": "7"}),
    "UPLOAD_FINISHED": ("FAILED_PRECONDITION", {"uploadId": "u-1", "committedThrough": "6"}),
    "CHUNK_CHANGED": (
        "FAILED_PRECONDITION",
        {"uploadId": "u-1", "sequence": "2", "committedThrough": "6"},
    ),
    "FINISH_MISMATCH": (
        "FAILED_PRECONDITION",
        {"uploadId": "u-1", "lastSequence": "5", "committedThrough": "6"},
    ),
    "UPLOAD_ALL_REJECTED": (
        "FAILED_PRECONDITION",
        {"uploadId": "u-1", "rejected": "1000", "committedThrough": "2"},
    ),
    "CURSOR_EXPIRED": ("FAILED_PRECONDITION", {"earliestCursor": "AexF_HYAAAEAAAAAAUyemsWxmw"}),
    "LOG_EPOCH_CHANGED": ("FAILED_PRECONDITION", {}),
    "PARTITION_NOT_SERVED": (
        "FAILED_PRECONDITION",
        {"accountId": "acme", "partition": "6", "partitionCount": "8"},
    ),
    "UPLOAD_TAKEN_OVER": ("ABORTED", {"uploadId": "u-1"}),
    "EVENT_NOT_FOUND": ("NOT_FOUND", {"eventId": "e1"}),
    "UPLOAD_NOT_FOUND": ("NOT_FOUND", {"uploadId": "u-1"}),
    "ENTITY_NOT_FOUND": ("NOT_FOUND", {"name": "vip"}),
    "ERASURE_NOT_FOUND": ("NOT_FOUND", {"erasureId": "x"}),
    "PROFILE_NOT_FOUND": ("NOT_FOUND", {"consumerId": "c-1"}),
    "TOKEN_MISSING": ("UNAUTHENTICATED", {}),
    "TOKEN_INVALID": ("UNAUTHENTICATED", {}),
    "TOKEN_EXPIRED": ("UNAUTHENTICATED", {}),
    "ACCOUNT_FORBIDDEN": ("PERMISSION_DENIED", {"accountId": "acme"}),
    "SCOPE_MISSING": ("PERMISSION_DENIED", {"scopes": "ingest"}),
    "QUOTA_EXCEEDED": ("RESOURCE_EXHAUSTED", {"limit": "1000", "unit": "events/s"}),
    "OVERLOADED": ("UNAVAILABLE", {}),
    "DRAINING": ("UNAVAILABLE", {}),
    "STORE_UNAVAILABLE": ("UNAVAILABLE", {}),
    "PROFILE_PENDING": ("UNAVAILABLE", {}),
    "INTERNAL": ("INTERNAL", {"requestId": "0198a1b2"}),
    "DATA_DAMAGED": ("DATA_LOSS", {"cursor": "AexF_HYAAAEAAAAAAUyemsWxmw"}),
    "LOG_DAMAGED": ("DATA_LOSS", {"log": "engagement-0of1", "sequence": "4711", "cause": "missing"}),
}
_KINDS = {
    "INVALID_ARGUMENT": "invalid_argument",
    "ALREADY_EXISTS": "conflict",
    "FAILED_PRECONDITION": "precondition",
    "ABORTED": "taken_over",
    "NOT_FOUND": "not_found",
    "UNAUTHENTICATED": "unauthenticated",
    "PERMISSION_DENIED": "permission_denied",
    "RESOURCE_EXHAUSTED": "quota_exceeded",
    "UNAVAILABLE": "unavailable",
    "DEADLINE_EXCEEDED": "deadline",
    "INTERNAL": "internal",
    "UNKNOWN": "internal",
    "DATA_LOSS": "internal",
    "OUT_OF_RANGE": "other",
    "UNIMPLEMENTED": "other",
}
_WITH_DELAY = {
    "QUOTA_EXCEEDED": 1.5,
    "OVERLOADED": 0.25,
    "DRAINING": 1.0,
    "STORE_UNAVAILABLE": 2.0,
    "PROFILE_PENDING": 1.0,
}
_TRANSIENT_REASONS = set(_WITH_DELAY)
_VIOLATIONS = [
    {
        "field": "event.customer_info.balance",
        "rule": "string.max_len",
        "description": "must be at most 50000 characters",
    },
    {
        "field": "event.customer_info.last_payment_date.month",
        "rule": "int32.gte_lte",
        "description": "must be greater than or equal to 1 and less than or equal to 12",
    },
]


def cases() -> list[Json]:
    """The cases of errors.json."""
    made = [_reason_case(reason, code, metadata) for reason, (code, metadata) in _REASONS.items()]
    made.append(_reason_case("INVENTED_LATER", "FAILED_PRECONDITION", {"key": "value"}))
    # Statuses from elsewhere: the gRPC library or an intermediary.
    for code in sorted(_KINDS):
        is_transient = code in {"UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL", "UNKNOWN"}
        made.append(_error_case(f"bare-{code}", code, None, is_transient=is_transient))
    garbage = _base64(b"\x1a\xff\xff no status")
    made.append(_error_case("unreadable-details", "INVALID_ARGUMENT", garbage, is_transient=False))
    foreign = any_pb2.Any()
    foreign.Pack(struct_pb2.Value(string_value="of another service"))
    status = status_pb2.Status(code=14, message="why foreign-details", details=[foreign])
    made.append(
        _error_case("foreign-details", "UNAVAILABLE", _base64(status.SerializeToString()), is_transient=True)
    )
    return made


def _reason_case(reason: str, code: str, metadata: dict[str, str]) -> Json:
    name = reason.lower().replace("_", "-")
    delay = _WITH_DELAY.get(reason)
    violations = _VIOLATIONS if reason == "FIELD_INVALID" else []
    info = error_details_pb2.ErrorInfo(reason=reason, domain=_DOMAIN, metadata=metadata)
    details: list[Message] = [info]
    if delay is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(int(delay * 1e9))
        details.append(retry)
    if violations:
        bad_request = error_details_pb2.BadRequest()
        for each in violations:
            bad_request.field_violations.add(
                field=each["field"], reason=each["rule"], description=each["description"]
            )
        details.append(bad_request)
    status = status_pb2.Status(code=grpc.StatusCode[code].value[0], message=f"why {name}")
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail, deterministic=True)
        status.details.append(packed)
    return _error_case(
        name,
        code,
        _base64(status.SerializeToString(deterministic=True)),
        reason=reason,
        metadata=metadata,
        violations=violations,
        retry_delay_seconds=delay,
        is_transient=reason in _TRANSIENT_REASONS,
    )


def _error_case(name: str, code: str, details: str | None, **expected: Json) -> Json:
    nothing: Json = {"reason": "", "metadata": {}, "violations": [], "retry_delay_seconds": None}
    return {
        "name": name,
        "code": code,
        "message": f"why {name}",
        "details": details,
        "expected": {"kind": _KINDS[code], **nothing, **expected},
    }


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()
