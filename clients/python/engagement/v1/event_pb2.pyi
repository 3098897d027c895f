import datetime

from buf.validate import validate_pb2 as _validate_pb2
from engagement.v1 import attributes_pb2 as _attributes_pb2
from engagement.v1 import error_reason_pb2 as _error_reason_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AttributeSet(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ATTRIBUTE_SET_UNSPECIFIED: _ClassVar[AttributeSet]
    ATTRIBUTE_SET_CUSTOMER_INFO: _ClassVar[AttributeSet]
    ATTRIBUTE_SET_PERSONAL_INFO: _ClassVar[AttributeSet]

class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTCOME_UNSPECIFIED: _ClassVar[Outcome]
    OUTCOME_ACCEPTED: _ClassVar[Outcome]
    OUTCOME_DUPLICATE: _ClassVar[Outcome]
    OUTCOME_REJECTED: _ClassVar[Outcome]
    OUTCOME_SUPPRESSED: _ClassVar[Outcome]
ATTRIBUTE_SET_UNSPECIFIED: AttributeSet
ATTRIBUTE_SET_CUSTOMER_INFO: AttributeSet
ATTRIBUTE_SET_PERSONAL_INFO: AttributeSet
OUTCOME_UNSPECIFIED: Outcome
OUTCOME_ACCEPTED: Outcome
OUTCOME_DUPLICATE: Outcome
OUTCOME_REJECTED: Outcome
OUTCOME_SUPPRESSED: Outcome

class Event(_message.Message):
    __slots__ = ("event_id", "consumer_id", "conversation_id", "authenticated", "original_time_stamp", "source", "customer_info", "personal_info", "additional_attributes")
    class AdditionalAttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    CONSUMER_ID_FIELD_NUMBER: _ClassVar[int]
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    AUTHENTICATED_FIELD_NUMBER: _ClassVar[int]
    ORIGINAL_TIME_STAMP_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    CUSTOMER_INFO_FIELD_NUMBER: _ClassVar[int]
    PERSONAL_INFO_FIELD_NUMBER: _ClassVar[int]
    ADDITIONAL_ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    consumer_id: str
    conversation_id: str
    authenticated: bool
    original_time_stamp: int
    source: str
    customer_info: _attributes_pb2.CustomerInfo
    personal_info: _attributes_pb2.PersonalInfo
    additional_attributes: _containers.ScalarMap[str, str]
    def __init__(self, event_id: _Optional[str] = ..., consumer_id: _Optional[str] = ..., conversation_id: _Optional[str] = ..., authenticated: _Optional[bool] = ..., original_time_stamp: _Optional[int] = ..., source: _Optional[str] = ..., customer_info: _Optional[_Union[_attributes_pb2.CustomerInfo, _Mapping]] = ..., personal_info: _Optional[_Union[_attributes_pb2.PersonalInfo, _Mapping]] = ..., additional_attributes: _Optional[_Mapping[str, str]] = ...) -> None: ...

class StoredEvent(_message.Message):
    __slots__ = ("event", "cursor", "receive_time", "matched_customer_status", "matched_customer_type", "upload", "masked_fields")
    EVENT_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    RECEIVE_TIME_FIELD_NUMBER: _ClassVar[int]
    MATCHED_CUSTOMER_STATUS_FIELD_NUMBER: _ClassVar[int]
    MATCHED_CUSTOMER_TYPE_FIELD_NUMBER: _ClassVar[int]
    UPLOAD_FIELD_NUMBER: _ClassVar[int]
    MASKED_FIELDS_FIELD_NUMBER: _ClassVar[int]
    event: Event
    cursor: str
    receive_time: _timestamp_pb2.Timestamp
    matched_customer_status: str
    matched_customer_type: str
    upload: UploadPlace
    masked_fields: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, event: _Optional[_Union[Event, _Mapping]] = ..., cursor: _Optional[str] = ..., receive_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., matched_customer_status: _Optional[str] = ..., matched_customer_type: _Optional[str] = ..., upload: _Optional[_Union[UploadPlace, _Mapping]] = ..., masked_fields: _Optional[_Iterable[str]] = ...) -> None: ...

class UploadPlace(_message.Message):
    __slots__ = ("upload_id", "event_number")
    UPLOAD_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_NUMBER_FIELD_NUMBER: _ClassVar[int]
    upload_id: str
    event_number: int
    def __init__(self, upload_id: _Optional[str] = ..., event_number: _Optional[int] = ...) -> None: ...

