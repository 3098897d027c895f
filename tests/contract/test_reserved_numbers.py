"""Numbers that the contract skips are reserved, with the reason, so that a gap never looks like a removal."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import pytest
from google.protobuf import descriptor_pb2

from engagement import v1
from tests.contract.test_contract import CODES, reasons_and_comments
from tests.support.contract import Descriptor, compiled_files

ENUM_OF_REASONS = "engagement.v1.ErrorReason"


class Declaration:
    """A message or an enum with its place in its file."""

    def __init__(self, file: Descriptor, path: Sequence[int], node: Descriptor, scope: str) -> None:
        self.file, self.path, self.node = file, tuple(path), node
        self.name = f"{scope}.{node.name}"

    @property
    def is_enum(self) -> bool:
        return isinstance(self.node, descriptor_pb2.EnumDescriptorProto)

    def nested(self) -> Iterator[Declaration]:
        yield self
        if not self.is_enum:
            for part in ("nested_type", "enum_type"):
                number = self.node.DESCRIPTOR.fields_by_name[part].number
                for index, child in enumerate(getattr(self.node, part)):
                    yield from Declaration(self.file, [*self.path, number, index], child, self.name).nested()

    def numbers(self) -> set[int]:
        return {each.number for each in (self.node.value if self.is_enum else self.node.field)}

    def reserved(self) -> dict[int, str]:
        """Every reserved number with the comment of its statement."""
        statement = (*self.path, self.node.DESCRIPTOR.fields_by_name["reserved_range"].number)
        locations = self.file.source_code_info.location
        statements = [each for each in locations if tuple(each.path) == statement]
        found = {}
        for index, span in enumerate(self.node.reserved_range):
            (place,) = [each.span for each in locations if tuple(each.path) == (*statement, index)]
            (comment,) = [
                each.leading_comments + each.trailing_comments
                for each in statements
                if begin(each.span) <= begin(place) <= end(each.span)
            ]
            for number in range(span.start, span.end + self.is_enum):
                found[number] = comment.strip()
        return found


def begin(span: Sequence[int]) -> tuple[int, int]:
    return span[0], span[1]


def end(span: Sequence[int]) -> tuple[int, int]:
    """A span on one line names the line once."""
    return span[-2] if len(span) == 4 else span[0], span[-1]


def declarations(files: descriptor_pb2.FileDescriptorSet) -> Iterator[Declaration]:
    for file in files.file:
        if file.package == "engagement.v1":
            for part in ("message_type", "enum_type"):
                number = file.DESCRIPTOR.fields_by_name[part].number
                for index, node in enumerate(getattr(file, part)):
                    yield from Declaration(file, [number, index], node, file.package).nested()


ALL = list(declarations(compiled_files()))


@pytest.mark.parametrize("declaration", ALL, ids=lambda each: each.name)
def test_a_skipped_number_is_reserved_with_a_comment(declaration: Declaration) -> None:
    reserved = declaration.reserved()
    assert [number for number, comment in reserved.items() if not comment] == [], "say why"
    if declaration.name != ENUM_OF_REASONS:
        known = declaration.numbers() | reserved.keys()
        expected = set(range(0 if declaration.is_enum else 1, max(known, default=0) + 1))
        assert expected - known == set(), "reserve them"


def test_the_reasons_of_one_code_stay_in_one_ten_without_gaps() -> None:
    """The comment of `ErrorReason` explains the numbers between."""
    tens_of_code: dict[str, set[int]] = {}
    comments = reasons_and_comments()
    numbers = {v1.ErrorReason.Value(f"ERROR_REASON_{name}"): name for name in comments}
    for number, name in sorted(numbers.items()):
        assert number % 10 == 0 or number - 1 in numbers, f"{number} follows a gap within its ten"
        for code in re.findall(CODES, comments[name])[:1]:
            tens_of_code.setdefault(code, set()).add(number // 10)
    assert {code: tens for code, tens in tens_of_code.items() if len(tens) > 1} == {}
