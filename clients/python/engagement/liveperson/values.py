"""The JSON values of a source, with every number exactly as it is written."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
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


class Constant(Number):
    """`NaN`, `Infinity` or `-Infinity`, which some tools write and JSON does not have."""

    __slots__ = ()


class RepeatingObject(dict[str, "Json"]):
    """An object in which several members have the same name; as a dict, the last of each."""

    def __init__(self, members: Object, *, pairs: list[tuple[str, Json]], repeated: Collection[str]) -> None:
        super().__init__(members)
        self.pairs = pairs
        """All members, in order."""
        self.repeated = frozenset(repeated)
        """The names that several members have."""

    def __reduce__(self) -> tuple[object, ...]:
        """Pickles it with all its members."""
        return partial(RepeatingObject, pairs=self.pairs, repeated=self.repeated), (dict(self),)


CONTAINERS: Final = frozenset({dict, list, RepeatingObject})


def object_of(pairs: list[tuple[str, Json]]) -> Object:
    """The object with these members."""
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    counts = Counter(name for name, _ in pairs)
    return RepeatingObject(members, pairs=pairs, repeated={name for name in counts if counts[name] > 1})


def count_members(value: Object | list[Json]) -> int:
    """The number of members of all objects in a value."""
    # Few branches: this is called for every set.
    count = 0
    children: Iterable[Json] = value
    if isinstance(value, dict):
        count = len(value)
        children = value.values()
    for child in children:
        if type(child) in CONTAINERS:
            count += count_members(child)  # type: ignore[arg-type]  # it is one of them
    return count


def first_repeat(value: Json, *, path: str = "") -> str:
    """The path of the first member of a value that appears more than once; empty if there is none."""
    if isinstance(value, RepeatingObject):
        return f"{path}.{min(value.repeated)}".removeprefix(".")
    return next(
        filter(None, (first_repeat(child, path=place) for place, child in _children(value, path))), ""
    )


def first_constant(value: Json, *, path: str = "") -> str:
    """The path of the first Constant in a value; empty if there is none."""
    if isinstance(value, Constant):
        return path.removeprefix(".")
    return next(
        filter(None, (first_constant(child, path=place) for place, child in _children(value, path))), ""
    )


def _children(value: Json, path: str) -> Iterator[tuple[str, Json]]:
    if isinstance(value, dict):
        yield from ((f"{path}.{name}", child) for name, child in value.items())
    elif isinstance(value, list):
        yield from ((f"{path}[{index}]", child) for index, child in enumerate(value))


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
        pairs = value.pairs if isinstance(value, RepeatingObject) else value.items()
        members = (f"{json.dumps(name, ensure_ascii=is_ascii)}:{write(child)}" for name, child in pairs)
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(write, value)) + "]"
    return value if isinstance(value, Number) else json.dumps(value, ensure_ascii=is_ascii)
