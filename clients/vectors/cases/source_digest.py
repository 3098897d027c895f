"""The digest of a source, written out as the contract's `SourceDigest` defines it, and cases for it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from clients.vectors.cases.repetition import expand
from clients.vectors.cases.script import Json
from engagement import v1

_VARINT, _LENGTH = 0, 2


def source_digest(salt: str, events: Iterable[v1.Event]) -> Json:
    """The digest of a source as JSON."""
    forms = [canonical_form(event) for event in events]
    data = salt.encode() + b"".join(len(form).to_bytes(4, "big") + form for form in forms)
    return {"events": str(len(forms)), "sha256": hashlib.sha256(data).hexdigest()}


def json_digest(salt: str, events: Iterable[Json]) -> Json:
    """The digest of a source whose events are given as JSON."""
    digest = source_digest(salt, (json_format.ParseDict(expand(event), v1.Event()) for event in events))
    return {name: value for name, value in digest.items() if value != "0"}


def canonical_form(message: Message) -> bytes:
    """Known fields by number, then unknown ones as they were received."""
    known = b"".join(
        encoded
        for field, value in sorted(message.ListFields(), key=lambda pair: pair[0].number)
        for encoded in _field(field, value)
    )
    unknown: Any = UnknownFieldSet(message)  # Any: the stubs do not know that it can be iterated
    return known + b"".join(_unknown(each) for each in unknown)


def _field(field: FieldDescriptor, value: Any) -> Iterator[bytes]:  # Any: fields have values of all types
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        for key in sorted(value, key=str.encode):
            entry = _delimited(1, key.encode()) + _delimited(2, value[key].encode())
            yield _delimited(field.number, entry)
    elif field.is_repeated:
        for each in value:
            yield _single(field, each)
    else:
        yield _single(field, value)


def _single(field: FieldDescriptor, value: Any) -> bytes:  # Any: as above
    if isinstance(value, Message):
        return _delimited(field.number, canonical_form(value))
    if isinstance(value, str):
        return _delimited(field.number, value.encode())
    return _varint(field.number << 3 | _VARINT) + _varint(value & (1 << 64) - 1)


def _unknown(field: Any) -> bytes:  # Any: the library names no type
    if field.wire_type == _LENGTH:
        return _delimited(field.field_number, field.data)
    assert field.wire_type == _VARINT, "the cases have no others"
    return _varint(field.field_number << 3 | _VARINT) + _varint(field.data)


def _delimited(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | _LENGTH) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*encoded, value))


def _wire(event: v1.Event) -> bytes:
    return event.SerializeToString(deterministic=True)


def cases() -> list[Json]:
    """Sources with their digests."""
    date = v1.Date(year=2014, month=10, day=15)
    keys = ("b", "a", "aa", "", "ä", "\uffff", "\U0001f600", "Z", "a.b")
    described = v1.Event(
        event_id="e1",
        consumer_id="c",
        conversation_id="v",
        authenticated=True,
        original_time_stamp=1_700_000_000_000,
        source="crm",
        customer_info=v1.CustomerInfo(
            server_time_stamp=1, balance="", customer_id="K", last_payment_date=date, currency="EUR"
        ),
        additional_attributes={key: key.upper() for key in keys},
    )
    person = v1.Event(
        personal_info=v1.PersonalInfo(
            name="Ada", email="", other_contacts=[v1.PersonalContact(), v1.PersonalContact(phone="+1")]
        ),
        additional_attributes={"": ""},
    )
    later = _delimited(30, b"later") + _varint(31 << 3) + _varint(7)
    unknown = v1.Event.FromString(_wire(described) + later)
    unknown.customer_info.MergeFromString(_delimited(40, b"inner"))
    sources = {
        "nothing": [],
        "empty-event": [v1.Event()],
        "set-without-attributes": [v1.Event(customer_info=v1.CustomerInfo())],
        "every-kind-of-field": [described],
        "person-without-an-id": [person],
        "unknown-fields": [unknown],
        "several-events": [described, person, described],
        "borders-do-not-matter-but-events-do": [v1.Event(event_id="a"), v1.Event(event_id="b")],
    }
    return [
        {
            "name": name,
            "salt": "a salt, ä",
            "events": [base64.b64encode(_wire(event)).decode() for event in events],
            "sha256": source_digest("a salt, ä", events)["sha256"],
        }
        for name, events in sources.items()
    ]
