from buf.validate import validate_pb2 as _validate_pb2
from engagement.v1 import access_pb2 as _access_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EntityKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ENTITY_KIND_UNSPECIFIED: _ClassVar[EntityKind]
    ENTITY_KIND_CUSTOMER_STATUS: _ClassVar[EntityKind]
    ENTITY_KIND_CUSTOMER_TYPE: _ClassVar[EntityKind]
ENTITY_KIND_UNSPECIFIED: EntityKind
ENTITY_KIND_CUSTOMER_STATUS: EntityKind
ENTITY_KIND_CUSTOMER_TYPE: EntityKind

class ListEntitiesRequest(_message.Message):
    __slots__ = ("account_id", "kind")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    kind: EntityKind
    def __init__(self, account_id: _Optional[str] = ..., kind: _Optional[_Union[EntityKind, str]] = ...) -> None: ...

class ListEntitiesResponse(_message.Message):
    __slots__ = ("names", "closed")
    NAMES_FIELD_NUMBER: _ClassVar[int]
    CLOSED_FIELD_NUMBER: _ClassVar[int]
    names: _containers.RepeatedScalarFieldContainer[str]
    closed: bool
    def __init__(self, names: _Optional[_Iterable[str]] = ..., closed: _Optional[bool] = ...) -> None: ...

class PutEntitiesRequest(_message.Message):
    __slots__ = ("account_id", "kind", "names", "closed")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    CLOSED_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    kind: EntityKind
    names: _containers.RepeatedScalarFieldContainer[str]
    closed: bool
    def __init__(self, account_id: _Optional[str] = ..., kind: _Optional[_Union[EntityKind, str]] = ..., names: _Optional[_Iterable[str]] = ..., closed: _Optional[bool] = ...) -> None: ...

class PutEntitiesResponse(_message.Message):
    __slots__ = ("names", "closed")
    NAMES_FIELD_NUMBER: _ClassVar[int]
    CLOSED_FIELD_NUMBER: _ClassVar[int]
    names: _containers.RepeatedScalarFieldContainer[str]
    closed: bool
    def __init__(self, names: _Optional[_Iterable[str]] = ..., closed: _Optional[bool] = ...) -> None: ...

class DeleteEntityRequest(_message.Message):
    __slots__ = ("account_id", "kind", "name")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    kind: EntityKind
    name: str
    def __init__(self, account_id: _Optional[str] = ..., kind: _Optional[_Union[EntityKind, str]] = ..., name: _Optional[str] = ...) -> None: ...

class DeleteEntityResponse(_message.Message):
    __slots__ = ("names", "closed")
    NAMES_FIELD_NUMBER: _ClassVar[int]
    CLOSED_FIELD_NUMBER: _ClassVar[int]
    names: _containers.RepeatedScalarFieldContainer[str]
    closed: bool
    def __init__(self, names: _Optional[_Iterable[str]] = ..., closed: _Optional[bool] = ...) -> None: ...
