"""Long values in JSON, written as a short one and how often it is repeated."""

from __future__ import annotations

from typing import Any

Json = Any  # what json.dumps takes

# A value that is not longer is written as it is.
_SHORT = 16


def compress(value: Json) -> Json:
    """Replaces each long text, list or object that only repeats something; `expand` takes it back."""
    if isinstance(value, str):
        return {"repeat": value[0], "times": len(value)} if _is_repetition([*value]) else value
    if isinstance(value, list):
        items = [compress(item) for item in value]
        return {"repeat": items[:1], "times": len(items)} if _is_repetition(items) else items
    return _compress_object(value) if isinstance(value, dict) else value


def _compress_object(value: dict[str, Json]) -> Json:
    keys, members = [*value], [compress(member) for member in value.values()]
    if _is_repetition(members):
        name = keys[0].rstrip("0123456789")
        assert value.keys() == {f"{name}{number}" for number in range(len(keys))}
        return {"repeat": {name: members[0]}, "times": len(keys)}
    if len(keys) == 1 and (long := compress(keys[0])) != keys[0]:
        return {"key": long, "value": members[0]}
    return dict(zip(keys, members, strict=True))


def _is_repetition(items: list[Json]) -> bool:
    return len(items) > _SHORT and all(item == items[0] for item in items)


def expand(value: Json) -> Json:
    """The value that is meant, with everything repeated. README.md has the forms."""
    if isinstance(value, list):
        return [expand(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"key", "value"}:
        return {expand(value["key"]): expand(value["value"])}
    if value.keys() != {"repeat", "times"}:
        return {key: expand(member) for key, member in value.items()}
    unit, times = expand(value["repeat"]), value["times"]
    if isinstance(unit, dict):
        ((name, member),) = unit.items()
        return {f"{name}{number}": member for number in range(times)}
    return unit * times
