from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from typing import ClassVar as _ClassVar

DESCRIPTOR: _descriptor.FileDescriptor

class Scope(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SCOPE_UNSPECIFIED: _ClassVar[Scope]
    SCOPE_INGEST: _ClassVar[Scope]
    SCOPE_READ: _ClassVar[Scope]
    SCOPE_READ_PII: _ClassVar[Scope]
    SCOPE_ERASE: _ClassVar[Scope]
    SCOPE_ENTITIES: _ClassVar[Scope]
    SCOPE_OPERATE: _ClassVar[Scope]
    SCOPE_ADMIN: _ClassVar[Scope]
SCOPE_UNSPECIFIED: Scope
SCOPE_INGEST: Scope
SCOPE_READ: Scope
SCOPE_READ_PII: Scope
SCOPE_ERASE: Scope
SCOPE_ENTITIES: Scope
SCOPE_OPERATE: Scope
SCOPE_ADMIN: Scope
