"""Every rule of the contract is broken once; the contract says which rules there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp

from buf.validate import validate_pb2
from engagement import limits, v1
from engagement.rules import check_message, is_plainly_valid
from tests.support.contract import Field, comments, messages, reachable
from tests.support.filled_events import TIME_MS, filled_events

# A value that breaks each kind of rule, made from the rule's own bound.
BREAKS: dict[str, Callable[[Any], Any]] = {
    "string.max_len": lambda limit: "a" * (limit + 1),
    "string.min_len": lambda limit: "a" * (limit - 1),
    "string.not_contains": lambda text: text,
    "string.pattern": lambda _: "no id",
    "int32.gte": lambda bound: bound - 1,
    "int32.lte": lambda bound: bound + 1,
    "int64.gt": lambda bound: bound,
    "int64.gte": lambda bound: bound - 1,
    "int64.lt": lambda bound: bound,
    "bool.const": lambda value: not value,
    "enum.defined_only": lambda _: 999,
    "enum.not_in": lambda numbers: numbers[0],
    "timestamp.gte": lambda bound: Timestamp(seconds=bound.seconds - 1),
    "timestamp.lte": lambda bound: Timestamp(seconds=bound.seconds + 1),
    "duration.gte": lambda bound: Duration(seconds=bound.seconds - 1),
    "duration.lte": lambda bound: Duration(seconds=bound.seconds + 1),
}
TOO_WIDE = FieldMask(paths=["event"] * (limits.MAX_MASK_PATHS + 1))
_IN_SECONDS = 1_700_000_000
# Messages that break each rule in CEL and no other.
BREAKS_IN_CEL: dict[str, list[Message]] = {
    "date.calendar_day": [v1.Date(year=2014, month=2, day=30)],
    "erase_consumer.request_id": [v1.EraseConsumerRequest(account_id="acme", consumer_id="ada")],
    "read_mask.max_paths": [
        v1.GetEventRequest(account_id="acme", event_id="1", read_mask=TOO_WIDE),
        v1.ListEventsRequest(account_id="acme", read_mask=TOO_WIDE),
    ],
    "time.seconds": [
        v1.CustomerInfo(server_time_stamp=_IN_SECONDS),
        v1.PersonalInfo(server_time_stamp=limits.START_OF_TIME_MS - 1),
        v1.Event(original_time_stamp=_IN_SECONDS, customer_info=v1.CustomerInfo()),
    ],
}


class Breach(NamedTuple):
    """A wrong value for a field, and the rule that it breaks."""

    field: Field
    rule: str
    value: Any  # of the field's type; for a list the items, for a map the entries
    is_missing: bool = False

    def __str__(self) -> str:
        return f"{self.field.full_name.removeprefix('engagement.v1.')}-{self.rule}"

    def apply(self, message: Message) -> None:
        """Sets the field of this message."""
        if self.is_missing:
            message.ClearField(self.field.name)
        elif isinstance(self.value, list):
            getattr(message, self.field.name).extend(self.value)
        elif isinstance(self.value, dict):
            getattr(message, self.field.name).update(self.value)
        elif isinstance(self.value, Message):
            getattr(message, self.field.name).CopyFrom(self.value)
        else:
            setattr(message, self.field.name, self.value)


def kinds(rules: Any) -> Iterator[tuple[str, Any]]:  # Any: each kind of rule has its own type
    """The rules of one value with their bounds, as `string.max_len`."""
    for kind, bounds in rules.ListFields():
        if isinstance(bounds, Message):
            yield from ((f"{kind.name}.{rule.name}", bound) for rule, bound in bounds.ListFields())


def wrong_values(rules: Any) -> Iterator[tuple[str, Any]]:
    """Each rule of one value, with a value that breaks it."""
    for rule, bound in kinds(rules):
        assert rule in BREAKS, f"say in BREAKS which value breaks {rule}"
        yield rule, BREAKS[rule](bound)


def breaches(field: Field) -> Iterator[Breach]:
    """A way to break each rule of a field."""
    rules = field.GetOptions().Extensions[validate_pb2.field]
    if rules.required:
        yield Breach(field, "required", None, is_missing=True)
    if rules.HasField("map"):
        yield from (Breach(field, rule, {wrong: ""}) for rule, wrong in wrong_values(rules.map.keys))
        yield from (Breach(field, rule, {"key": wrong}) for rule, wrong in wrong_values(rules.map.values))
        if rules.map.max_pairs:
            pairs = dict.fromkeys(map(str, range(rules.map.max_pairs + 1)), "a")
            yield Breach(field, "map.max_pairs", pairs)
    elif rules.HasField("repeated"):
        yield from (Breach(field, rule, [wrong]) for rule, wrong in wrong_values(rules.repeated.items))
        if rules.repeated.max_items:
            items = [an_item_of(field)] * (rules.repeated.max_items + 1)
            yield Breach(field, "repeated.max_items", items)
        if rules.repeated.min_items:
            yield Breach(field, "repeated.min_items", None, is_missing=True)
    else:
        yield from (Breach(field, rule, wrong) for rule, wrong in wrong_values(rules))


def an_item_of(field: Field) -> Any:  # Any: each field has its own type
    if field.message_type is not None:
        return GetMessageClass(field.message_type)()
    return "a" if field.type == field.TYPE_STRING else 1


def is_reported(rule: str, message: Message) -> bool:
    """Whether the rule is among the broken ones; those with two bounds are one, as `int32.gte_lte`."""
    kind, _, name = rule.partition(".")
    ids = {violation.rule for violation in check_message(message)}
    return rule in ids or any(
        other.startswith(f"{kind}.") and name in other.removeprefix(f"{kind}.").split("_") for other in ids
    )


ALL_BREACHES = [breach for message in messages() for field in message.fields for breach in breaches(field)]


@pytest.mark.parametrize("breach", ALL_BREACHES, ids=str)
def test_a_value_that_breaks_it_is_reported(breach: Breach) -> None:
    message = GetMessageClass(breach.field.containing_type)()
    breach.apply(message)
    assert is_reported(breach.rule, message)


def test_a_choice_without_a_member_is_reported() -> None:
    for message in messages():
        for oneof in message.oneofs:
            if oneof.GetOptions().Extensions[validate_pb2.oneof].required:
                violations = check_message(GetMessageClass(message)())
                assert (oneof.name, "required") in {(each.field, each.rule) for each in violations}


def test_each_rule_in_cel_has_an_example_that_breaks_it_alone() -> None:
    ids = {
        rule.id
        for message in messages()
        for rules in (
            message.GetOptions().Extensions[validate_pb2.message],
            *(field.GetOptions().Extensions[validate_pb2.field] for field in message.fields),
        )
        for rule in rules.cel
    }
    assert BREAKS_IN_CEL.keys() == ids
    for rule, examples in BREAKS_IN_CEL.items():
        for message in examples:
            assert [violation.rule for violation in check_message(message)] == [rule]


def parts(message: Message) -> Iterator[Message]:
    """A message and those in it; of a list the first."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None and not field.message_type.GetOptions().map_entry:
            yield from parts(value[0] if field.is_repeated else value)


