import datetime

from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SubjectKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SUBJECT_KIND_UNSPECIFIED: _ClassVar[SubjectKind]
    SUBJECT_KIND_CONSUMER_ID: _ClassVar[SubjectKind]
    SUBJECT_KIND_CUSTOMER_ID: _ClassVar[SubjectKind]
    SUBJECT_KIND_CONVERSATION_ID: _ClassVar[SubjectKind]
SUBJECT_KIND_UNSPECIFIED: SubjectKind
SUBJECT_KIND_CONSUMER_ID: SubjectKind
SUBJECT_KIND_CUSTOMER_ID: SubjectKind
SUBJECT_KIND_CONVERSATION_ID: SubjectKind

class EraseConsumerRequest(_message.Message):
    __slots__ = ("account_id", "request_id", "consumer_id", "customer_id", "conversation_id", "suppress", "validate_only")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CONSUMER_ID_FIELD_NUMBER: _ClassVar[int]
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    SUPPRESS_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    request_id: str
    consumer_id: str
    customer_id: str
    conversation_id: str
    suppress: bool
    validate_only: bool
    def __init__(self, account_id: _Optional[str] = ..., request_id: _Optional[str] = ..., consumer_id: _Optional[str] = ..., customer_id: _Optional[str] = ..., conversation_id: _Optional[str] = ..., suppress: _Optional[bool] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class EraseConsumerResponse(_message.Message):
    __slots__ = ("erasure",)
    ERASURE_FIELD_NUMBER: _ClassVar[int]
    erasure: Erasure
    def __init__(self, erasure: _Optional[_Union[Erasure, _Mapping]] = ...) -> None: ...

class Erasure(_message.Message):
    __slots__ = ("erasure_id", "matched_events", "erased_events", "suppressing", "create_time", "complete_time", "sample_event_ids", "request_id", "subject_kind")
    ERASURE_ID_FIELD_NUMBER: _ClassVar[int]
    MATCHED_EVENTS_FIELD_NUMBER: _ClassVar[int]
    ERASED_EVENTS_FIELD_NUMBER: _ClassVar[int]
    SUPPRESSING_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_TIME_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_EVENT_IDS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_KIND_FIELD_NUMBER: _ClassVar[int]
    erasure_id: str
    matched_events: int
    erased_events: int
    suppressing: bool
    create_time: _timestamp_pb2.Timestamp
    complete_time: _timestamp_pb2.Timestamp
    sample_event_ids: _containers.RepeatedScalarFieldContainer[str]
    request_id: str
    subject_kind: SubjectKind
    def __init__(self, erasure_id: _Optional[str] = ..., matched_events: _Optional[int] = ..., erased_events: _Optional[int] = ..., suppressing: _Optional[bool] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., complete_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., sample_event_ids: _Optional[_Iterable[str]] = ..., request_id: _Optional[str] = ..., subject_kind: _Optional[_Union[SubjectKind, str]] = ...) -> None: ...

class GetErasureRequest(_message.Message):
    __slots__ = ("account_id", "erasure_id")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    ERASURE_ID_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    erasure_id: str
    def __init__(self, account_id: _Optional[str] = ..., erasure_id: _Optional[str] = ...) -> None: ...

class GetErasureResponse(_message.Message):
    __slots__ = ("erasure",)
    ERASURE_FIELD_NUMBER: _ClassVar[int]
    erasure: Erasure
    def __init__(self, erasure: _Optional[_Union[Erasure, _Mapping]] = ...) -> None: ...

class ListErasuresRequest(_message.Message):
    __slots__ = ("account_id", "page_size", "page_token")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    page_size: int
    page_token: str
    def __init__(self, account_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListErasuresResponse(_message.Message):
    __slots__ = ("erasures", "next_page_token")
    ERASURES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    erasures: _containers.RepeatedCompositeFieldContainer[Erasure]
    next_page_token: str
    def __init__(self, erasures: _Optional[_Iterable[_Union[Erasure, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class LiftSuppressionRequest(_message.Message):
    __slots__ = ("account_id", "consumer_id", "customer_id", "conversation_id", "erasure_id")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    CONSUMER_ID_FIELD_NUMBER: _ClassVar[int]
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    ERASURE_ID_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    consumer_id: str
    customer_id: str
    conversation_id: str
    erasure_id: str
    def __init__(self, account_id: _Optional[str] = ..., consumer_id: _Optional[str] = ..., customer_id: _Optional[str] = ..., conversation_id: _Optional[str] = ..., erasure_id: _Optional[str] = ...) -> None: ...

class LiftSuppressionResponse(_message.Message):
    __slots__ = ("lifted",)
    LIFTED_FIELD_NUMBER: _ClassVar[int]
    lifted: bool
    def __init__(self, lifted: _Optional[bool] = ...) -> None: ...
