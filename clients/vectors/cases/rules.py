"""An example that breaks each rule of the contract for events, and its valid neighbour.

They are made from the annotations in the descriptors. A kind of rule without values here is an error. An
example breaks its rule alone; if the values of its kind do not, the field has others in `INSTEAD`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from buf.validate import validate_pb2
from clients.vectors.cases.repetition import compress
from engagement import limits, v1

Json = Any  # what json.dumps takes
Value = Any  # of a field, as the constructor of its message takes it; None: absent
# The stubs have two types for descriptors, of which each lacks something.
Descriptor = Any
Field = Any

# What matches a pattern, and what does not.
_PATTERNS: Final = {
    "^[A-Za-z0-9_-]{1,64}$": ("no id", "id"),
    "^[0-9a-f]{64}$": ("0" * 63, "0" * 64),
}

# For each kind of rule, made from its bound: a value that breaks it, and a valid one as near as possible.
# Texts take few bytes, because the quick check clears no large event, whatever is in it.
VALUES: Final[dict[str, Callable[[Any], tuple[Value, Value]]]] = {
    "string.max_len": lambda limit: ("a" * (limit + 1), "a" * limit),
    "string.min_len": lambda limit: ("a" * (limit - 1), "a" * limit),
    "string.not_contains": lambda text: (text, "a"),
    "string.pattern": _PATTERNS.__getitem__,
    "int32.gte": lambda bound: (bound - 1, bound),
    "int32.lte": lambda bound: (bound + 1, bound),
    "int64.gt": lambda bound: (bound, bound + 1),
    "int64.gte": lambda bound: (bound - 1, bound),
    "int64.lt": lambda bound: (bound, bound - 1),
    "bool.const": lambda value: (not value, value),
    "enum.defined_only": lambda _: (999, 1),
    "enum.not_in": lambda numbers: (numbers[0], 1),
    "timestamp.gte": lambda bound: (Timestamp(seconds=bound.seconds - 1), bound),
    "timestamp.lte": lambda bound: (Timestamp(seconds=bound.seconds + 1), bound),
    "duration.gte": lambda bound: (Duration(seconds=bound.seconds - 1), bound),
    "duration.lte": lambda bound: (Duration(seconds=bound.seconds + 1), bound),
}
# The same for rules in CEL that concern events; each example breaks no other rule.
CEL_VALUES: Final[dict[str, list[tuple[Value, Value]]]] = {
    "date.calendar_day": [
        ({"year": 2014, "month": 2, "day": 29}, {"year": 2012, "month": 2, "day": 29}),
        ({"year": 1900, "month": 2, "day": 29}, {"year": 2000, "month": 2, "day": 29}),
        ({"year": 2012, "month": 2, "day": 30}, {"year": 2012, "month": 1, "day": 30}),
        ({"year": 2014, "month": 4, "day": 31}, {"year": 2014, "month": 5, "day": 31}),
    ],
    "time.seconds": [
        (limits.START_OF_TIME_MS - 1, limits.START_OF_TIME_MS),
        (1_700_000_000, 1_700_000_000_000),
    ],
}

# In place of values above that break another rule of the same field.
INSTEAD: Final[dict[tuple[str, str], tuple[Value, Value]]] = {
    ("engagement.v1.Event.original_time_stamp", "int64.gt"): (0, limits.START_OF_TIME_MS),
    ("engagement.v1.CustomerInfo.server_time_stamp", "int64.gt"): (0, limits.START_OF_TIME_MS),
    ("engagement.v1.PersonalInfo.server_time_stamp", "int64.gt"): (0, limits.START_OF_TIME_MS),
}


class Example(NamedTuple):
    """A value that breaks one rule of a field or a message, and its valid neighbour."""

    annotation: str
    """Path of the rule in the options, such as `map.keys.string.max_len`."""
    rule: str
    """Id of the rule in a violation, such as `string.max_len`."""
    place: str
    """What follows the field in the path of a violation; `[` for a key, which is left out."""
    breaks: Value
    keeps: Value


def cases() -> list[Json]:
    """The cases of rules.json."""
    found = [case for way in _ways(v1.Event.DESCRIPTOR) for case in _cases_of_message(way)]
    for name, count in Counter(case["name"] for case in found).items():
        same = [case for case in found if case["name"] == name]
        for number in range(1, count):
            same[number]["name"] += f" {number + 1}"
    return found


def examples_of_field(field: Field) -> Iterator[Example]:
    """The examples of each rule of a field. Raises AssertionError for a kind of rule without values."""
    rules = field.GetOptions().Extensions[validate_pb2.field]
    if rules.required:
        yield Example("required", "required", "", None, _ordinary_value(field))
    for rule in rules.cel:
        yield from (Example(f"cel.{rule.id}", rule.id, "", *values) for values in CEL_VALUES.get(rule.id, ()))
    for kind, bounds in rules.ListFields():
        if kind.name == "map":
            yield from _examples_of_map(bounds)
        elif kind.name == "repeated":
            yield from _examples_of_list(field, bounds)
    for example in _examples_of_scalar(rules):
        breaks, keeps = INSTEAD.get((field.full_name, example.annotation), example[-2:])
        yield example._replace(breaks=breaks, keeps=keeps)


def _examples_of_scalar(rules: Any) -> Iterator[Example]:  # Any: generated, without types for options
    for kind, bounds in rules.ListFields():
        if isinstance(bounds, Message) and kind.name not in ("map", "repeated"):
            names = [rule.name for rule, _ in bounds.ListFields()]
            for rule, bound in bounds.ListFields():
                name = f"{kind.name}.{rule.name}"
                assert name in VALUES, f"say in VALUES which value breaks {name}"
                yield Example(name, f"{kind.name}.{_reported(rule.name, names)}", "", *VALUES[name](bound))


def _reported(name: str, names: list[str]) -> str:
    """Two bounds are reported as one rule, such as `gt_lt`."""
    bounds = [each for each in ("gt", "gte", "lt", "lte") if each in names]
    return "_".join(bounds) if name in bounds else name


def _examples_of_map(rules: Any) -> Iterator[Example]:
    for example in _examples_of_scalar(rules.keys):
        breaks, keeps = {example.breaks: "a"}, {example.keeps: "a"}
        yield Example(f"map.keys.{example.annotation}", example.rule, "[", breaks, keeps)
    for example in _examples_of_scalar(rules.values):
        breaks, keeps = {"a": example.breaks}, {"a": example.keeps}
        yield Example(f"map.values.{example.annotation}", example.rule, '["a"]', breaks, keeps)
    if rules.max_pairs:
        pairs = [(f"a{number}", "a") for number in range(rules.max_pairs + 1)]
        yield Example("map.max_pairs", "map.max_pairs", "", dict(pairs), dict(pairs[:-1]))


def _examples_of_list(field: Field, rules: Any) -> Iterator[Example]:
    for example in _examples_of_scalar(rules.items):
        breaks, keeps = [example.breaks], [example.keeps]
        yield Example(f"repeated.items.{example.annotation}", example.rule, "[0]", breaks, keeps)
    items = [_ordinary_value(field)]
    if rules.max_items:
        breaks, keeps = items * (rules.max_items + 1), items * rules.max_items
        yield Example("repeated.max_items", "repeated.max_items", "", breaks, keeps)
    if rules.min_items:
        breaks, keeps = items * (rules.min_items - 1), items * rules.min_items
        yield Example("repeated.min_items", "repeated.min_items", "", breaks, keeps)


def _ordinary_value(field: Field) -> Value:
    """A valid value, or item of a list; not empty: the quick check clears no event with a zero byte."""
    if field.message_type is not None:
        return _ordinary(field.message_type)
    return "a" if field.type == FieldDescriptor.TYPE_STRING else 1


def _ordinary(message: Descriptor) -> dict[str, Value]:
    texts = [field.name for field in message.fields if field.type == FieldDescriptor.TYPE_STRING]
    return _necessary(message) or dict.fromkeys(texts[:1], "a")


def _necessary(message: Descriptor) -> dict[str, Value]:
    """What a valid message of a type has at least."""
    found = {
        oneof.fields[0].name: _ordinary_value(oneof.fields[0])
        for oneof in message.oneofs
        if oneof.GetOptions().Extensions[validate_pb2.oneof].required
    }
    for field in message.fields:
        rules = field.GetOptions().Extensions[validate_pb2.field]
        if rules.required or not (field.has_presence or field.is_repeated):
            lowest = [
                each for each in examples_of_field(field) if each.annotation.endswith((".gte", ".min_len"))
            ]
            if lowest:
                found[field.name] = lowest[0].keeps
            elif rules.required:
                found[field.name] = _ordinary_value(field)
    return found


def _ways(message: Descriptor) -> Iterator[tuple[list[Field], Descriptor]]:
    """Each way from a message to one below it, as the fields on the way, and the type of message there."""
    yield [], message
    for field in message.fields:
        if field.message_type is not None and not field.message_type.GetOptions().map_entry:
            yield from (([field, *way], end) for way, end in _ways(field.message_type))


def _cases_of_message(way: tuple[list[Field], Descriptor]) -> Iterator[Json]:
    fields, message = way
    for rule in message.GetOptions().Extensions[validate_pb2.message].cel:
        for breaks, keeps in CEL_VALUES.get(rule.id, ()):
            yield _case(fields, "", Example(f"cel.{rule.id}", rule.id, "", breaks, keeps))
    for oneof in message.oneofs:
        if oneof.GetOptions().Extensions[validate_pb2.oneof].required:
            yield _case(fields, oneof.name, Example("required", "required", "", {}, _ordinary(message)))
    for field in message.fields:
        for example in examples_of_field(field):
            breaks, keeps = (
                {**_necessary(message), field.name: value} for value in (example.breaks, example.keeps)
            )
            yield _case(fields, field.name, example._replace(breaks=breaks, keeps=keeps))


def _case(way: list[Field], name: str, example: Example) -> Json:
    path = ".".join([*(field.name + "[0]" * field.is_repeated for field in way), *([name] if name else [])])
    return {
        "name": f"{path} {example.annotation}",
        "field": path + example.place,
        "rule": example.rule,
        "event": _event(way, example.breaks),
        "valid_event": _event(way, example.keeps),
    }


def _event(way: list[Field], value: Value) -> Json:
    for field in reversed(way):
        rest = _necessary(field.containing_type)
        if field.containing_oneof is not None:
            rest = {name: each for name, each in rest.items() if name not in _members(field.containing_oneof)}
        value = {**rest, field.name: [value] if field.is_repeated else value}
    return compress(json_format.MessageToDict(v1.Event(**value)))


def _members(oneof: Any) -> set[str]:
    return {field.name for field in oneof.fields}
