"""Checks messages against the contract: the same rules in a client, offline, and in the server.

Most rules are annotations that protovalidate runs. The two that annotations cannot express, the size
of an event and times in the future, are here. What needs a store (duplicates) is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import protovalidate

from engagement import limits, v1

if TYPE_CHECKING:
    from google.protobuf.message import Message

_MAX_PATH_CHARACTERS = 256
_DESCRIPTIONS = {
    "string.not_contains": "must not contain NUL (U+0000)",
    "string.min_len": "must not be empty",
}


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule of one field; it never holds the field's value."""

    field: str
    """Path from the message that was checked, such as `events[3].customer_info.balance`."""
    rule: str
    """Id of the rule as protovalidate names it; ids of rules beyond it start with `server.`."""
    description: str
    """What is wrong and the limit, for people."""

    def below(self, prefix: str) -> Violation:
        """The same violation seen from inside `prefix`."""
        return replace(self, field=self.field.removeprefix(prefix))


def check_message(message: Message) -> list[Violation]:
    """Violations of the contract's annotations, in the order of the fields."""
    return [_convert(violation) for violation in protovalidate.collect_violations(message)]


def check_events(events: Sequence[v1.Event], *, now_ms: int) -> list[list[Violation]]:
    """What is wrong with each event, with paths from the event; an empty list where nothing is.

    One call for many events costs less than many calls.
    """
    found: list[list[Violation]] = [[] for _ in events]
    for start in range(0, len(events), limits.MAX_CHUNK_EVENTS):
        chunk = v1.UploadEventsRequest.Chunk(
            sequence=1, events=events[start : start + limits.MAX_CHUNK_EVENTS]
        )
        for violation in check_message(chunk):
            index = element_index(violation.field, "events")
            if index is not None:
                found[start + index].append(violation.below(f"events[{index}]."))
    for event, violations in zip(events, found, strict=True):
        attribute_set = event.WhichOneof("attributes") or ""
        violations += check_limits(
            attribute_set,
            size_bytes=event.ByteSize(),
            server_time_ms=getattr(event, attribute_set).server_time_stamp if attribute_set else 0,
            now_ms=now_ms,
        )
    return found


def check_limits(
    attribute_set: str, *, size_bytes: int, server_time_ms: int, now_ms: int
) -> Iterator[Violation]:
    """The rules beyond annotations for one event; a time of 0 is one that the server sets."""
    if size_bytes > limits.MAX_EVENT_BYTES:
        limit = f"must take at most {limits.MAX_EVENT_BYTES} bytes, takes {size_bytes}"
        yield Violation("", "server.event.max_bytes", limit)
    if server_time_ms > now_ms + limits.MAX_CLOCK_LEAD_MS:
        limit = f"must be at most {limits.MAX_CLOCK_LEAD_MS // 3_600_000} hours ahead of the server's clock"
        yield Violation(f"{attribute_set}.server_time_stamp", "server.time.future", limit)


def element_index(path: str, name: str) -> int | None:
    """The index in a path that starts with `name[index]`, or None where it does not."""
    if not path.startswith(f"{name}["):
        return None
    return int(path[len(name) + 1 : path.index("]")])


def _convert(violation: protovalidate.Violation) -> Violation:
    proto = violation.proto
    return Violation(
        field=_render(proto.field),
        rule=proto.rule_id,
        description=_DESCRIPTIONS.get(proto.rule_id, proto.message),
    )


def _render(path: protovalidate.FieldPathPb | None) -> str:
    """A field path as text; long map keys are cut, because they come from the producer."""
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
