"""The contract as its descriptors have it: messages, services and calls, none of them named by hand."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from google.protobuf import descriptor_pb2

from engagement import v1

PROTOS = Path(__file__).parents[2] / "protos"

# The stubs have two types for descriptors, of which each lacks something.
Descriptor: TypeAlias = Any
Field: TypeAlias = Any
Method: TypeAlias = Any

SETS = {"customer_info": v1.CustomerInfo, "personal_info": v1.PersonalInfo}


def files() -> list[Descriptor]:
    """Every file of the contract."""
    names = sorted(module.name for module in pkgutil.iter_modules(v1.__path__))
    return [
        importlib.import_module(f"{v1.__name__}.{name}").DESCRIPTOR for name in names if name.endswith("_pb2")
    ]


def messages() -> Iterator[Descriptor]:
    """Every message type, nested ones included."""
    pending = [message for file in files() for message in file.message_types_by_name.values()]
    while pending:
        message = pending.pop(0)
        yield message
        pending += [nested for nested in message.nested_types if not nested.GetOptions().map_entry]


def reachable(message: Descriptor) -> Iterator[Descriptor]:
    """A message type and all those below it, each once for every way that leads to it."""
    yield message
    for field in message.fields:
        if field.message_type is not None and not field.message_type.GetOptions().map_entry:
            yield from reachable(field.message_type)


def services() -> list[Descriptor]:
    """Every service."""
    return [service for file in files() for service in file.services_by_name.values()]


def methods() -> list[Method]:
    """Every call."""
    return [method for service in services() for method in service.methods]


def compiled_files() -> descriptor_pb2.FileDescriptorSet:
    """The protos as they are now, with their comments."""
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image"
        subprocess.run([sys.executable, PROTOS / "contract.py", "image", image], check=True)
        return descriptor_pb2.FileDescriptorSet.FromString(image.read_bytes())


def comments() -> dict[str, str]:
    """The comments of the protos by the full names of what they stand above."""
    found = {}
    for file in compiled_files().file:
        if file.package == v1.Event.DESCRIPTOR.file.package:
            for location in file.source_code_info.location:
                # An odd path leads to a part of a declaration, such as its number.
                if location.path and len(location.path) % 2 == 0 and location.leading_comments:
                    found[_name(file, location.path)] = location.leading_comments
    return found


def _name(file: descriptor_pb2.FileDescriptorProto, path: Sequence[int]) -> str:
    """The full name of what a path of a compiled file leads to: pairs of a field's number and an index."""
    node: Any = file
    names = [file.package]
    for number, index in zip(path[::2], path[1::2], strict=True):
        node = getattr(node, node.DESCRIPTOR.fields_by_number[number].name)[index]
        names.append(getattr(node, "name", ""))
    return ".".join(names)
