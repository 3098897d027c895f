"""Compares the rules of the contract with those of its last release: what was valid has to stay valid.

A kind of rule that is not named here may be used, but not changed afterwards, until it is named.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from google.protobuf import descriptor_pb2, duration_pb2, field_mask_pb2, timestamp_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from protovalidate._gen.buf.validate import validate_pb

PACKAGE: Final = "engagement.v1"
Proto = Any  # of a pool of our own, without types

# Looser with a higher bound, a lower bound, more values, fewer values; and only without the rule.
_UPPER: Final = {"upper", "max_len", "max_bytes", "max_items", "max_pairs"}
_LOWER: Final = {"lower", "min_len", "min_bytes", "min_items", "min_pairs"}
_ALLOWED: Final = {"in"}
_FORBIDDEN: Final = {"not_in"}
_FIXED: Final = {"const", "contains", "defined_only", "len", "not_contains", "pattern", "required", "unique"}
# Rules that refuse an empty value.
_REFUSES_EMPTY: Final = {"const", "contains", "in", "len", "pattern"}


class Rules(NamedTuple):
    """The rules of a field, a choice or a message."""

    by_name: dict[str, Any]  # bounds by paths in the options, such as `map.keys.string.max_len`
    owner: str
    """The message that has the field or the choice; empty for a message."""
    has_presence: bool


def tightened(released: bytes, now: bytes) -> list[str]:
    """The rules of `now` that refuse something valid in `released`; both are serialized FileDescriptorSets.

    New messages may have any rules, and new fields all that do not refuse a message without the field.
    """
    before, after = _all_rules(released), _all_rules(now)
    problems = []
    for name, rules in after.items():
        if name in before:
            problems += [f"{name}: {problem}" for problem in _stricter(before[name].by_name, rules.by_name)]
        elif rules.owner in before:
            problems += [
                f"{name}: {rule} on a new member refuses messages of clients that do not know it"
                for rule, bound in rules.by_name.items()
                if _refuses_absence(rule, bound, has_presence=rules.has_presence)
            ]
    return problems


def _stricter(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    for rule in sorted(before.keys() | after.keys()):
        was, now = before.get(rule), after.get(rule)
        if was == now:
            continue
        kind = rule.split(".")[0] if rule.startswith("cel.") else rule.rpartition(".")[2]
        change = f"{rule} was {_text(was)} and is {_text(now)}"
        is_looser = _is_looser(kind, was, now)
        if is_looser is None:
            yield f"{change}, and protos/rule_changes.py does not say whether that is looser"
        elif not is_looser:
            yield f"{change}: rules may only get looser"


def _is_looser(kind: str, was: Any, now: Any) -> bool | None:  # Any: bounds of any type
    """Whether a changed rule accepts all that it accepted before; None if that is unknown."""
    if kind in _UPPER:
        return now is None or (was is not None and now > was)
    if kind in _LOWER:
        return now is None or now == 0 or (was is not None and now < was)
    if kind in _ALLOWED:
        return now is None or (was is not None and was < now)
    if kind in _FORBIDDEN:
        return now is None or (was is not None and now < was)
    return now is None if kind in _FIXED or kind == "cel" else None


def _refuses_absence(rule: str, bound: Any, *, has_presence: bool) -> bool:
    """Whether a rule refuses a message without the field: without presence, the default value is checked."""
    path, _, kind = rule.rpartition(".")
    if kind == "required":
        return True
    if has_presence or path.startswith(("map.", "repeated.")):
        return False
    if kind in _FORBIDDEN:
        return 0 in bound or "" in bound
    return kind in _REFUSES_EMPTY or (kind in _LOWER and bound > ((0, 0) if kind == "lower" else 0))


def _text(bound: Any) -> str:
    return "absent" if bound is None else repr(sorted(bound) if isinstance(bound, frozenset) else bound)


def _read(image: bytes) -> tuple[DescriptorPool, Proto]:
    """The files of an image, with options that the pool knows."""
    pool = DescriptorPool()
    for module in (descriptor_pb2, duration_pb2, field_mask_pb2, timestamp_pb2):
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(validate_pb.desc().proto.to_binary())
    files = GetMessageClass(pool.FindMessageTypeByName("google.protobuf.FileDescriptorSet"))
    return pool, files.FromString(image)


def _all_rules(image: bytes) -> dict[str, Rules]:
    """The rules of every message, choice and field of the contract by its full name."""
    pool, files = _read(image)
    found: dict[str, Rules] = {}
    for file in files.file:
        if file.package == PACKAGE:
            for message in file.message_type:
                found.update(_rules_of_message(pool, message, file.package))
    return found


def _rules_of_message(pool: DescriptorPool, message: Proto, scope: str) -> Iterator[tuple[str, Rules]]:
    def rules_of(part: Proto, extension: str) -> dict[str, Any]:
        return dict(_flat(part.options.Extensions[pool.FindExtensionByName(f"buf.validate.{extension}")]))

    name = f"{scope}.{message.name}"
    yield name, Rules(rules_of(message, "message"), "", has_presence=False)
    for oneof in message.oneof_decl:
        yield f"{name}.{oneof.name}", Rules(rules_of(oneof, "oneof"), name, has_presence=False)
    for field in message.field:
        is_single = field.label != field.LABEL_REPEATED
        has_presence = is_single and (field.HasField("oneof_index") or field.type == field.TYPE_MESSAGE)
        yield f"{name}.{field.name}", Rules(rules_of(field, "field"), name, has_presence=has_presence)
    for nested in message.nested_type:
        yield from _rules_of_message(pool, nested, name)


def _flat(rules: Proto, path: str = "") -> Iterator[tuple[str, Any]]:
    """Each rule with its bound. `gt` and `gte` become one `lower` bound, `lt` and `lte` one `upper`."""
    bounds: dict[str, tuple[Any, int]] = {}
    for field, value in rules.ListFields():
        if field.name == "cel":
            yield from ((f"{path}cel.{rule.id}", rule.expression) for rule in value)
        elif field.name in ("gt", "gte"):
            bounds["lower"] = (_comparable(value), 1 if field.name == "gt" else 0)
        elif field.name in ("lt", "lte"):
            bounds["upper"] = (_comparable(value), -1 if field.name == "lt" else 0)
        elif field.is_repeated:
            yield f"{path}{field.name}", frozenset(map(_comparable, value))
        elif field.message_type is None or field.message_type.file.package == "google.protobuf":
            if value is not False or field.name == "const":
                yield f"{path}{field.name}", _comparable(value)
        else:
            yield from _flat(value, f"{path}{field.name}.")
    if len(bounds) == 2 and bounds["lower"] > bounds["upper"]:
        # It accepts what is outside of the two, so neither is looser by being higher or lower.
        yield f"{path}outside", tuple(bounds.values())
        return
    yield from ((f"{path}{name}", bound) for name, bound in bounds.items())


def _comparable(value: Any) -> Any:
    """Times and durations in the order of their values."""
    if hasattr(value, "seconds"):
        return value.seconds, value.nanos
    return value.SerializeToString(deterministic=True) if hasattr(value, "DESCRIPTOR") else value