@pytest.mark.parametrize("name", filled_events())
def test_an_event_that_breaks_it_is_never_plainly_valid(name: str) -> None:
    event = filled_events()[name]
    assert is_plainly_valid(event, event.SerializeToString(), now_ms=TIME_MS)
    for index, part in enumerate(parts(event)):
        for breach in [breach for field in part.DESCRIPTOR.fields for breach in breaches(field)]:
            broken = filled_events()[name]
            breach.apply([*parts(broken)][index])
            assert is_reported(breach.rule, broken), breach
            assert not is_plainly_valid(broken, broken.SerializeToString(), now_ms=TIME_MS), breach
        for rule, examples in BREAKS_IN_CEL.items():
            for example in examples:
                if isinstance(example, type(part)):
                    broken = filled_events()[name]
                    [*parts(broken)][index].CopyFrom(example)
                    assert is_reported(rule, broken)
                    assert not is_plainly_valid(broken, broken.SerializeToString(), now_ms=TIME_MS), rule


def test_the_comment_of_a_field_of_an_event_says_its_limit() -> None:
    """The general limit of texts is said once, in the message."""
    said = comments()
    for message in reachable(v1.Event.DESCRIPTOR):
        for field in message.fields:
            for rule, bound in kinds(field.GetOptions().Extensions[validate_pb2.field]):
                if rule in {
                    "string.max_len",
                    "string.min_len",
                    "int32.gte",
                    "int32.lte",
                    "repeated.max_items",
                    "map.max_pairs",
                }:
                    words = said[field.full_name].replace(",", "")
                    is_general = rule == "string.max_len" and bound == limits.MAX_TEXT_CHARACTERS
                    assert is_general or str(bound) in words, f"{field.full_name}: {rule} is {bound}"
