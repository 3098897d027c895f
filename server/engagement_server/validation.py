"""Validates requests, and turns valid events into records.

The rules are the contract's (`engagement.rules`). Whatever needs the store, such as duplicates and closed
lists, is decided when the event is committed.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from engagement import limits, rules, v1
from engagement.uuid7 import uuid7
from engagement_server.clock import now_ms
from engagement_server.errors import FieldInvalidError
from engagement_server.model import Batch, EventRecord, Rejection
from engagement_server.producer import ANYBODY
from engagement_server.store.fingerprint import FINGERPRINT
from engagement_server.store.rejection_rows import erasable_subjects
from engagement_server.store.search import indexed_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from google.protobuf.message import Message

    from engagement_server.producer import Producer

_EVENTS_A_TURN = 50
# An invalid event takes as long as so many valid ones.
_INVALID_WEIGHT = 4
# Of all events of a batch together.
_MAX_LISTED_VIOLATIONS = 128
_MAX_ERROR_BYTES = 2048
# Resolving an enum value by name takes as long as serializing an event.
_CUSTOMER_INFO = v1.AttributeSet.ATTRIBUTE_SET_CUSTOMER_INFO
_PERSONAL_INFO = v1.AttributeSet.ATTRIBUTE_SET_PERSONAL_INFO
_FIELD_INVALID = v1.ErrorReason.ERROR_REASON_FIELD_INVALID
_UUID7 = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.ASCII)
_NOT_UUID7 = rules.Violation(
    "event_id",
    "server.event.id_not_uuid7",
    "must be a UUIDv7 in lower case, or absent: the grant is publishable",
)
_SOURCE_FORBIDDEN = rules.Violation(
    "source", "server.event.source_forbidden", "must be a source that the grant of the caller names"
)
_AUTHENTICATED_FORBIDDEN = rules.Violation(
    "authenticated", "server.event.authenticated_forbidden", "must be false: the grant does not allow it"
)
_NO_TEXTS = "", "", "", ""


def require_valid(request: Message) -> None:
    """Raises FieldInvalidError if the request breaks a rule of the contract."""
    if violations := rules.check_message(request):
        raise FieldInvalidError(violations)


@dataclass(frozen=True, slots=True)
class Examined:
    """Events as the store keeps them, and what is wrong with them."""

    records: Sequence[EventRecord]
    """Of all events; those of invalid ones lack the texts for the search index."""
    violations: Mapping[int, Sequence[rules.Violation]]
    """Of the invalid events, by index."""


async def examine(
    events: Sequence[v1.Event],
    *,
    producer: Producer = ANYBODY,
    make_id: Callable[[int, v1.Event], str] | None = None,
    max_violations: int | None = None,
) -> Examined:
    """Turns events into records, and looks for invalid ones; other calls get their turns meanwhile.

    What the grant of the `producer` does not allow makes an event invalid too.

    An event without an id gets one from `make_id`, which takes its index and itself, or else a UUIDv7. It
    ends early once it has found more than `max_violations`.

    Listing all that is wrong with an event costs many times as much as accepting it. This is done for the
    first few events only; of the others it finds one broken rule.
    """
    time_ms = now_ms()
    records = []
    violations: dict[int, Sequence[rules.Violation]] = {}
    found = 0
    left = _EVENTS_A_TURN
    for index, event in enumerate(events):
        if left <= 0:
            left = _EVENTS_A_TURN
            await asyncio.sleep(0)
        forbidden = _forbidden(event, producer)
        if not event.event_id:
            event.event_id = uuid7() if make_id is None else make_id(index, event)
        payload = event.SerializeToString(deterministic=True)
        broken = rules.check_serialized(
            event, payload, now_ms=time_ms, is_first_enough=found >= _MAX_LISTED_VIOLATIONS
        )
        if forbidden:
            broken = [*forbidden, *broken]
        left -= _INVALID_WEIGHT if broken else 1
        if broken:
            violations[index] = broken
            found += len(broken)
        records.append(_record(event, payload, _NO_TEXTS if broken else indexed_texts(event)))
        if max_violations is not None and found > max_violations:
            break
    return Examined(records, violations)


def _forbidden(event: v1.Event, producer: Producer) -> Sequence[rules.Violation]:
    """What the grant of a producer does not allow; of a publishable one, most is set as it must be."""
    if producer is ANYBODY:
        return ()
    if producer.is_publishable:
        event.authenticated = False
        (event.source,) = producer.sources
        is_own = not event.event_id or _UUID7.fullmatch(event.event_id)
        return () if is_own else (_NOT_UUID7,)
    found = []
    if producer.sources and event.source not in producer.sources:
        found.append(_SOURCE_FORBIDDEN)
    if event.authenticated and not producer.may_authenticate:
        found.append(_AUTHENTICATED_FORBIDDEN)
    return found


def admit(envelope: Message, examined: Examined, *, path: str) -> Batch:
    """The examined events at `path` of a request as a batch, all or nothing.

    `envelope` is the request with valid events in place of its own. Raises FieldInvalidError, with paths from
    the request, if anything in the request is invalid.
    """
    broken = rules.check_message(envelope)
    broken += [
        replace(violation, field=".".join(filter(None, (event_path(path, index), violation.field))))
        for index, violations in examined.violations.items()
        for violation in violations
    ]
    if broken:
        raise FieldInvalidError(broken[: limits.MAX_VIOLATIONS + 1])
    return Batch(examined.records, range(len(examined.records)), fingerprint=FINGERPRINT)


def admit_partly(envelope: Message, events: Sequence[v1.Event], examined: Examined) -> Batch:
    """A batch of the valid events, and of rejections of the others.

    `envelope` is the request without its events, or with valid ones in their place. Raises FieldInvalidError
    if the envelope breaks a rule.
    """
    require_valid(envelope)
    records = examined.records
    if not examined.violations:
        return Batch(records, range(len(records)), fingerprint=FINGERPRINT)
    rejections = [
        Rejection(
            index,
            _shown_id(events[index]),
            _serialized_error(tuple(violations)),
            erasable_subjects(events[index]),
        )
        for index, violations in examined.violations.items()
    ]
    indexes = [index for index in range(len(records)) if index not in examined.violations]
    return Batch([records[index] for index in indexes], indexes, rejections, FINGERPRINT)


def event_path(path: str, index: int) -> str:
    """The field path of an event in a request that has its event, or events, at `path`."""
    return path if path == "event" else f"{path}[{index}]"


def _shown_id(event: v1.Event) -> str:
    # Too long an id would make the answer as large as the request.
    return event.event_id[: limits.MAX_EVENT_ID_CHARACTERS]


@lru_cache(maxsize=256)
def _serialized_error(violations: Sequence[rules.Violation]) -> bytes:
    """Of many events in a row, which break the same rule."""
    return event_error(violations).SerializeToString()


def event_error(violations: Sequence[rules.Violation]) -> v1.EventError:
    """The error of a rejected event; bounded, because an ack may hold many."""
    error = v1.EventError(
        reason=_FIELD_INVALID,
        message=": ".join(filter(None, (violations[0].field, violations[0].description))),
        violations_total=len(violations),
    )
    for violation in violations[: limits.MAX_VIOLATIONS]:
        error.violations.add(field=violation.field, rule=violation.rule, description=violation.description)
        if len(error.violations) > 1 and error.ByteSize() > _MAX_ERROR_BYTES:
            del error.violations[-1]
            break
    return error


def _record(event: v1.Event, payload: bytes, texts: tuple[str, str, str, str]) -> EventRecord:
    if event.HasField("customer_info"):
        attribute_set = _CUSTOMER_INFO
        server_time_ms = event.customer_info.server_time_stamp
    else:
        attribute_set = _PERSONAL_INFO
        server_time_ms = event.personal_info.server_time_stamp
    return EventRecord(event.event_id, attribute_set, event.authenticated, server_time_ms, payload, texts)
