"""Every rule of the contract is broken once; the contract says which rules there are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from buf.validate import validate_pb2
from clients.vectors.cases.rules import CEL_VALUES, Example, examples_of_field
from engagement import limits, v1
from engagement.rules import check_message
from tests.support.contract import Descriptor, Field, comments, messages, reachable
from tests.support.vectors import cases

TOO_WIDE = FieldMask(paths=["event"] * (limits.MAX_MASK_PATHS + 1))
# Requests that break each rule in CEL and no other; `CEL_VALUES` has the rules for events.
BREAKS_IN_CEL: dict[str, list[Message]] = {
    "erase_consumer.request_id": [
        v1.EraseConsumerRequest(account_id="acme", subjects=[v1.Subject(consumer_id="ada")])
    ],
    "erase_consumer.subjects": [v1.EraseConsumerRequest(account_id="acme", request_id="r")],
    "erase_consumer.suppress": [
        v1.EraseConsumerRequest(account_id="acme", request_id="r", event_ids=["e"], suppress=True)
    ],
    "read_mask.max_paths": [
        v1.GetEventRequest(account_id="acme", event_id="1", read_mask=TOO_WIDE),
        v1.ListEventsRequest(account_id="acme", read_mask=TOO_WIDE),
    ],
}


def kinds(rules: Any) -> Iterator[tuple[str, Any]]:  # Any: each kind of rule has its own type
    """The rules of one value with their bounds, as `string.max_len`."""
    for kind, bounds in rules.ListFields():
        if isinstance(bounds, Message):
            yield from ((f"{kind.name}.{rule.name}", bound) for rule, bound in bounds.ListFields())


def rule_names(rules: Any) -> Iterator[str]:  # Any: each kind of rule has its own type
    """Every rule in the options of a field, a choice or a message, as `map.keys.string.max_len`."""
    for rule, bound in rules.ListFields():
        if rule.name == "cel":
            yield from (f"cel.{each.id}" for each in bound)
        elif rule.message_type is not None and rule.message_type.file is validate_pb2.DESCRIPTOR:
            yield from (f"{rule.name}.{inner}" for inner in rule_names(bound))
        else:
            yield rule.name


def rules_below(message: Descriptor, way: str = "") -> Iterator[tuple[str, str]]:
    """Every rule of a message and those below it, with the path of what it is about."""
    options = message.GetOptions().Extensions[validate_pb2.message]
    yield from ((way.removesuffix("."), rule) for rule in rule_names(options))
    for oneof in message.oneofs:
        options = oneof.GetOptions().Extensions[validate_pb2.oneof]
        yield from ((f"{way}{oneof.name}", rule) for rule in rule_names(options))
    for field in message.fields:
        options = field.GetOptions().Extensions[validate_pb2.field]
        yield from ((f"{way}{field.name}", rule) for rule in rule_names(options))
        if field.message_type is not None and not field.message_type.GetOptions().map_entry:
            yield from rules_below(field.message_type, f"{way}{field.name}{'[0]' * field.is_repeated}.")


EXAMPLES = [
    pytest.param(field, example, id=f"{field.full_name.removeprefix('engagement.v1.')}-{example.annotation}")
    for message in messages()
    for field in message.fields
    for example in examples_of_field(field)
]


@pytest.mark.parametrize(("field", "example"), EXAMPLES)
def test_a_value_that_breaks_it_is_reported_and_its_neighbour_is_not(field: Field, example: Example) -> None:
    def is_reported(value: Any) -> bool:
        message = GetMessageClass(field.containing_type)(**{field.name: value})
        return any(
            each.rule == example.rule and each.field.startswith(field.name) for each in check_message(message)
        )

    assert is_reported(example.breaks)
    assert not is_reported(example.keeps)


def test_every_rule_for_events_has_a_case_of_all_clients() -> None:
    """Those who add a rule add an example: then each client and the quick check are held to it."""
    tried = {tuple(case["name"].split(" ")[:2]) for case in cases("rules.json")}
    assert tried == set(rules_below(v1.Event.DESCRIPTOR)), "see clients/vectors/cases/rules.py"


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
    assert BREAKS_IN_CEL.keys() | CEL_VALUES.keys() == ids
    for rule, examples in BREAKS_IN_CEL.items():
        for message in examples:
            assert [violation.rule for violation in check_message(message)] == [rule]


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
