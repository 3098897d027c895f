"""What is known of a rejected event without its values: its source, and the rules that it broke.

Keys of maps are left out, because they may quote people; the shape of a value is kept for fields only that do
not identify anybody.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from engagement import limits, v1

MAX_SHAPE_CHARACTERS = 20
MAX_DESCRIPTION_CHARACTERS = 300
_INDEX = re.compile(r"\[\d+\]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_CUT = "…"


class BrokenRule(NamedTuple):
    """A rule that an event broke."""

    field: str
    """Path from the event, without indexes and keys of maps."""
    rule: str
    """Id of the rule; empty if the reason says all."""


class RejectedEvent(NamedTuple):
    """A rejected event without its values."""

    source: str
    """At most `limits.MAX_SOURCE_CHARACTERS`, without control characters."""
    reason: int
    """A number of `ErrorReason`."""
    rules: Sequence[BrokenRule]
    """At least one, in the order in which they were found, and each only once."""
    description: str
    """The first problem and its limit, for people."""
    shape: str
    """The shape of the first value that breaks a rule; empty if it may not be shown or there is none."""
    violations_total: int


def describe(event: v1.Event, error: v1.EventError) -> RejectedEvent:
    """Describes an event that was rejected with this error."""
    rules = [BrokenRule(_plain_path(each.field), each.rule) for each in error.violations]
    if not rules:
        # The message names the id of the event.
        return RejectedEvent(_shown_source(event.source), error.reason, [BrokenRule("", "")], "", "", 0)
    description = error.violations[0].description
    if len(description) > MAX_DESCRIPTION_CHARACTERS:
        description = description[: MAX_DESCRIPTION_CHARACTERS - 1] + _CUT
    return RejectedEvent(
        _shown_source(event.source),
        error.reason,
        rules if len(rules) == 1 else list(dict.fromkeys(rules)),
        description,
        _shape_at(event, rules[0].field),
        error.violations_total,
    )


def shape(value: str) -> str:
    """The shape of a text: letters become `a` or `A`, digits `9`, and others beyond ASCII `?`."""
    shown = "".join(map(_shape_of_character, value[: MAX_SHAPE_CHARACTERS + 1]))
    return shown if len(shown) <= MAX_SHAPE_CHARACTERS else shown[: MAX_SHAPE_CHARACTERS - 1] + _CUT


def _shape_of_character(character: str) -> str:
    if character.isalpha():
        return "a" if character.islower() else "A"
    if character.isdigit():
        return "9"
    return character if character.isascii() and character.isprintable() else "?"


def _plain_path(path: str) -> str:
    """A path without indexes and keys of maps; values of maps are texts, so that nothing follows a key."""
    return _INDEX.sub("", path.partition('["')[0]) if "[" in path else path


def _shown_source(source: str) -> str:
    if len(source) > limits.MAX_SOURCE_CHARACTERS:
        source = source[: limits.MAX_SOURCE_CHARACTERS - 1] + _CUT
    return source if source.isprintable() else _CONTROL.sub(_REPLACEMENT, source)


def _shape_at(event: v1.Event, path: str) -> str:
    steps = _open_field(path)
    value: Any = event if steps else None  # Any: of a field of any type
    for name, has_presence in steps:
        if has_presence and not value.HasField(name):
            return ""
        value = getattr(value, name)
    if isinstance(value, str):
        return shape(value)
    if isinstance(value, int):
        return shape(str(value))
    return shape(f"{value.year}-{value.month}-{value.day}") if isinstance(value, v1.Date) else ""


@lru_cache(maxsize=1024)
def _open_field(path: str) -> Sequence[tuple[str, bool]]:
    """The fields on a path with whether they have presence; none if the value must not be described."""
    message: Any = v1.Event.DESCRIPTOR  # Any: the stubs have two types for descriptors
    steps = []
    for name in path.split("."):
        field = message.fields_by_name.get(name) if message is not None else None
        if field is None or field.is_repeated or field.GetOptions().debug_redact:
            return ()
        message = field.message_type
        steps.append((name, field.has_presence))
    return steps
