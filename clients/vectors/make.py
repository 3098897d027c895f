"""Writes the cases that clients of all languages run: `python -m clients.vectors.make`.

Bytes come from Google's own Python library; everything else stands here.
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import any_pb2, json_format, struct_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from clients.vectors import conversations
from engagement import v1

Json = Any  # what json.dumps takes

_MAX_INT64 = 2**63 - 1
_FOUR_BYTES = "\N{GRINNING FACE}"
_MAX_CHARACTERS = 50_000
_DOMAIN = "engagement.v1"


# --- events.json


def _event_cases() -> list[Json]:
    customer = v1.CustomerInfo(
        server_time_stamp=1_700_000_000_123,
        customer_status="cancelled",
        customer_type="vip",
        balance="-400.99",
        customer_id="NW-20418",
        social_id="4444",
        imei="3543546543545688",
        user_name="ada",
        account_name="Bank Corp",
        role="broker",
        last_payment_date=v1.Date(year=2014, month=10, day=15),
        registration_date=v1.Date(year=2013, month=9, day=3),
        company_size="500",
        store_zip_code="05003",
        store_number="0123",
        login_status="logged in",
        currency="NOK",
        company_branch="Harbour",
    )
    person = v1.PersonalInfo(
        server_time_stamp=1_700_000_000_123,
        name="Ada",
        surname="Lovelace",
        gender="FEMALE",
        company="Engines",
        customer_age="1986",
        email="ada@example.com",
        phone="+1 212-788-8877",
        language="en-GB",
        other_contacts=[
            v1.PersonalContact(email="second@example.com"),
            v1.PersonalContact(phone=""),
            v1.PersonalContact(),
        ],
    )
    full = v1.Event(
        event_id="0198a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b",
        consumer_id="visitor-17",
        conversation_id="5b0c8a34",
        authenticated=True,
        original_time_stamp=1_699_999_999_999,
        source="crm",
        customer_info=customer,
        additional_attributes={"age.month": "11"},
    )
    unknown = v1.Event(event_id="e1", customer_info=v1.CustomerInfo(balance="1"))
    # Field 14 (reserved for a set to come) and, inside the set, field 40; JSON has no place for them.
    later = v1.Event.FromString(b"\x0a\x02e1\x52\x08\x22\x011\xc2\x02\x02hi" + b"\x72\x05\x0a\x03new")
    cases: list[tuple[str, Message]] = [
        ("every-field-of-a-customer", full),
        ("every-field-of-a-person", v1.Event(event_id="e1", personal_info=person)),
        ("nothing", v1.Event()),
        ("an-empty-set", v1.Event(event_id="e1", personal_info=v1.PersonalInfo())),
        (
            "empty-is-not-absent",
            v1.Event(event_id="e1", customer_info=v1.CustomerInfo(customer_status="", balance="0", role="")),
        ),
        (
            "zero-is-not-absent",
            v1.Event(original_time_stamp=0, customer_info=v1.CustomerInfo(server_time_stamp=0)),
        ),
        (
            "largest-numbers",
            v1.Event(
                original_time_stamp=_MAX_INT64, customer_info=v1.CustomerInfo(server_time_stamp=_MAX_INT64)
            ),
        ),
        (
            "smallest-numbers",
            v1.Event(original_time_stamp=-(2**63), customer_info=v1.CustomerInfo(server_time_stamp=-(2**63))),
        ),
        (
            # The first integer that a double cannot hold.
            "beyond-the-integers-of-a-double",
            v1.Event(customer_info=v1.CustomerInfo(server_time_stamp=2**53 + 1)),
        ),
        ("an-empty-date", v1.Event(customer_info=v1.CustomerInfo(last_payment_date=v1.Date()))),
        (
            "text-of-all-kinds",
            v1.Event(
                consumer_id="\u00e9 \u65e5\u672c\u8a9e \u0639\u0631\u0628\u064a",
                customer_info=v1.CustomerInfo(
                    balance=f"{_FOUR_BYTES}\ufe0f\u200d",
                    role='"quoted" \\ / \t\r\n\x01\x7f',
                    account_name="</script>",
                ),
                additional_attributes={"contexts[0].\u65e5\u672c": "\u2028\u2029\ufeff"},
            ),
        ),
        ("a-date", v1.Date(year=9999, month=12, day=31)),
        (
            "a-stored-event",
            v1.StoredEvent(
                event=unknown,
                cursor="AexF_HYAAAEAAAAAAUyemsWxmw",
                receive_time={"seconds": 1_795_467_120, "nanos": 935_000_000},
                matched_customer_status="Cancelled",
                matched_customer_type="VIP",
            ),
        ),
        (
            "a-filter",
            v1.EventFilter(
                attribute_sets=[v1.AttributeSet.ATTRIBUTE_SET_PERSONAL_INFO],
                consumer_ids=["a", ""],
                authenticated=False,
                start_time={"seconds": 0},
                text='"a phrase"',
            ),
        ),
        (
            "a-result",
            v1.EventResult(
                index=3,
                event_id="e1",
                outcome=v1.Outcome.OUTCOME_REJECTED,
                error=v1.EventError(
                    reason=v1.ErrorReason.ERROR_REASON_FIELD_INVALID,
                    message="customer_info.balance: must be at most 50000 characters",
                    violations=[
                        v1.FieldViolation(
                            field="customer_info.balance", rule="string.max_len", description="too long"
                        )
                    ],
                    violations_total=1,
                ),
            ),
        ),
        ("unknown-fields", later),
    ]
    return [_event_case(name, message) for name, message in cases]


def _event_case(name: str, message: Message) -> Json:
    wire = message.SerializeToString(deterministic=True)
    case: Json = {
        "name": name,
        "message": message.DESCRIPTOR.full_name,
        "wire": _base64(wire),
        "json": json_format.MessageToDict(message),
    }
    other_wires = [_base64(other) for other in _other_wires(message) if other != wire]
    if other_wires:
        case["other_wires"] = other_wires
    if name == "unknown-fields":
        case["json_is_lossy"] = True
    return case


def _other_wires(message: Message) -> list[bytes]:
    """The same event with the attribute set behind the additional attributes."""
    if not isinstance(message, v1.Event) or not message.additional_attributes:
        return []
    rest, attributes = v1.Event(), v1.Event()
    rest.CopyFrom(message)
    kind = message.WhichOneof("attributes")
    assert kind is not None
    getattr(attributes, kind).CopyFrom(getattr(message, kind))
    rest.ClearField(kind)
    return [rest.SerializeToString(deterministic=True) + attributes.SerializeToString(deterministic=True)]


# --- texts.json


def _text_cases() -> list[Json]:
    longest = [
        ("longest-of-one-byte", "a", _MAX_CHARACTERS, None),
        ("longest-of-two-bytes", "\u00e9", _MAX_CHARACTERS, None),
        ("longest-of-three-bytes", "\u65e5", _MAX_CHARACTERS, None),
        ("longest-of-four-bytes", _FOUR_BYTES, _MAX_CHARACTERS, None),
        ("one-too-many-of-one-byte", "a", _MAX_CHARACTERS + 1, "string.max_len"),
        ("one-too-many-of-four-bytes", _FOUR_BYTES, _MAX_CHARACTERS + 1, "string.max_len"),
        # A letter and two marks are three characters, however they look.
        ("marks-count", "e\u0301\u0323", _MAX_CHARACTERS // 3 + 1, "string.max_len"),
        ("nul", "a\x00b", 1, "string.not_contains"),
        ("no-text", "", 1, None),
    ]
    cases = []
    for name, unit, times, rule in longest:
        event = v1.Event(event_id=name, customer_info=v1.CustomerInfo(balance=unit * times))
        wire = event.SerializeToString()
        cases.append(
            {
                "name": name,
                "unit": unit,
                "times": times,
                **({"rule": rule} if rule else {}),
                "wire_bytes": len(wire),
                "wire_sha256": hashlib.sha256(wire).hexdigest(),
            }
        )
    return cases


# --- errors.json

# Reason -> code, example of the metadata.
_REASONS: dict[str, tuple[str, dict[str, str]]] = {
    "FIELD_INVALID": ("INVALID_ARGUMENT", {"field": "event.customer_info.balance", "violationsTotal": "2"}),
    "ENTITY_UNKNOWN": ("INVALID_ARGUMENT", {"allowed": '"active", "cancelled"'}),
    "BATCH_TOO_LARGE": ("INVALID_ARGUMENT", {"count": "501", "limit": "500", "unit": "events"}),
    "CHUNK_TOO_LARGE": ("INVALID_ARGUMENT", {"count": "501", "limit": "500", "unit": "events"}),
    "FILTER_INVALID": ("INVALID_ARGUMENT", {"field": "filter.text"}),
    "PAGE_TOKEN_MISMATCH": ("INVALID_ARGUMENT", {}),
    "CURSOR_MALFORMED": ("INVALID_ARGUMENT", {}),
    "CURSOR_MISMATCH": ("INVALID_ARGUMENT", {}),
    "EVENT_ID_CONFLICT": ("ALREADY_EXISTS", {"eventId": "0198a1b2-\u2026"}),
    "REQUEST_ID_REUSED": ("ALREADY_EXISTS", {"requestId": "r-1"}),
    "SEQUENCE_GAP": ("FAILED_PRECONDITION", {"uploadId": "u-1", "sequence": "9", "expected": "7"}),
    "UPLOAD_FINISHED": ("FAILED_PRECONDITION", {"uploadId": "u-1", "committedThrough": "6"}),
    "CURSOR_EXPIRED": ("FAILED_PRECONDITION", {"earliestCursor": "AexF_HYAAAEAAAAAAUyemsWxmw"}),
    "LOG_EPOCH_CHANGED": ("FAILED_PRECONDITION", {}),
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
    "SCOPE_MISSING": ("PERMISSION_DENIED", {"scope": "ingest"}),
    "QUOTA_EXCEEDED": ("RESOURCE_EXHAUSTED", {"limit": "1000", "unit": "events/s"}),
    "OVERLOADED": ("UNAVAILABLE", {}),
    "DRAINING": ("UNAVAILABLE", {}),
    "STORE_UNAVAILABLE": ("UNAVAILABLE", {}),
    "INTERNAL": ("INTERNAL", {"requestId": "0198a1b2"}),
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
_WITH_DELAY = {"QUOTA_EXCEEDED": 1.5, "OVERLOADED": 0.25, "DRAINING": 1.0, "STORE_UNAVAILABLE": 2.0}
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


def _error_cases() -> list[Json]:
    cases = [_reason_case(reason, code, metadata) for reason, (code, metadata) in _REASONS.items()]
    cases.append(_reason_case("INVENTED_LATER", "FAILED_PRECONDITION", {"key": "value"}))
    # Statuses that the service did not make: by the library, or by something in between.
    for code in sorted(_KINDS):
        is_transient = code in {"UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL", "UNKNOWN"}
        cases.append(_error_case(f"bare-{code}", code, None, is_transient=is_transient))
    garbage = _base64(b"\x1a\xff\xff no status")
    cases.append(_error_case("unreadable-details", "INVALID_ARGUMENT", garbage, is_transient=False))
    foreign = any_pb2.Any()
    foreign.Pack(struct_pb2.Value(string_value="of another service"))
    status = status_pb2.Status(code=14, message="why foreign-details", details=[foreign])
    cases.append(
        _error_case("foreign-details", "UNAVAILABLE", _base64(status.SerializeToString()), is_transient=True)
    )
    return cases


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


def files() -> dict[str, str]:
    """The text of each file by its name."""
    cases = {
        "events.json": _event_cases(),
        "texts.json": _text_cases(),
        "errors.json": _error_cases(),
        "conversations.json": conversations.cases(),
    }
    return {name: json.dumps({"cases": list_}, indent=1) + "\n" for name, list_ in cases.items()}


def main() -> None:
    """Writes all files."""
    for name, text in files().items():
        (Path(__file__).parent / name).write_text(text)


if __name__ == "__main__":
    main()
