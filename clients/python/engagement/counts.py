"""Limits on how many items a message holds: they are checked first, so that all that follows is bounded."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from google.protobuf.field_mask_pb2 import FieldMask

from buf.validate import validate_pb2
from engagement.limits import MAX_MASK_PATHS
from engagement.violation import Violation

if TYPE_CHECKING:
    from google.protobuf.message import Message

_MAX_PIECE_ITEMS = 32
_MASK = FieldMask.DESCRIPTOR.full_name
# `{}` is the bound.
_DESCRIPTIONS = {
    "repeated.max_items": "must have at most {} items",
    "map.max_pairs": "must have at most {} entries",
    "read_mask.max_paths": "must have at most {} paths",
}


class _Limit(NamedTuple):
    """The limit on the items of one field."""

    items: str
    """Where they are, seen from the message: the field itself, or the paths of a mask."""
    rule: str
    max_items: int


class _Field(NamedTuple):
    """A field that has a limit, or messages with limits, or both."""

    name: str
    is_repeated: bool
    limit: _Limit | None
    inner: tuple[_Field, ...]


def check_counts(message: Message) -> list[Violation]:
    """One violation for each field that holds too many items; does not look at the items of such a field."""
    return list(_excess(message, _plan(message.DESCRIPTOR), ""))


def in_pieces(message: Message) -> Iterator[tuple[int, Message]]:
    """The message in pieces of few items each, with the index of their first item.

    Lists inside repeated messages stay whole. The pieces after the first have all other fields, too. A piece
    is valid until the next one.
    """
    lists = list(_lists(message, _plan(message.DESCRIPTOR)))
    longest = max((len(getattr(holder, name)) for holder, name, _ in lists), default=0)
    if longest <= _MAX_PIECE_ITEMS:
        yield 0, message
        return
    piece = type(message)()
    piece.CopyFrom(message)
    parts = list(_lists(piece, _plan(message.DESCRIPTOR)))
    sources = [
        iter(getattr(holder, name).items() if is_map else getattr(holder, name))
        for holder, name, is_map in lists
    ]
    for start in range(0, longest, _MAX_PIECE_ITEMS):
        for (holder, name, is_map), source in zip(parts, sources, strict=True):
            holder.ClearField(name)
            part = getattr(holder, name)
            (part.update if is_map else part.extend)(islice(source, _MAX_PIECE_ITEMS))
        yield start, piece


def _lists(message: Message, plan: tuple[_Field, ...]) -> Iterator[tuple[Message, str, bool]]:
    """The fields with limited items outside of repeated messages: holder, name, and whether it is a map."""
    for field in plan:
        if field.limit is not None and field.limit.items == field.name:
            yield message, field.name, field.limit.rule == "map.max_pairs"
        if field.inner and not field.is_repeated and message.HasField(field.name):
            yield from _lists(getattr(message, field.name), field.inner)


def _excess(message: Message, plan: tuple[_Field, ...], path: str) -> Iterator[Violation]:
    for name, is_repeated, limit, inner in plan:
        if limit is not None and len(attrgetter(limit.items)(message)) > limit.max_items:
            description = _DESCRIPTIONS[limit.rule].format(limit.max_items)
            yield Violation(path + name, limit.rule, description)
        elif inner and is_repeated:
            for index, item in enumerate(getattr(message, name)):
                yield from _excess(item, inner, f"{path}{name}[{index}].")
        elif inner and message.HasField(name):
            yield from _excess(getattr(message, name), inner, f"{path}{name}.")


def max_items(field: Any) -> int | None:  # Any: the stubs have two types for descriptors
    """The limit on the items of a list or a map; None if it is neither, or has none."""
    if field.containing_type.full_name == _MASK:
        return MAX_MASK_PATHS
    limit = _limit(field) if field.is_repeated else None
    return None if limit is None else limit.max_items


@cache
def _plan(message: Any) -> tuple[_Field, ...]:  # Any: the stubs have two types for descriptors
    """What to count in a type of message, in the order of its fields."""
    plan = []
    for field in message.fields:
        limit = _limit(field)
        type_of_items = field.message_type
        has_inner = type_of_items is not None and not type_of_items.GetOptions().map_entry
        inner = _plan(type_of_items) if has_inner else ()
        if limit is not None or inner:
            plan.append(_Field(field.name, field.is_repeated, limit, inner))
    return tuple(plan)


def _limit(field: Any) -> _Limit | None:  # Any: the stubs have two types for descriptors
    rules = field.GetOptions().Extensions[validate_pb2.field]
    if rules.repeated.HasField("max_items"):
        return _Limit(field.name, "repeated.max_items", rules.repeated.max_items)
    if rules.map.HasField("max_pairs"):
        return _Limit(field.name, "map.max_pairs", rules.map.max_pairs)
    if field.message_type is not None and field.message_type.full_name == _MASK:
        return _Limit(f"{field.name}.paths", "read_mask.max_paths", MAX_MASK_PATHS)
    return None
