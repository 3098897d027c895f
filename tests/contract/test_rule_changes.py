"""Rules of a released contract only get looser; each way to make one stricter is found."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import descriptor_pb2, text_format
from rule_changes import tightened

from buf.validate import validate_pb2

TEXT = "type: TYPE_STRING label: LABEL_OPTIONAL"
LIST = "type: TYPE_STRING label: LABEL_REPEATED"
NUMBER = "type: TYPE_INT32 label: LABEL_OPTIONAL"
OPTIONAL = f"{TEXT} oneof_index: 0 proto3_optional: true"
PART = 'type: TYPE_MESSAGE label: LABEL_OPTIONAL type_name: ".engagement.v1.Thing"'


def add_rules(declaration: Any, extension: Any, rules: str) -> None:  # Any: no types for options
    text_format.Parse(rules, declaration.options.Extensions[extension])


def message(*fields: str, rules: str = "", choice: str | None = None) -> bytes:
    """A contract of one message. A field is its name, its type and its rules in text format."""
    contract = descriptor_pb2.FileDescriptorSet()
    thing = contract.file.add(name="thing.proto", package="engagement.v1").message_type.add(name="Thing")
    add_rules(thing, validate_pb2.message, rules)
    if choice is not None:
        add_rules(thing.oneof_decl.add(name="choice"), validate_pb2.oneof, choice)
    for number, field in enumerate(fields, 1):
        name, kind, field_rules = field.split("|")
        declared = thing.field.add(name=name, number=number)
        text_format.Merge(kind, declared)
        add_rules(declared, validate_pb2.field, field_rules)
    return contract.SerializeToString()


# Rules of a field before and after. What is looser in one direction is stricter in the other.
LOOSER = [
    ("string { max_len: 10 }", "string { max_len: 11 }"),
    ("string { max_len: 10 }", ""),
    ("string { max_bytes: 10 }", "string { max_bytes: 11 }"),
    ("string { min_len: 2 }", "string { min_len: 1 }"),
    ("string { min_len: 1 }", "string { min_len: 0 }"),
    ("string { min_bytes: 1 }", ""),
    ("string { len: 1 }", ""),
    ('string { not_contains: "a" }', ""),
    ('string { contains: "a" }', ""),
    ('string { pattern: "a" }', ""),
    ('string { const: "a" }', ""),
    ('string { in: ["a"] }', 'string { in: ["b", "a"] }'),
    ('string { in: ["a"] }', ""),
    ('string { not_in: ["a", "b"] }', 'string { not_in: ["b"] }'),
    ("bool { const: false }", ""),
    ("required: true", ""),
    ("required: true", "required: false"),
    ("repeated { max_items: 1 }", "repeated { max_items: 2 }"),
    ("repeated { min_items: 2 }", "repeated { min_items: 1 }"),
    ("repeated { unique: true }", ""),
    ("repeated { items { string { max_len: 1 } } }", "repeated { items { string { max_len: 2 } } }"),
    ("map { max_pairs: 1 }", "map { max_pairs: 2 }"),
    ("map { min_pairs: 2 }", "map { min_pairs: 1 }"),
    ("map { keys { string { min_len: 1 } } }", "map { keys { string { } } }"),
    ("map { values { string { max_len: 1 } } }", "map { values { string { max_len: 2 } } }"),
    ("enum { defined_only: true }", ""),
    ("int32 { gt: 1 }", "int32 { gt: 0 }"),
    ("int32 { gt: 1 }", "int32 { gte: 1 }"),
    ("int32 { gte: 1 }", "int32 { gte: -1 }"),
    ("int32 { gte: 1 }", ""),
    ("int32 { lt: 1 }", "int32 { lte: 1 }"),
    ("int32 { lt: 1 }", "int32 { lt: 2 }"),
    ("int32 { lte: 1 }", "int32 { lte: 2 }"),
    ("int64 { gt: 0 lt: 9 }", "int64 { gt: 0 }"),
    ("timestamp { gte { seconds: 5 } }", "timestamp { gte { seconds: 4 nanos: 9 } }"),
    ("duration { lte { seconds: 9 } }", "duration { lte { seconds: 9 nanos: 1 } }"),
    ('cel { id: "a" expression: "this > 0" }', ""),
]
# Neither is looser, or the comparison cannot tell.
NEITHER = [
    ('string { pattern: "a" }', 'string { pattern: "b" }'),
    ('string { in: ["a"] }', 'string { in: ["b"] }'),
    ('cel { id: "a" expression: "this > 0" }', 'cel { id: "a" expression: "this > -1" }'),
    ('cel { id: "a" expression: "this > 0" }', 'cel { id: "b" expression: "this > 0" }'),
    ("int32 { gt: 5 lt: 1 }", "int32 { gt: 6 lt: 1 }"),
]
UNKNOWN = [("", "string { email: true }"), ("ignore: IGNORE_ALWAYS", ""), ("", 'cel_expression: "true"')]


def changes(before: str, after: str) -> list[str]:
    return tightened(message(f"name|{TEXT}|{before}"), message(f"name|{TEXT}|{after}"))


@pytest.mark.parametrize(("before", "after"), LOOSER)
def test_a_rule_may_get_looser_and_not_stricter(before: str, after: str) -> None:
    assert changes(before, after) == []
    (problem,) = changes(after, before)
    assert problem.startswith("engagement.v1.Thing.name: ")
    assert problem.endswith(": rules may only get looser")


@pytest.mark.parametrize(("before", "after"), NEITHER)
def test_a_rule_may_not_become_another_one(before: str, after: str) -> None:
    assert changes(before, after)
    assert changes(after, before)


@pytest.mark.parametrize("pair", [*LOOSER, *NEITHER, *UNKNOWN])
def test_what_stays_is_no_change(pair: tuple[str, str]) -> None:
    for rules in pair:
        assert changes(rules, rules) == []


@pytest.mark.parametrize(("before", "after"), UNKNOWN)
def test_a_kind_of_rule_that_is_not_known_may_not_change(before: str, after: str) -> None:
    for problems in (changes(before, after), changes(after, before)):
        (problem,) = problems
        assert "rule_changes.py does not say" in problem


def test_the_message_names_the_rule_and_both_bounds() -> None:
    (problem,) = changes("string { max_len: 50000 }", "string { max_len: 10 }")
    assert problem == (
        "engagement.v1.Thing.name: string.max_len was 50000 and is 10: rules may only get looser"
    )


def test_a_rule_of_a_message_or_a_choice_is_compared_too() -> None:
    free = message(f"name|{TEXT}|", choice="")
    assert tightened(free, message(f"name|{TEXT}|", choice="", rules='cel { id: "a" expression: "true" }'))
    assert tightened(free, message(f"name|{TEXT}|", choice="required: true"))
    assert tightened(message(f"name|{TEXT}|", choice="required: true"), free) == []


@pytest.mark.parametrize(
    ("kind", "rules"),
    [
        (TEXT, "string { max_len: 1 }"),
        (TEXT, 'string { not_contains: "a" }'),
        (OPTIONAL, 'string { min_len: 1 pattern: "a" }'),
        (LIST, "repeated { max_items: 1 items { string { min_len: 1 } } }"),
        (NUMBER, "int32 { gte: 0 }"),
        (PART, 'cel { id: "a" expression: "true" }'),
    ],
)
def test_a_new_field_may_have_rules(kind: str, rules: str) -> None:
    known = f"name|{TEXT}|"
    assert tightened(message(known), message(known, f"more|{kind}|{rules}", choice="")) == []


@pytest.mark.parametrize(
    ("kind", "rules"),
    [
        (OPTIONAL, "required: true"),
        (PART, "required: true"),
        (TEXT, "string { min_len: 1 }"),
        (TEXT, 'string { pattern: "a" }'),
        (LIST, "repeated { min_items: 1 }"),
        (NUMBER, "int32 { gt: 0 }"),
        (NUMBER, "int32 { not_in: 0 }"),
    ],
)
def test_a_new_field_may_not_refuse_messages_without_it(kind: str, rules: str) -> None:
    known = f"name|{TEXT}|"
    (problem,) = tightened(message(known), message(known, f"more|{kind}|{rules}", choice=""))
    assert problem.startswith("engagement.v1.Thing.more: ")
    new_choice = message(known, choice="required: true")
    assert tightened(message(known), new_choice) == [
        "engagement.v1.Thing.choice: required on a new member refuses messages of clients that do not know it"
    ]


def test_a_new_message_may_have_any_rules() -> None:
    nothing = descriptor_pb2.FileDescriptorSet().SerializeToString()
    assert tightened(nothing, message(f"name|{OPTIONAL}|required: true", choice="required: true")) == []
