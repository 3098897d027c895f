import datetime

from buf.validate import validate_pb2 as _validate_pb2
from engagement.v1 import access_pb2 as _access_pb2
from engagement.v1 import attributes_pb2 as _attributes_pb2
from engagement.v1 import event_pb2 as _event_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Folding(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FOLDING_UNSPECIFIED: _ClassVar[Folding]
    FOLDING_MERGE: _ClassVar[Folding]
    FOLDING_REPLACE: _ClassVar[Folding]
FOLDING_UNSPECIFIED: Folding
FOLDING_MERGE: Folding
FOLDING_REPLACE: Folding

class GetEventRequest(_message.Message):
    __slots__ = ("account_id", "event_id", "cursor", "read_mask")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    READ_MASK_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    event_id: str
    cursor: str
    read_mask: _field_mask_pb2.FieldMask
    def __init__(self, account_id: _Optional[str] = ..., event_id: _Optional[str] = ..., cursor: _Optional[str] = ..., read_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ...) -> None: ...

class GetEventResponse(_message.Message):
    __slots__ = ("event",)
    EVENT_FIELD_NUMBER: _ClassVar[int]
    event: _event_pb2.StoredEvent
    def __init__(self, event: _Optional[_Union[_event_pb2.StoredEvent, _Mapping]] = ...) -> None: ...

class ListEventsRequest(_message.Message):
    __slots__ = ("account_id", "filter", "page_size", "page_token", "newest_first", "read_mask")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    NEWEST_FIRST_FIELD_NUMBER: _ClassVar[int]
    READ_MASK_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    filter: _event_pb2.EventFilter
    page_size: int
    page_token: str
    newest_first: bool
    read_mask: _field_mask_pb2.FieldMask
    def __init__(self, account_id: _Optional[str] = ..., filter: _Optional[_Union[_event_pb2.EventFilter, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., newest_first: _Optional[bool] = ..., read_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ...) -> None: ...

class ListEventsResponse(_message.Message):
    __slots__ = ("events", "next_page_token")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[_event_pb2.StoredEvent]
    next_page_token: str
    def __init__(self, events: _Optional[_Iterable[_Union[_event_pb2.StoredEvent, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class SubscribeEventsRequest(_message.Message):
    __slots__ = ("account_id", "filter", "after_cursor", "earliest", "latest", "start_time", "stop_at_tail", "max_batch_events", "heartbeat_interval")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    AFTER_CURSOR_FIELD_NUMBER: _ClassVar[int]
    EARLIEST_FIELD_NUMBER: _ClassVar[int]
    LATEST_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    STOP_AT_TAIL_FIELD_NUMBER: _ClassVar[int]
    MAX_BATCH_EVENTS_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    filter: _event_pb2.EventFilter
    after_cursor: str
    earliest: bool
    latest: bool
    start_time: _timestamp_pb2.Timestamp
    stop_at_tail: bool
    max_batch_events: int
    heartbeat_interval: _duration_pb2.Duration
    def __init__(self, account_id: _Optional[str] = ..., filter: _Optional[_Union[_event_pb2.EventFilter, _Mapping]] = ..., after_cursor: _Optional[str] = ..., earliest: _Optional[bool] = ..., latest: _Optional[bool] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., stop_at_tail: _Optional[bool] = ..., max_batch_events: _Optional[int] = ..., heartbeat_interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class SubscribeEventsResponse(_message.Message):
    __slots__ = ("cursor", "started", "batch", "caught_up", "fell_behind", "progress", "erasure_notice", "closing")
    class Started(_message.Message):
        __slots__ = ("heartbeat_interval", "max_batch_events", "lag_events")
        HEARTBEAT_INTERVAL_FIELD_NUMBER: _ClassVar[int]
        MAX_BATCH_EVENTS_FIELD_NUMBER: _ClassVar[int]
        LAG_EVENTS_FIELD_NUMBER: _ClassVar[int]
        heartbeat_interval: _duration_pb2.Duration
        max_batch_events: int
        lag_events: int
        def __init__(self, heartbeat_interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_batch_events: _Optional[int] = ..., lag_events: _Optional[int] = ...) -> None: ...
    class Batch(_message.Message):
        __slots__ = ("events",)
        EVENTS_FIELD_NUMBER: _ClassVar[int]
        events: _containers.RepeatedCompositeFieldContainer[_event_pb2.StoredEvent]
        def __init__(self, events: _Optional[_Iterable[_Union[_event_pb2.StoredEvent, _Mapping]]] = ...) -> None: ...
    class CaughtUp(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class FellBehind(_message.Message):
        __slots__ = ("lag_events",)
        LAG_EVENTS_FIELD_NUMBER: _ClassVar[int]
        lag_events: int
        def __init__(self, lag_events: _Optional[int] = ...) -> None: ...
    class Progress(_message.Message):
        __slots__ = ("lag_events",)
        LAG_EVENTS_FIELD_NUMBER: _ClassVar[int]
        lag_events: int
        def __init__(self, lag_events: _Optional[int] = ...) -> None: ...
    class ErasureNotice(_message.Message):
        __slots__ = ("erasure_id", "erased_cursors")
        ERASURE_ID_FIELD_NUMBER: _ClassVar[int]
        ERASED_CURSORS_FIELD_NUMBER: _ClassVar[int]
        erasure_id: str
        erased_cursors: _containers.RepeatedScalarFieldContainer[str]
        def __init__(self, erasure_id: _Optional[str] = ..., erased_cursors: _Optional[_Iterable[str]] = ...) -> None: ...
    class Closing(_message.Message):
        __slots__ = ("reason", "reconnect_delay")
        class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
            __slots__ = ()
            REASON_UNSPECIFIED: _ClassVar[SubscribeEventsResponse.Closing.Reason]
            REASON_DRAINING: _ClassVar[SubscribeEventsResponse.Closing.Reason]
            REASON_MAX_AGE: _ClassVar[SubscribeEventsResponse.Closing.Reason]
            REASON_NOT_CURRENT: _ClassVar[SubscribeEventsResponse.Closing.Reason]
            REASON_UNAUTHENTICATED: _ClassVar[SubscribeEventsResponse.Closing.Reason]
            REASON_OVERLOADED: _ClassVar[SubscribeEventsResponse.Closing.Reason]
        REASON_UNSPECIFIED: SubscribeEventsResponse.Closing.Reason
        REASON_DRAINING: SubscribeEventsResponse.Closing.Reason
        REASON_MAX_AGE: SubscribeEventsResponse.Closing.Reason
        REASON_NOT_CURRENT: SubscribeEventsResponse.Closing.Reason
        REASON_UNAUTHENTICATED: SubscribeEventsResponse.Closing.Reason
        REASON_OVERLOADED: SubscribeEventsResponse.Closing.Reason
        REASON_FIELD_NUMBER: _ClassVar[int]
        RECONNECT_DELAY_FIELD_NUMBER: _ClassVar[int]
        reason: SubscribeEventsResponse.Closing.Reason
        reconnect_delay: _duration_pb2.Duration
        def __init__(self, reason: _Optional[_Union[SubscribeEventsResponse.Closing.Reason, str]] = ..., reconnect_delay: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    CAUGHT_UP_FIELD_NUMBER: _ClassVar[int]
    FELL_BEHIND_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    ERASURE_NOTICE_FIELD_NUMBER: _ClassVar[int]
    CLOSING_FIELD_NUMBER: _ClassVar[int]
    cursor: str
    started: SubscribeEventsResponse.Started
    batch: SubscribeEventsResponse.Batch
    caught_up: SubscribeEventsResponse.CaughtUp
    fell_behind: SubscribeEventsResponse.FellBehind
    progress: SubscribeEventsResponse.Progress
    erasure_notice: SubscribeEventsResponse.ErasureNotice
    closing: SubscribeEventsResponse.Closing
    def __init__(self, cursor: _Optional[str] = ..., started: _Optional[_Union[SubscribeEventsResponse.Started, _Mapping]] = ..., batch: _Optional[_Union[SubscribeEventsResponse.Batch, _Mapping]] = ..., caught_up: _Optional[_Union[SubscribeEventsResponse.CaughtUp, _Mapping]] = ..., fell_behind: _Optional[_Union[SubscribeEventsResponse.FellBehind, _Mapping]] = ..., progress: _Optional[_Union[SubscribeEventsResponse.Progress, _Mapping]] = ..., erasure_notice: _Optional[_Union[SubscribeEventsResponse.ErasureNotice, _Mapping]] = ..., closing: _Optional[_Union[SubscribeEventsResponse.Closing, _Mapping]] = ...) -> None: ...

class GetProfileRequest(_message.Message):
    __slots__ = ("account_id", "consumer_id", "customer_id", "folding", "before_time", "before_receive_time")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    CONSUMER_ID_FIELD_NUMBER: _ClassVar[int]
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    FOLDING_FIELD_NUMBER: _ClassVar[int]
    BEFORE_TIME_FIELD_NUMBER: _ClassVar[int]
    BEFORE_RECEIVE_TIME_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    consumer_id: str
    customer_id: str
    folding: Folding
    before_time: _timestamp_pb2.Timestamp
    before_receive_time: _timestamp_pb2.Timestamp
    def __init__(self, account_id: _Optional[str] = ..., consumer_id: _Optional[str] = ..., customer_id: _Optional[str] = ..., folding: _Optional[_Union[Folding, str]] = ..., before_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., before_receive_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class GetProfileResponse(_message.Message):
    __slots__ = ("profile",)
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    profile: Profile
    def __init__(self, profile: _Optional[_Union[Profile, _Mapping]] = ...) -> None: ...

class Profile(_message.Message):
    __slots__ = ("consumer_id", "customer_info", "personal_info", "sources", "omitted_fields", "matched_customer_status", "matched_customer_type", "beaten", "masked_fields")
    class SourcesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: ValueSource
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[ValueSource, _Mapping]] = ...) -> None: ...
    class BeatenEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: BeatenValue
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[BeatenValue, _Mapping]] = ...) -> None: ...
    CONSUMER_ID_FIELD_NUMBER: _ClassVar[int]
    CUSTOMER_INFO_FIELD_NUMBER: _ClassVar[int]
    PERSONAL_INFO_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    OMITTED_FIELDS_FIELD_NUMBER: _ClassVar[int]
    MATCHED_CUSTOMER_STATUS_FIELD_NUMBER: _ClassVar[int]
    MATCHED_CUSTOMER_TYPE_FIELD_NUMBER: _ClassVar[int]
    BEATEN_FIELD_NUMBER: _ClassVar[int]
    MASKED_FIELDS_FIELD_NUMBER: _ClassVar[int]
    consumer_id: str
    customer_info: _attributes_pb2.CustomerInfo
    personal_info: _attributes_pb2.PersonalInfo
    sources: _containers.MessageMap[str, ValueSource]
    omitted_fields: _containers.RepeatedScalarFieldContainer[str]
    matched_customer_status: str
    matched_customer_type: str
    beaten: _containers.MessageMap[str, BeatenValue]
    masked_fields: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, consumer_id: _Optional[str] = ..., customer_info: _Optional[_Union[_attributes_pb2.CustomerInfo, _Mapping]] = ..., personal_info: _Optional[_Union[_attributes_pb2.PersonalInfo, _Mapping]] = ..., sources: _Optional[_Mapping[str, ValueSource]] = ..., omitted_fields: _Optional[_Iterable[str]] = ..., matched_customer_status: _Optional[str] = ..., matched_customer_type: _Optional[str] = ..., beaten: _Optional[_Mapping[str, BeatenValue]] = ..., masked_fields: _Optional[_Iterable[str]] = ...) -> None: ...

class BeatenValue(_message.Message):
    __slots__ = ("source", "rule")
    class Rule(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        RULE_UNSPECIFIED: _ClassVar[BeatenValue.Rule]
        RULE_AUTHENTICATED: _ClassVar[BeatenValue.Rule]
        RULE_LATER: _ClassVar[BeatenValue.Rule]
        RULE_FUTURE: _ClassVar[BeatenValue.Rule]
    RULE_UNSPECIFIED: BeatenValue.Rule
    RULE_AUTHENTICATED: BeatenValue.Rule
    RULE_LATER: BeatenValue.Rule
    RULE_FUTURE: BeatenValue.Rule
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    source: ValueSource
    rule: BeatenValue.Rule
    def __init__(self, source: _Optional[_Union[ValueSource, _Mapping]] = ..., rule: _Optional[_Union[BeatenValue.Rule, str]] = ...) -> None: ...

class ValueSource(_message.Message):
    __slots__ = ("cursor", "event_id", "server_time_stamp", "authenticated", "source", "upload")
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    SERVER_TIME_STAMP_FIELD_NUMBER: _ClassVar[int]
    AUTHENTICATED_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    UPLOAD_FIELD_NUMBER: _ClassVar[int]
    cursor: str
    event_id: str
    server_time_stamp: int
    authenticated: bool
    source: str
    upload: _event_pb2.UploadPlace
    def __init__(self, cursor: _Optional[str] = ..., event_id: _Optional[str] = ..., server_time_stamp: _Optional[int] = ..., authenticated: _Optional[bool] = ..., source: _Optional[str] = ..., upload: _Optional[_Union[_event_pb2.UploadPlace, _Mapping]] = ...) -> None: ...
