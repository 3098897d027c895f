"""Checks messages against the contract: the same rules in a client, offline, and in the server.

Most rules are annotations that protovalidate runs. Those that annotations cannot express are here: the size
of an event, times in the future, and values of masked answers. Checks that need a store, such as duplicates,
are not.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING

from engagement import limits, v1
from engagement.counts import check_counts, in_pieces
from engagement.extras import explain_missing
from engagement.masked import MASKED_TEXT, SCOPE, masked_paths
from engagement.violation import Violation

try:
    import protovalidate
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        explain_missing("Checking events", error, extra="validate"), name=error.name
    ) from error

if TYPE_CHECKING:
    from google.protobuf.message import Message

__all__ = [
    "Violation",
    "check_event",
    "check_events",
    "check_limits",
    "check_message",
    "check_serialized",
    "is_plainly_valid",
]

_MAX_PATH_CHARACTERS = 256
_MAX_FOUND = limits.MAX_VIOLATIONS + 1
_MASKED_BYTES = MASKED_TEXT.encode()
_MASKED = f"must not be masked; send the event as its source has it, or as it is read with the scope {SCOPE}"
# In place of protovalidate's.
_DESCRIPTIONS = {
    "string.not_contains": "must not contain NUL (U+0000)",
    "string.min_len": "must not be empty",
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


def _text_getter(message: type[Message]) -> Callable[[Message], tuple[str, ...]]:
    """Reads all text fields in one call, absent ones as ""."""
    return attrgetter(*[field.name for field in message.DESCRIPTOR.fields if field.type == field.TYPE_STRING])


_EVENT_TEXTS = _text_getter(v1.Event)
_CUSTOMER_TEXTS = _text_getter(v1.CustomerInfo)
_PERSONAL_TEXTS = _text_getter(v1.PersonalInfo)


def check_message(message: Message, *, is_first_enough: bool = False) -> list[Violation]:
    """Violations of the contract's annotations, in the order of the fields.

    A message with too many items has no other violations: the items are not looked at. Otherwise the search
    ends soon after `limits.MAX_VIOLATIONS`; one more than these says that there may be others. If
    `is_first_enough`, it ends with the first.
    """
    if excess := check_counts(message):
        return excess[:_MAX_FOUND]
    # Each violation costs as much as a valid message: first see whether there are any.
    found = protovalidate.collect_violations(message, fail_fast=True)
    if not found or is_first_enough:
        return [_convert(violation) for violation in found[:1]]
    violations: list[Violation] = []
    for start, piece in in_pieces(message):
        found = protovalidate.collect_violations(piece)
        if start:  # the others were found in the first piece, or are about the items left out
            found = [violation for violation in found if _is_about_item(violation)]
        violations += [
            _convert(violation, first_index=start) for violation in found[: _MAX_FOUND - len(violations)]
        ]
        if len(violations) >= _MAX_FOUND:
            break
    return violations


def check_event(
    event: v1.Event, *, size_bytes: int, now_ms: int, is_first_enough: bool = False
) -> list[Violation]:
    """The violations of an event of this serialized size, with paths from the event; as `check_message`."""
    violations = check_message(event, is_first_enough=is_first_enough)
    if not violations or not is_first_enough:
        violations += check_limits(event, size_bytes=size_bytes, now_ms=now_ms)
    return violations[: 1 if is_first_enough else _MAX_FOUND]


def check_events(events: Sequence[v1.Event], *, now_ms: int) -> list[list[Violation]]:
    """The violations of each event, with paths from the event; an empty list for a valid one."""
    found: list[list[Violation]] = []
    for event in events:
        found.append(check_serialized(event, event.SerializePartialToString(), now_ms=now_ms))
    return found


def check_serialized(
    event: v1.Event, payload: bytes, *, now_ms: int, is_first_enough: bool = False
) -> list[Violation]:
    """The violations of an event with its serialization; as `check_event`, but a glance decides for most."""
    if not _is_plain_beside_dates(event, payload, now_ms=now_ms):
        return check_event(event, size_bytes=len(payload), now_ms=now_ms, is_first_enough=is_first_enough)
    violations = _check_dates(event)
    return list(violations[:1] if is_first_enough else violations) if violations else []


def is_plainly_valid(event: v1.Event, payload: bytes, *, now_ms: int) -> bool:
    """Whether a glance at the serialized event shows that it breaks no rule, as it does for most.

    protovalidate visits every field, which costs twice as much as everything else here. Here the size of the
    event bounds the length of each field, and one search finds any NUL. Only an event with a zero byte needs
    a closer look: it may be an empty text. False means undecided: protovalidate has to check.
    """
    return _is_plain_beside_dates(event, payload, now_ms=now_ms) and not _check_dates(event)


def _is_plain_beside_dates(event: v1.Event, payload: bytes, *, now_ms: int) -> bool:
    if (
        len(payload) > limits.MAX_TEXT_CHARACTERS
        or len(event.event_id) > limits.MAX_EVENT_ID_CHARACTERS
        or len(event.source) > limits.MAX_SOURCE_CHARACTERS
        or not _is_plausible_time(event.original_time_stamp, end_ms=limits.END_OF_TIME_MS)
        or "" in event.additional_attributes
        or len(event.additional_attributes) > limits.MAX_ADDITIONAL_ATTRIBUTES
    ):
        return False
    if event.HasField("customer_info"):
        server_time_ms = event.customer_info.server_time_stamp
    elif (
        event.HasField("personal_info")
        and len(event.personal_info.other_contacts) <= limits.MAX_OTHER_CONTACTS
    ):
        server_time_ms = event.personal_info.server_time_stamp
    else:
        return False
    if not _is_plausible_time(server_time_ms, end_ms=now_ms + limits.MAX_CLOCK_LEAD_MS + 1):
        return False
    if _MASKED_BYTES in payload:
        return False
    return b"\0" not in payload or not _holds_nul_or_zero(event)


def _holds_nul_or_zero(event: v1.Event) -> bool:
    """Whether a text has a NUL, or a time is an explicit zero; empty texts and unknown fields may be."""
    is_customer = event.HasField("customer_info")
    attributes = event.customer_info if is_customer else event.personal_info
    if attributes.HasField("server_time_stamp") and attributes.server_time_stamp == 0:
        return True
    if event.HasField("original_time_stamp") and event.original_time_stamp == 0:
        return True
    texts = [*_EVENT_TEXTS(event), *(_CUSTOMER_TEXTS if is_customer else _PERSONAL_TEXTS)(attributes)]
    if not is_customer:
        for contact in event.personal_info.other_contacts:
            texts += contact.email, contact.phone
    if event.additional_attributes:
        for pair in event.additional_attributes.items():
            texts += pair
    return "\0" in "".join(texts)


def _is_plausible_time(time_ms: int, *, end_ms: int) -> bool:
    return time_ms == 0 or limits.START_OF_TIME_MS <= time_ms < end_ms


def _check_dates(event: v1.Event) -> Sequence[Violation]:
    """The violations of an event's dates, in the order of the fields."""
    violations: Sequence[Violation] = ()
    customer = event.customer_info
    if customer.HasField("last_payment_date") and not _is_calendar_day(date := customer.last_payment_date):
        violations = _check_date("last_payment_date", date.year, date.month, date.day)
    if customer.HasField("registration_date") and not _is_calendar_day(date := customer.registration_date):
        violations = (*violations, *_check_date("registration_date", date.year, date.month, date.day))
    return violations


