"""The contract as reflection tells it: which file declares a name, with everything that the file imports."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from google.protobuf import descriptor_pb2, descriptor_pool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.descriptor import FileDescriptor

_POOL = descriptor_pool.Default()
_MAX_CACHED: Final = 256
"""Files whose answers are kept; there are fewer."""


def file_named(path: str) -> Sequence[bytes]:
    """A file by its path, and all that it needs. Raises KeyError."""
    return _with_imports(_POOL.FindFileByName(path).name)


def file_declaring(symbol: str) -> Sequence[bytes]:
    """The file that declares a service, method, message, field, oneof, enum, enum value or extension.

    With all that it needs. Raises KeyError.
    """
    try:
        return _with_imports(_POOL.FindFileContainingSymbol(symbol).name)
    except KeyError:
        return _with_imports(_parent_file(symbol).name)


def _parent_file(symbol: str) -> FileDescriptor:
    """The file of what the pool does not find: a method, or a value that is named with its enum.

    In a contract the name of a value stands beside that of its enum; tools use either. Raises KeyError.
    """
    parent, _, name = symbol.rpartition(".")
    try:
        return _POOL.FindMethodByName(symbol).containing_service.file
    except KeyError:
        return _POOL.FindEnumTypeByName(parent).values_by_name[name].type.file


def file_extending(message: str, number: int) -> Sequence[bytes]:
    """The file that declares an extension of a message, and all that it needs. Raises KeyError."""
    extended = _POOL.FindMessageTypeByName(message)
    extension = _POOL.FindExtensionByNumber(extended, number)
    return _with_imports(extension.file.name)  # type: ignore[attr-defined]  # the stubs leave it out


def extension_numbers(message: str) -> Sequence[int]:
    """The numbers of all extensions of a message. Raises KeyError."""
    extended = _POOL.FindMessageTypeByName(message)
    return sorted(extension.number for extension in _POOL.FindAllExtensions(extended))


def declare_copy(path: str, *, package: str, original: str) -> None:
    """Declares a file that says the same as another one, in a package of its own, unless it is declared."""
    try:
        _POOL.FindFileByName(path)
    except KeyError:
        copy = descriptor_pb2.FileDescriptorProto.FromString(_POOL.FindFileByName(original).serialized_pb)
        own, new = f".{copy.package}.", f".{package}."
        copy.name, copy.package = path, package
        for field in (field for message in copy.message_type for field in message.field):
            if field.type_name:
                field.type_name = field.type_name.replace(own, new)
        for method in (method for service in copy.service for method in service.method):
            method.input_type = method.input_type.replace(own, new)
            method.output_type = method.output_type.replace(own, new)
        _POOL.AddSerializedFile(copy.SerializeToString())


@lru_cache(_MAX_CACHED)
def _with_imports(path: str) -> tuple[bytes, ...]:
    """The serialized file, and then those that it imports, directly or not."""
    found: dict[str, FileDescriptor] = {}
    waiting = [_POOL.FindFileByName(path)]
    while waiting:
        file = waiting.pop()
        if file.name not in found:
            found[file.name] = file
            waiting.extend(file.dependencies)
    return tuple(file.serialized_pb for file in found.values())
