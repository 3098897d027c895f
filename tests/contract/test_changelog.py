"""What the contract has beyond its last release is in the changelog."""

from __future__ import annotations

import re
from collections.abc import Iterator

from google.protobuf import descriptor_pb2
from google.protobuf.message import Message

from tests.support.contract import PROTOS, compiled_files

# What a declaration is made of: its parts that have parts of their own, and those that have none.
CONTAINERS = {"message_type", "nested_type", "enum_type", "service"}
MEMBERS = {"field", "value", "method"}


def members(node: Message, name: str) -> Iterator[tuple[str, bytes]]:
    """Every field, enum value and call below a declaration by its full name, with its type and rules."""
    for field, value in node.ListFields():
        for part in value if field.name in CONTAINERS | MEMBERS else ():
            if field.name in MEMBERS:
                yield f"{name}.{part.name}", part.SerializeToString(deterministic=True)
            elif not (field.name == "nested_type" and part.options.map_entry):  # said by its field
                yield from members(part, f"{name}.{part.name}")


def members_of_contract(files: descriptor_pb2.FileDescriptorSet) -> dict[str, bytes]:
    return {
        name: definition
        for file in files.file
        if file.package == "engagement.v1"
        for name, definition in members(file, file.package)
    }


def test_what_changed_since_the_release_is_in_the_changelog() -> None:
    image = (PROTOS / "released/engagement.v1.binpb").read_bytes()
    released = members_of_contract(descriptor_pb2.FileDescriptorSet.FromString(image))
    now = members_of_contract(compiled_files())
    known_containers = {name.rpartition(".")[0] for name in released}
    missing = set()
    changelog = (PROTOS.parent / "CHANGELOG.md").read_text()
    unreleased = changelog.partition("\n## Unreleased")[2].partition("\n## ")[0]
    assert unreleased
    for name in released.keys() | now.keys():
        if released.get(name) != now.get(name):
            container, _, member = name.rpartition(".")
            # A new message is said by its name; a new service has calls, which are said.
            is_said_by_container = container not in known_containers and not container.endswith("Service")
            word = (container if is_said_by_container else member).rpartition(".")[2]
            if not re.search(rf"\b{word.removeprefix('ERROR_REASON_')}\b", unreleased):
                missing.add(name)
    assert missing == set(), "name them in CHANGELOG.md"