def _is_calendar_day(date: v1.Date) -> bool:
    try:
        datetime.date(date.year, date.month, date.day)
    except (ValueError, OverflowError):
        return False
    return True


@lru_cache(maxsize=256)
def _check_date(name: str, year: int, month: int, day: int) -> Sequence[Violation]:
    # Wrong dates of a source resemble each other, and protovalidate takes as long as storing an event.
    date = v1.Date(year=year, month=month, day=day)
    violations = check_message(date)
    path = f"customer_info.{name}"
    return [replace(each, field=".".join(filter(None, (path, each.field)))) for each in violations]


def check_limits(event: v1.Event, *, size_bytes: int, now_ms: int) -> Iterator[Violation]:
    """The violations of one event that annotations cannot express."""
    if size_bytes > limits.MAX_EVENT_BYTES:
        limit = f"must take at most {limits.MAX_EVENT_BYTES} bytes, takes {size_bytes}"
        yield Violation("", "server.event.max_bytes", limit)
    attribute_set = event.WhichOneof("attributes")
    if attribute_set is None:
        return
    latest_ms = now_ms + limits.MAX_CLOCK_LEAD_MS
    if latest_ms < getattr(event, attribute_set).server_time_stamp < limits.END_OF_TIME_MS:
        limit = f"must be at most {limits.MAX_CLOCK_LEAD_MS // 3_600_000} hours ahead of the server's clock"
        yield Violation(f"{attribute_set}.server_time_stamp", "server.time.future", limit)
    for path in masked_paths(event):
        yield Violation(path, "server.event.masked", _MASKED)


def _is_about_item(violation: protovalidate.Violation) -> bool:
    path = violation.proto.field
    return path is not None and any(element.subscript is not None for element in path.elements)


def _convert(violation: protovalidate.Violation, *, first_index: int = 0) -> Violation:
    proto = violation.proto
    field = _render(proto.field, first_index)
    description = _DESCRIPTIONS.get(proto.rule_id, proto.message)
    if proto.rule_id == "string.pattern":  # asking for a rule's value takes longer than all else
        description = _PATTERNS.get(violation.rule_value, description)
    if proto.rule_id == "required" and (members := _ONEOFS.get(field.rpartition(".")[2])):
        description = f"one of {members} is required"
    return Violation(field=field, rule=proto.rule_id, description=description)


def _render(path: protovalidate.FieldPathPb | None, first_index: int) -> str:
    """A field path as text; truncated, because map keys come from the producer.

    `first_index` is that of the first item of the outer list in the piece that was checked.
    """
    if path is None:
        return ""
    parts: list[str] = []
    for element in path.elements:
        subscript = element.subscript
        if subscript is None:
            parts.append(element.field_name)
        elif subscript.field == "index":
            parts.append(f"{element.field_name}[{first_index + subscript.value}]")
            first_index = 0
        else:
            parts.append(f'{element.field_name}["{subscript.value}"]')
    rendered = ".".join(parts).replace("\0", "\\0")
    return rendered if len(rendered) <= _MAX_PATH_CHARACTERS else rendered[: _MAX_PATH_CHARACTERS - 1] + "…"
