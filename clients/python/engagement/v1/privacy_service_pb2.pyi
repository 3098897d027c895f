import datetime

from buf.validate import validate_pb2 as _validate_pb2
from engagement.v1 import access_pb2 as _access_pb2
from engagement.v1 import event_pb2 as _event_pb2
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
    SUBJECT_KIND_EVENT_ID: _ClassVar[SubjectKind]
SUBJECT_KIND_UNSPECIFIED: SubjectKind
SUBJECT_KIND_CONSUMER_ID: SubjectKind
SUBJECT_KIND_CUSTOMER_ID: SubjectKind
SUBJECT_KIND_CONVERSATION_ID: SubjectKind
SUBJECT_KIND_EVENT_ID: SubjectKind

class Subject(_message.Message):
    __slots__ = ("consumer_id", "customer_id", "conversation_id")
    CONSUMER_ID_FIELD_NUMBER: _ClassVar[int]
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    consumer_id: str
    customer_id: str
    conversation_id: str
    def __init__(self, consumer_id: _Optional[str] = ..., customer_id: _Optional[str] = ..., conversation_id: _Optional[str] = ...) -> None: ...

class EraseConsumerRequest(_message.Message):
    __slots__ = ("account_id", "request_id", "subjects", "event_ids", "suppress", "validate_only")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SUBJECTS_FIELD_NUMBER: _ClassVar[int]
    EVENT_IDS_FIELD_NUMBER: _ClassVar[int]
    SUPPRESS_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    request_id: str
    subjects: _containers.RepeatedCompositeFieldContainer[Subject]
    event_ids: _containers.RepeatedScalarFieldContainer[str]
    suppress: bool
    validate_only: bool
    def __init__(self, account_id: _Optional[str] = ..., request_id: _Optional[str] = ..., subjects: _Optional[_Iterable[_Union[Subject, _Mapping]]] = ..., event_ids: _Optional[_Iterable[str]] = ..., suppress: _Optional[bool] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class EraseConsumerResponse(_message.Message):
    __slots__ = ("erasure",)
    ERASURE_FIELD_NUMBER: _ClassVar[int]
    erasure: Erasure
    def __init__(self, erasure: _Optional[_Union[Erasure, _Mapping]] = ...) -> None: ...

class RelatedId(_message.Message):
    __slots__ = ("kind", "id", "relation", "events", "rejections")
    class Relation(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        RELATION_UNSPECIFIED: _ClassVar[RelatedId.Relation]
        RELATION_SEEN_TOGETHER: _ClassVar[RelatedId.Relation]
        RELATION_SPELLING: _ClassVar[RelatedId.Relation]
    RELATION_UNSPECIFIED: RelatedId.Relation
    RELATION_SEEN_TOGETHER: RelatedId.Relation
    RELATION_SPELLING: RelatedId.Relation
    KIND_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    RELATION_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    REJECTIONS_FIELD_NUMBER: _ClassVar[int]
    kind: SubjectKind
    id: str
    relation: RelatedId.Relation
    events: int
    rejections: int
    def __init__(self, kind: _Optional[_Union[SubjectKind, str]] = ..., id: _Optional[str] = ..., relation: _Optional[_Union[RelatedId.Relation, str]] = ..., events: _Optional[int] = ..., rejections: _Optional[int] = ...) -> None: ...

class Erasure(_message.Message):
    __slots__ = ("erasure_id", "matched_events", "erased_events", "suppressing", "create_time", "complete_time", "sample_event_ids", "request_id", "subject_kinds", "cleared_rejections", "related", "has_more_related", "unmatched_subjects", "unmatched_event_ids", "lift_time")
    ERASURE_ID_FIELD_NUMBER: _ClassVar[int]
    MATCHED_EVENTS_FIELD_NUMBER: _ClassVar[int]
    ERASED_EVENTS_FIELD_NUMBER: _ClassVar[int]
    SUPPRESSING_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_TIME_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_EVENT_IDS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_KINDS_FIELD_NUMBER: _ClassVar[int]
    CLEARED_REJECTIONS_FIELD_NUMBER: _ClassVar[int]
    RELATED_FIELD_NUMBER: _ClassVar[int]
    HAS_MORE_RELATED_FIELD_NUMBER: _ClassVar[int]
    UNMATCHED_SUBJECTS_FIELD_NUMBER: _ClassVar[int]
    UNMATCHED_EVENT_IDS_FIELD_NUMBER: _ClassVar[int]
    LIFT_TIME_FIELD_NUMBER: _ClassVar[int]
    erasure_id: str
    matched_events: int
    erased_events: int
    suppressing: bool
    create_time: _timestamp_pb2.Timestamp
    complete_time: _timestamp_pb2.Timestamp
    sample_event_ids: _containers.RepeatedScalarFieldContainer[str]
    request_id: str
    subject_kinds: _containers.RepeatedScalarFieldContainer[SubjectKind]
    cleared_rejections: int
    related: _containers.RepeatedCompositeFieldContainer[RelatedId]
    has_more_related: bool
    unmatched_subjects: _containers.RepeatedScalarFieldContainer[int]
    unmatched_event_ids: _containers.RepeatedScalarFieldContainer[str]
    lift_time: _timestamp_pb2.Timestamp
    def __init__(self, erasure_id: _Optional[str] = ..., matched_events: _Optional[int] = ..., erased_events: _Optional[int] = ..., suppressing: _Optional[bool] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., complete_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., sample_event_ids: _Optional[_Iterable[str]] = ..., request_id: _Optional[str] = ..., subject_kinds: _Optional[_Iterable[_Union[SubjectKind, str]]] = ..., cleared_rejections: _Optional[int] = ..., related: _Optional[_Iterable[_Union[RelatedId, _Mapping]]] = ..., has_more_related: _Optional[bool] = ..., unmatched_subjects: _Optional[_Iterable[int]] = ..., unmatched_event_ids: _Optional[_Iterable[str]] = ..., lift_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

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
    __slots__ = ("account_id", "page_size", "page_token", "request_id", "subject_id")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_ID_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    page_size: int
    page_token: str
    request_id: str
    subject_id: str
    def __init__(self, account_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., request_id: _Optional[str] = ..., subject_id: _Optional[str] = ...) -> None: ...

class ListErasuresResponse(_message.Message):
    __slots__ = ("erasures", "next_page_token")
    ERASURES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    erasures: _containers.RepeatedCompositeFieldContainer[Erasure]
    next_page_token: str
    def __init__(self, erasures: _Optional[_Iterable[_Union[Erasure, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class LiftSuppressionRequest(_message.Message):
    __slots__ = ("account_id", "subject", "erasure_id")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    ERASURE_ID_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    subject: Subject
    erasure_id: str
    def __init__(self, account_id: _Optional[str] = ..., subject: _Optional[_Union[Subject, _Mapping]] = ..., erasure_id: _Optional[str] = ...) -> None: ...

class LiftSuppressionResponse(_message.Message):
    __slots__ = ("lifted",)
    LIFTED_FIELD_NUMBER: _ClassVar[int]
    lifted: bool
    def __init__(self, lifted: _Optional[bool] = ...) -> None: ...

class GetSuppressionRequest(_message.Message):
    __slots__ = ("account_id", "subject")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    subject: Subject
    def __init__(self, account_id: _Optional[str] = ..., subject: _Optional[_Union[Subject, _Mapping]] = ...) -> None: ...

class GetSuppressionResponse(_message.Message):
    __slots__ = ("suppressed", "suppressions")
    SUPPRESSED_FIELD_NUMBER: _ClassVar[int]
    SUPPRESSIONS_FIELD_NUMBER: _ClassVar[int]
    suppressed: bool
    suppressions: _containers.RepeatedCompositeFieldContainer[Suppression]
    def __init__(self, suppressed: _Optional[bool] = ..., suppressions: _Optional[_Iterable[_Union[Suppression, _Mapping]]] = ...) -> None: ...

class Suppression(_message.Message):
    __slots__ = ("subject_kind", "erasure_id", "request_id", "create_time", "lift_time")
    SUBJECT_KIND_FIELD_NUMBER: _ClassVar[int]
    ERASURE_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    LIFT_TIME_FIELD_NUMBER: _ClassVar[int]
    subject_kind: SubjectKind
    erasure_id: str
    request_id: str
    create_time: _timestamp_pb2.Timestamp
    lift_time: _timestamp_pb2.Timestamp
    def __init__(self, subject_kind: _Optional[_Union[SubjectKind, str]] = ..., erasure_id: _Optional[str] = ..., request_id: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., lift_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class GetPersonRequest(_message.Message):
    __slots__ = ("account_id", "id")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    id: str
    def __init__(self, account_id: _Optional[str] = ..., id: _Optional[str] = ...) -> None: ...

class GetPersonResponse(_message.Message):
    __slots__ = ("consumer_events", "customer_events", "events", "rejections", "first_receive_time", "last_receive_time", "related", "has_more_related", "suppressions", "rejected")
    CONSUMER_EVENTS_FIELD_NUMBER: _ClassVar[int]
    CUSTOMER_EVENTS_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    REJECTIONS_FIELD_NUMBER: _ClassVar[int]
    FIRST_RECEIVE_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_RECEIVE_TIME_FIELD_NUMBER: _ClassVar[int]
    RELATED_FIELD_NUMBER: _ClassVar[int]
    HAS_MORE_RELATED_FIELD_NUMBER: _ClassVar[int]
    SUPPRESSIONS_FIELD_NUMBER: _ClassVar[int]
    REJECTED_FIELD_NUMBER: _ClassVar[int]
    consumer_events: int
    customer_events: int
    events: int
    rejections: int
    first_receive_time: _timestamp_pb2.Timestamp
    last_receive_time: _timestamp_pb2.Timestamp
    related: _containers.RepeatedCompositeFieldContainer[RelatedId]
    has_more_related: bool
    suppressions: _containers.RepeatedCompositeFieldContainer[Suppression]
    rejected: _containers.RepeatedCompositeFieldContainer[_event_pb2.UploadPlace]
    def __init__(self, consumer_events: _Optional[int] = ..., customer_events: _Optional[int] = ..., events: _Optional[int] = ..., rejections: _Optional[int] = ..., first_receive_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_receive_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., related: _Optional[_Iterable[_Union[RelatedId, _Mapping]]] = ..., has_more_related: _Optional[bool] = ..., suppressions: _Optional[_Iterable[_Union[Suppression, _Mapping]]] = ..., rejected: _Optional[_Iterable[_Union[_event_pb2.UploadPlace, _Mapping]]] = ...) -> None: ...
