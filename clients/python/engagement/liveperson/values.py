"""The JSON values of a source, with every number exactly as it is written."""

from __future__ import annotations

import json
from functools import partial
from typing import Final, TypeAlias

Json: TypeAlias = "bool | str | list[Json] | dict[str, Json] | None"
"""JSON as the scanner reads it; numbers are `Number`."""
Object: TypeAlias = "dict[str, Json]"

MAX_DEPTH: Final = 100
"""The maximum depth of nesting inside one event."""


class Number(str):
    """A JSON number as it is written: `34.0` stays `34.0`."""

    __slots__ = ()


def text_of(value: Json) -> str | None:
    """The text of a string, number or boolean; None for null, objects and arrays."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return None


def without(members: Object, *names: str) -> Object:
    """A copy of an object without some of its members."""
    rest = members.copy()
    for name in names:
        rest.pop(name, None)
    return rest


def write_json(value: Json, *, is_ascii: bool = True, depth: int = 0) -> str:
    """Compact JSON, numbers as they are written; values nested too deeply become `…`."""
    if depth > MAX_DEPTH:
        return "…"
    write = partial(write_json, is_ascii=is_ascii, depth=depth + 1)
    if isinstance(value, dict):
        members = (
            f"{json.dumps(name, ensure_ascii=is_ascii)}:{write(child)}" for name, child in value.items()
        )
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(write, value)) + "]"
    return value if isinstance(value, Number) else json.dumps(value, ensure_ascii=is_ascii)
