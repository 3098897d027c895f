"""Messages with their wire bytes and JSON, and texts at the limit of their length."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message

from engagement import v1

Json = Any  # what json.dumps takes

_MAX_INT64 = 2**63 - 1
_FOUR_BYTES = "\N{GRINNING FACE}"
_MAX_CHARACTERS = 50_000


def events() -> list[Json]:
    """The cases of events.json."""
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
    # Unknown fields, which JSON drops: 14, reserved for a future attribute set, and 40 inside the set.
    later = v1.Event.FromString(b"\x0a\x02e1\x52\x08\x22\x011\xc2\x02\x02hi" + b"\x72\x05\x0a\x03new")
    cases: list[tuple[str, Message]] = [
        ("every-field-of-a-customer", full),
        ("every-field-of-a-person", v1.Event(event_id="e1", personal_info=person)),
        ("empty-event", v1.Event()),
        ("empty-attribute-set", v1.Event(event_id="e1", personal_info=v1.PersonalInfo())),
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
            "integer-that-no-double-holds",
            v1.Event(customer_info=v1.CustomerInfo(server_time_stamp=2**53 + 1)),
        ),
        ("empty-date", v1.Event(customer_info=v1.CustomerInfo(last_payment_date=v1.Date()))),
        (
            "unusual-text",
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
        ("date", v1.Date(year=9999, month=12, day=31)),
        (
            "stored-event",
            v1.StoredEvent(
                event=unknown,
                cursor="AexF_HYAAAEAAAAAAUyemsWxmw",
                receive_time={"seconds": 1_795_467_120, "nanos": 935_000_000},
                matched_customer_status="Cancelled",
                matched_customer_type="VIP",
            ),
        ),
        (
            "filter",
            v1.EventFilter(
                attribute_sets=[v1.AttributeSet.ATTRIBUTE_SET_PERSONAL_INFO],
                consumer_ids=["a", ""],
                authenticated=False,
                start_time={"seconds": 0},
                text='"a phrase"',
                subject_ids=["", "a"],
                receive_start_time={"seconds": 0},
                receive_end_time={"seconds": 1, "nanos": 1},
            ),
        ),
        (
            "rejected-result",
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
                    metadata={"rule": "string.max_len"},
                ),
            ),
        ),
        (
            "rejected-entity",
            v1.EventResult(
                event_id="e2",
                outcome=v1.Outcome.OUTCOME_REJECTED,
                error=v1.EventError(
                    reason=v1.ErrorReason.ERROR_REASON_ENTITY_UNKNOWN,
                    message="customer_info.customer_type: not on the list",
                    metadata={"allowed": '"gold", "silver"'},
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
    """The same event with the attribute set after the additional attributes."""
    if not isinstance(message, v1.Event) or not message.additional_attributes:
        return []
    rest, attributes = v1.Event(), v1.Event()
    rest.CopyFrom(message)
    kind = message.WhichOneof("attributes")
    assert kind is not None
    getattr(attributes, kind).CopyFrom(getattr(message, kind))
    rest.ClearField(kind)
    return [rest.SerializeToString(deterministic=True) + attributes.SerializeToString(deterministic=True)]


def texts() -> list[Json]:
    """The cases of texts.json."""
    longest = [
        ("longest-of-one-byte", "a", _MAX_CHARACTERS, None),
        ("longest-of-two-bytes", "\u00e9", _MAX_CHARACTERS, None),
        ("longest-of-three-bytes", "\u65e5", _MAX_CHARACTERS, None),
        ("longest-of-four-bytes", _FOUR_BYTES, _MAX_CHARACTERS, None),
        ("one-too-many-of-one-byte", "a", _MAX_CHARACTERS + 1, "string.max_len"),
        ("one-too-many-of-four-bytes", _FOUR_BYTES, _MAX_CHARACTERS + 1, "string.max_len"),
        # A letter and two combining marks look like one character and count as three.
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


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()
