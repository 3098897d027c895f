"""Checks messages against the contract: the same rules in a client, offline, and in the server.

Most rules are annotations that protovalidate runs. The two that annotations cannot express, the size
of an event and times in the future, are here. Checks that need a store, such as duplicates, are not.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from engagement import limits, v1
from engagement.extras import explain_missing
from engagement.violation import Violation

try:
    import protovalidate
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        explain_missing("Checking events", error, extra="validate"), name=error.name
    ) from error

if TYPE_CHECKING:
    from google.protobuf.message import Message

__all__ = ["Violation", "check_events", "check_limits", "check_message", "is_plainly_valid"]

_MAX_PATH_CHARACTERS = 256
_IN_CHUNK = re.compile(r"events\[([0-9]+)\]\.")
# In place of protovalidate's; `{}` is the bound.
_DESCRIPTIONS = {
    "string.not_contains": "must not contain NUL (U+0000)",
    "string.min_len": "must not be empty",
    "repeated.max_items": "must have at most {} items",
    "map.max_pairs": "must have at most {} entries",
}
# Of the rule `string.pattern`, by its pattern.
_PATTERNS = {
    "^[A-Za-z0-9_-]{1,64}$": "must be 1 to 64 letters (a to z), digits, - and _",
    "^[0-9a-f]{64}$": "must be 64 digits of lower-case hexadecimal",
}
_ONEOFS = {
    oneof.name: ", ".join(field.name for field in oneof.fields)
    for message in (v1.Event, v1.UploadEventsRequest, v1.GetEventRequest)
    for oneof in message.DESCRIPTOR.oneofs
    if len(oneof.fields) > 1
}


def check_message(message: Message) -> list[Violation]:
    """Violations of the contract's annotations, in the order of the fields."""
    return [_convert(violation) for violation in protovalidate.collect_violations(message)]


def check_events(events: Sequence[v1.Event], *, now_ms: int) -> list[list[Violation]]:
    """The violations of each event, with paths from the event; an empty list for a valid one."""
    found: list[list[Violation]] = [[] for _ in events]
    payloads = [event.SerializePartialToString() for event in events]
    suspects = [
        index
        for index, event in enumerate(events)
        if not is_plainly_valid(event, payloads[index], now_ms=now_ms)
    ]
    for start in range(0, len(suspects), limits.MAX_CHUNK_EVENTS):
        indexes = suspects[start : start + limits.MAX_CHUNK_EVENTS]
        chunk = v1.UploadEventsRequest.Chunk(sequence=1, events=[events[index] for index in indexes])
        for violation in check_message(chunk):
            if (match := _IN_CHUNK.match(violation.field)) is not None:
                found[indexes[int(match[1])]].append(violation.below(match[0]))
    for index in suspects:
        found[index] += check_limits(events[index], size_bytes=len(payloads[index]), now_ms=now_ms)
    return found


def is_plainly_valid(event: v1.Event, payload: bytes, *, now_ms: int) -> bool:
    """Whether a glance at the serialized event shows that it breaks no rule, as it does for most.

    protovalidate visits every field, which is half of the cost of ingesting an event. Here the size of the
    event bounds the length of each field, and one search finds any NUL. An explicit zero is a zero byte
    too, so here 0 means an absent time. False means undecided: protovalidate has to check.
    """
    if len(payload) > limits.MAX_TEXT_CHARACTERS or b"\0" in payload:
        return False
    if (
        len(event.event_id) > limits.MAX_EVENT_ID_CHARACTERS
        or len(event.source) > limits.MAX_SOURCE_CHARACTERS
        or not _is_plausible_time(event.original_time_stamp, end_ms=limits.END_OF_TIME_MS)
        or "" in event.additional_attributes
        or len(event.additional_attributes) > limits.MAX_ADDITIONAL_ATTRIBUTES
    ):
        return False
    if event.HasField("customer_info"):
        customer = event.customer_info
        server_time_ms = customer.server_time_stamp
        if customer.HasField("last_payment_date") and not _is_calendar_day(customer.last_payment_date):
            return False
        if customer.HasField("registration_date") and not _is_calendar_day(customer.registration_date):
            return False
    elif (
        event.HasField("personal_info")
        and len(event.personal_info.other_contacts) <= limits.MAX_OTHER_CONTACTS
    ):
        server_time_ms = event.personal_info.server_time_stamp
    else:
        return False
    return _is_plausible_time(server_time_ms, end_ms=now_ms + limits.MAX_CLOCK_LEAD_MS + 1)


def _is_plausible_time(time_ms: int, *, end_ms: int) -> bool:
    return time_ms == 0 or limits.START_OF_TIME_MS <= time_ms < end_ms


def _is_calendar_day(date: v1.Date) -> bool:
    try:
        datetime.date(date.year, date.month, date.day)
    except (ValueError, OverflowError):
        return False
    return True


def check_limits(event: v1.Event, *, size_bytes: int, now_ms: int) -> Iterator[Violation]:
    """The violations of one event that annotations cannot express."""
    if size_bytes > limits.MAX_EVENT_BYTES:
        limit = f"must take at most {limits.MAX_EVENT_BYTES} bytes, takes {size_bytes}"
        yield Violation("", "server.event.max_bytes", limit)
    attribute_set = event.WhichOneof("attributes")
    if attribute_set is None:
        return
    if getattr(event, attribute_set).server_time_stamp > now_ms + limits.MAX_CLOCK_LEAD_MS:
        limit = f"must be at most {limits.MAX_CLOCK_LEAD_MS // 3_600_000} hours ahead of the server's clock"
        yield Violation(f"{attribute_set}.server_time_stamp", "server.time.future", limit)


def _convert(violation: protovalidate.Violation) -> Violation:
    proto = violation.proto
    field = _render(proto.field)
    bound = violation.rule_value
    words = _PATTERNS.get(bound) if proto.rule_id == "string.pattern" else _DESCRIPTIONS.get(proto.rule_id)
    description = proto.message if words is None else words.format(bound)
    if proto.rule_id == "required" and (members := _ONEOFS.get(field.rpartition(".")[2])):
        description = f"one of {members} is required"
    return Violation(field=field, rule=proto.rule_id, description=description)


def _render(path: protovalidate.FieldPathPb | None) -> str:
    """A field path as text; truncated, because map keys come from the producer."""
    if path is None:
        return ""
    parts: list[str] = []
    for element in path.elements:
        subscript = element.subscript
        if subscript is None:
            parts.append(element.field_name)
        elif subscript.field == "index":
            parts.append(f"{element.field_name}[{subscript.value}]")
        else:
            parts.append(f'{element.field_name}["{subscript.value}"]')
    rendered = ".".join(parts).replace("\0", "\\0")
    return rendered if len(rendered) <= _MAX_PATH_CHARACTERS else rendered[: _MAX_PATH_CHARACTERS - 1] + "…"
