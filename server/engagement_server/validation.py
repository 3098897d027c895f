"""Validates requests, and turns valid events into records.

The rules are the contract's (`engagement.rules`). Whatever needs the store, such as duplicates and closed
lists, is decided when the event is committed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from engagement import limits, rules, v1
from engagement.uuid7 import uuid7
from engagement_server.clock import now_ms
from engagement_server.errors import FieldInvalidError
from engagement_server.model import Batch, EventRecord, Rejection
from engagement_server.store.fingerprint import FINGERPRINT
from engagement_server.store.search import indexed_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from google.protobuf.message import Message

MAX_VIOLATIONS = 32
_MAX_ERROR_BYTES = 2048
# Resolving an enum value by name takes as long as serializing an event.
_CUSTOMER_INFO = v1.AttributeSet.ATTRIBUTE_SET_CUSTOMER_INFO
_PERSONAL_INFO = v1.AttributeSet.ATTRIBUTE_SET_PERSONAL_INFO


def require_valid(request: Message) -> None:
    """Raises FieldInvalidError if the request breaks a rule of the contract."""
    if violations := rules.check_message(request):
        raise FieldInvalidError(violations)


def admit(request: Message, envelope: Message, events: Sequence[v1.Event], *, path: str) -> Batch:
    """The events at `path` of a request as a batch, all or nothing.

    `envelope` is the request with valid events in place of its own. Raises FieldInvalidError, with paths from
    the request, if anything in the request is invalid.
    """
    time_ms = now_ms()
    records = event_records(events)
    suspects = _suspects(events, records, time_ms)
    require_valid(request if suspects else envelope)
    violations = [
        replace(violation, field=".".join(filter(None, (event_path(path, index), violation.field))))
        for index in suspects
        for violation in rules.check_limits(
            events[index], size_bytes=len(records[index].payload), now_ms=time_ms
        )
    ]
    if violations:
        raise FieldInvalidError(violations)
    return Batch(records, range(len(records)), fingerprint=FINGERPRINT)


def admit_partly(envelope: Message, events: Sequence[v1.Event], records: Sequence[EventRecord]) -> Batch:
    """A batch of the valid events, and of rejections of the others; `records` are those of the events.

    `envelope` is the request without its events, or with valid ones in their place. Raises FieldInvalidError
    if the envelope breaks a rule.
    """
    require_valid(envelope)
    time_ms = now_ms()
    suspects = _suspects(events, records, time_ms)
    if not suspects:
        return Batch(records, range(len(records)), fingerprint=FINGERPRINT)
    found = rules.check_events([events[index] for index in suspects], now_ms=time_ms)
    rejections = [
        Rejection(index, _shown_id(events[index]), event_error(violations).SerializeToString())
        for index, violations in zip(suspects, found, strict=True)
        if violations
    ]
    rejected = {rejection.index for rejection in rejections}
    indexes = [index for index in range(len(records)) if index not in rejected]
    return Batch([records[index] for index in indexes], indexes, rejections, FINGERPRINT)


def _suspects(events: Sequence[v1.Event], records: Sequence[EventRecord], now_ms: int) -> list[int]:
    """Indexes of the events that the quick check does not clear."""
    return [
        index
        for index, (event, record) in enumerate(zip(events, records, strict=True))
        if not rules.is_plainly_valid(event, record.payload, now_ms=now_ms)
    ]


def event_path(path: str, index: int) -> str:
    """The field path of an event in a request that has its event, or events, at `path`."""
    return path if path == "event" else f"{path}[{index}]"


def _shown_id(event: v1.Event) -> str:
    # Too long an id would make the answer as large as the request.
    return event.event_id[: limits.MAX_EVENT_ID_CHARACTERS]


def event_error(violations: Sequence[rules.Violation]) -> v1.EventError:
    """The error of a rejected event; bounded, because an ack may hold many."""
    error = v1.EventError(
        reason=v1.ErrorReason.ERROR_REASON_FIELD_INVALID,
        message=": ".join(filter(None, (violations[0].field, violations[0].description))),
        violations_total=len(violations),
    )
    for violation in violations[:MAX_VIOLATIONS]:
        error.violations.add(field=violation.field, rule=violation.rule, description=violation.description)
        if error.ByteSize() > _MAX_ERROR_BYTES and len(error.violations) > 1:
            del error.violations[-1]
            break
    return error


def event_records(
    events: Sequence[v1.Event], *, make_id: Callable[[int, v1.Event], str] | None = None
) -> list[EventRecord]:
    """The events as the store keeps them, valid or not.

    An event without an id gets one from `make_id`, which takes its index and itself, or else a UUIDv7.
    """
    for index, event in enumerate(events):
        if not event.event_id:
            event.event_id = uuid7() if make_id is None else make_id(index, event)
    return [_record(event) for event in events]


def _record(event: v1.Event) -> EventRecord:
    if event.HasField("customer_info"):
        attribute_set = _CUSTOMER_INFO
        server_time_ms = event.customer_info.server_time_stamp
    else:
        attribute_set = _PERSONAL_INFO
        server_time_ms = event.personal_info.server_time_stamp
    return EventRecord(
        event.event_id,
        attribute_set,
        event.authenticated,
        server_time_ms,
        event.SerializeToString(deterministic=True),
        indexed_texts(event),
    )
