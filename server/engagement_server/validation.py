"""Checks what producers send and turns good events into records.

The rules themselves are the contract's (`engagement.rules`); what needs the store (duplicates) is
decided where the event is stored.
"""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from engagement import rules, v1
from engagement.limits import MAX_CLOCK_LEAD_MS, MAX_EVENT_BYTES
from engagement.uuid7 import uuid7
from engagement_server.errors import FieldInvalidError
from engagement_server.model import Batch, EventRecord, Refusal
from engagement_server.store.search import attributes_text, identifier_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.message import Message

MAX_VIOLATIONS = 32
_MAX_ERROR_BYTES = 2048


def require_valid(request: Message) -> None:
    """Raises FieldInvalidError where the request breaks a rule of the contract."""
    if violations := rules.check_message(request):
        raise FieldInvalidError(violations)


def admit(request: Message, events: Sequence[v1.Event], *, path: str, allow_partial: bool = False) -> Batch:
    """Checks a request and the events at `path` in it, and turns the good ones into a batch.

    Raises FieldInvalidError, with paths from the request, where the request itself is wrong, and where
    an event is and `allow_partial` is not set.
    """
    violations = _check(request, path)
    now_ms = time.time_ns() // 1_000_000
    records: list[EventRecord] = []
    indexes: list[int] = []
    for index, event in enumerate(events):
        if index in violations:
            continue
        record = _record(event)
        # The common case is decided here: a call an event costs as much as making the record.
        if len(record.payload) > MAX_EVENT_BYTES or record.server_time_ms > now_ms + MAX_CLOCK_LEAD_MS:
            violations[index] = list(
                rules.check_limits(
                    event.WhichOneof("attributes") or "",
                    size_bytes=len(record.payload),
                    server_time_ms=record.server_time_ms,
                    now_ms=now_ms,
                )
            )
            continue
        records.append(record)
        indexes.append(index)
    if violations and not allow_partial:
        raise FieldInvalidError(
            [
                replace(violation, field=".".join(filter(None, (_place(path, index), violation.field))))
                for index, found in sorted(violations.items())
                for violation in found
            ]
        )
    refusals = [
        Refusal(index, events[index].event_id, event_error(found).SerializeToString())
        for index, found in sorted(violations.items())
    ]
    return Batch(records, indexes, refusals)


def _check(request: Message, path: str) -> dict[int, list[rules.Violation]]:
    """Violations of the annotations by the event they are in, with paths from the event."""
    found = rules.check_message(request)
    if not found:
        return {}
    inside = re.compile(re.escape(path) + r"(?:\[(\d+)\])?\.", re.ASCII)
    by_event: dict[int, list[rules.Violation]] = {}
    for violation in found:
        match = inside.match(violation.field)
        if match is None:
            raise FieldInvalidError(found)
        by_event.setdefault(int(match[1] or 0), []).append(violation.below(match[0]))
    return by_event


def _place(path: str, index: int) -> str:
    return path if path == "event" else f"{path}[{index}]"


def event_error(violations: Sequence[rules.Violation]) -> v1.EventError:
    """What the result of a refused event says; bounded, because an ack may hold many."""
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


def _record(event: v1.Event) -> EventRecord:
    """The form in which the store keeps a good event; gives it an id where it has none."""
    if not event.event_id:
        event.event_id = uuid7()
    if event.HasField("customer_info"):
        attribute_set = v1.AttributeSet.ATTRIBUTE_SET_CUSTOMER_INFO
        server_time_ms = event.customer_info.server_time_stamp
    else:
        attribute_set = v1.AttributeSet.ATTRIBUTE_SET_PERSONAL_INFO
        server_time_ms = event.personal_info.server_time_stamp
    return EventRecord(
        event.event_id,
        attribute_set,
        event.authenticated,
        server_time_ms,
        event.SerializeToString(deterministic=True),
        attributes_text(event),
        identifier_text(event.consumer_id),
        identifier_text(event.conversation_id),
    )