class EventFilter(_message.Message):
    __slots__ = ("attribute_sets", "consumer_ids", "conversation_ids", "customer_ids", "customer_statuses", "customer_types", "authenticated", "start_time", "end_time", "text", "subject_ids", "receive_start_time", "receive_end_time")
    ATTRIBUTE_SETS_FIELD_NUMBER: _ClassVar[int]
    CONSUMER_IDS_FIELD_NUMBER: _ClassVar[int]
    CONVERSATION_IDS_FIELD_NUMBER: _ClassVar[int]
    CUSTOMER_IDS_FIELD_NUMBER: _ClassVar[int]
    CUSTOMER_STATUSES_FIELD_NUMBER: _ClassVar[int]
    CUSTOMER_TYPES_FIELD_NUMBER: _ClassVar[int]
    AUTHENTICATED_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_IDS_FIELD_NUMBER: _ClassVar[int]
    RECEIVE_START_TIME_FIELD_NUMBER: _ClassVar[int]
    RECEIVE_END_TIME_FIELD_NUMBER: _ClassVar[int]
    attribute_sets: _containers.RepeatedScalarFieldContainer[AttributeSet]
    consumer_ids: _containers.RepeatedScalarFieldContainer[str]
    conversation_ids: _containers.RepeatedScalarFieldContainer[str]
    customer_ids: _containers.RepeatedScalarFieldContainer[str]
    customer_statuses: _containers.RepeatedScalarFieldContainer[str]
    customer_types: _containers.RepeatedScalarFieldContainer[str]
    authenticated: bool
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    text: str
    subject_ids: _containers.RepeatedScalarFieldContainer[str]
    receive_start_time: _timestamp_pb2.Timestamp
    receive_end_time: _timestamp_pb2.Timestamp
    def __init__(self, attribute_sets: _Optional[_Iterable[_Union[AttributeSet, str]]] = ..., consumer_ids: _Optional[_Iterable[str]] = ..., conversation_ids: _Optional[_Iterable[str]] = ..., customer_ids: _Optional[_Iterable[str]] = ..., customer_statuses: _Optional[_Iterable[str]] = ..., customer_types: _Optional[_Iterable[str]] = ..., authenticated: _Optional[bool] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., text: _Optional[str] = ..., subject_ids: _Optional[_Iterable[str]] = ..., receive_start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., receive_end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class EventResult(_message.Message):
    __slots__ = ("index", "event_id", "outcome", "cursor", "error")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    index: int
    event_id: str
    outcome: Outcome
    cursor: str
    error: EventError
    def __init__(self, index: _Optional[int] = ..., event_id: _Optional[str] = ..., outcome: _Optional[_Union[Outcome, str]] = ..., cursor: _Optional[str] = ..., error: _Optional[_Union[EventError, _Mapping]] = ...) -> None: ...

class EventError(_message.Message):
    __slots__ = ("reason", "message", "violations", "violations_total", "metadata")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    VIOLATIONS_FIELD_NUMBER: _ClassVar[int]
    VIOLATIONS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    reason: _error_reason_pb2.ErrorReason
    message: str
    violations: _containers.RepeatedCompositeFieldContainer[FieldViolation]
    violations_total: int
    metadata: _containers.ScalarMap[str, str]
    def __init__(self, reason: _Optional[_Union[_error_reason_pb2.ErrorReason, str]] = ..., message: _Optional[str] = ..., violations: _Optional[_Iterable[_Union[FieldViolation, _Mapping]]] = ..., violations_total: _Optional[int] = ..., metadata: _Optional[_Mapping[str, str]] = ...) -> None: ...

class FieldViolation(_message.Message):
    __slots__ = ("field", "rule", "description")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    field: str
    rule: str
    description: str
    def __init__(self, field: _Optional[str] = ..., rule: _Optional[str] = ..., description: _Optional[str] = ...) -> None: ...

class Tally(_message.Message):
    __slots__ = ("accepted", "duplicate", "rejected", "suppressed")
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    DUPLICATE_FIELD_NUMBER: _ClassVar[int]
    REJECTED_FIELD_NUMBER: _ClassVar[int]
    SUPPRESSED_FIELD_NUMBER: _ClassVar[int]
    accepted: int
    duplicate: int
    rejected: int
    suppressed: int
    def __init__(self, accepted: _Optional[int] = ..., duplicate: _Optional[int] = ..., rejected: _Optional[int] = ..., suppressed: _Optional[int] = ...) -> None: ...
