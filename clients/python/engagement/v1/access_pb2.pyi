from engagement.v1 import scope_pb2 as _scope_pb2
from google.protobuf import descriptor_pb2 as _descriptor_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor
ACCESS_FIELD_NUMBER: _ClassVar[int]
access: _descriptor.FieldDescriptor

class MethodAccess(_message.Message):
    __slots__ = ("any_of", "audience")
    class Audience(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        AUDIENCE_UNSPECIFIED: _ClassVar[MethodAccess.Audience]
        AUDIENCE_EVERYBODY: _ClassVar[MethodAccess.Audience]
        AUDIENCE_ANY_IDENTITY: _ClassVar[MethodAccess.Audience]
    AUDIENCE_UNSPECIFIED: MethodAccess.Audience
    AUDIENCE_EVERYBODY: MethodAccess.Audience
    AUDIENCE_ANY_IDENTITY: MethodAccess.Audience
    ANY_OF_FIELD_NUMBER: _ClassVar[int]
    AUDIENCE_FIELD_NUMBER: _ClassVar[int]
    any_of: _containers.RepeatedScalarFieldContainer[_scope_pb2.Scope]
    audience: MethodAccess.Audience
    def __init__(self, any_of: _Optional[_Iterable[_Union[_scope_pb2.Scope, str]]] = ..., audience: _Optional[_Union[MethodAccess.Audience, str]] = ...) -> None: ...
