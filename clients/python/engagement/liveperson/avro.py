"""Undoes the JSON encoding of Avro, which wraps a nullable value in the name of its type."""

from __future__ import annotations

from engagement.liveperson.errors import UnreadableError
from engagement.liveperson.values import MAX_DEPTH, Json, Object

_SCALARS = frozenset({"boolean", "int", "long", "float", "double", "bytes", "string"})


def plain(value: Json, *, depth: int = 0) -> Json:
    """The value without the names of types: `{"string": "x"}` becomes `x`.

    Raises UnreadableError if it is nested too deeply.
    """
    if depth > MAX_DEPTH:
        raise UnreadableError("", rule="import.depth", description=f"nested more than {MAX_DEPTH} levels")
    if isinstance(value, list):
        return [plain(item, depth=depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        [(branch, content)] = value.items()
        if branch == "map" and isinstance(content, dict):
            return plain_members(content, depth=depth + 1)
        if _is_union(branch, content):
            return plain(content, depth=depth + 1)
    return plain_members(value, depth=depth)


def plain_members(members: Object, *, depth: int = 0) -> Object:
    """The members of an object, each without the names of types."""
    return {name: plain(value, depth=depth + 1) for name, value in members.items()}


def _is_union(branch: str, content: Json) -> bool:
    """Whether a single member is the type of its value; names of records and enums have dots."""
    if isinstance(content, list):
        return branch == "array"
    if isinstance(content, dict):
        return "." in branch
    return branch in _SCALARS or ("." in branch and isinstance(content, str))
