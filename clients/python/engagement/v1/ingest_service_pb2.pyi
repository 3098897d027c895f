import datetime

from buf.validate import validate_pb2 as _validate_pb2
from engagement.v1 import access_pb2 as _access_pb2
from engagement.v1 import error_reason_pb2 as _error_reason_pb2
from engagement.v1 import event_pb2 as _event_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RecordEventRequest(_message.Message):
    __slots__ = ("account_id", "event", "validate_only")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    event: _event_pb2.Event
    validate_only: bool
    def __init__(self, account_id: _Optional[str] = ..., event: _Optional[_Union[_event_pb2.Event, _Mapping]] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class RecordEventResponse(_message.Message):
    __slots__ = ("result",)
    RESULT_FIELD_NUMBER: _ClassVar[int]
    result: _event_pb2.EventResult
    def __init__(self, result: _Optional[_Union[_event_pb2.EventResult, _Mapping]] = ...) -> None: ...

class RecordEventsRequest(_message.Message):
    __slots__ = ("account_id", "events", "allow_partial", "validate_only")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    ALLOW_PARTIAL_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    events: _containers.RepeatedCompositeFieldContainer[_event_pb2.Event]
    allow_partial: bool
    validate_only: bool
    def __init__(self, account_id: _Optional[str] = ..., events: _Optional[_Iterable[_Union[_event_pb2.Event, _Mapping]]] = ..., allow_partial: _Optional[bool] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class RecordEventsResponse(_message.Message):
    __slots__ = ("results", "tally")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    TALLY_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[_event_pb2.EventResult]
    tally: _event_pb2.Tally
    def __init__(self, results: _Optional[_Iterable[_Union[_event_pb2.EventResult, _Mapping]]] = ..., tally: _Optional[_Union[_event_pb2.Tally, _Mapping]] = ...) -> None: ...

class SourceDigest(_message.Message):
    __slots__ = ("events", "sha256")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    events: int
    sha256: str
    def __init__(self, events: _Optional[int] = ..., sha256: _Optional[str] = ...) -> None: ...

class UploadEventsRequest(_message.Message):
    __slots__ = ("open", "chunk", "finish")
    class Open(_message.Message):
        __slots__ = ("account_id", "upload_id", "keep_going", "source_name")
        ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
        UPLOAD_ID_FIELD_NUMBER: _ClassVar[int]
        KEEP_GOING_FIELD_NUMBER: _ClassVar[int]
        SOURCE_NAME_FIELD_NUMBER: _ClassVar[int]
        account_id: str
        upload_id: str
        keep_going: bool
        source_name: str
        def __init__(self, account_id: _Optional[str] = ..., upload_id: _Optional[str] = ..., keep_going: _Optional[bool] = ..., source_name: _Optional[str] = ...) -> None: ...
    class Chunk(_message.Message):
        __slots__ = ("sequence", "events", "source")
        SEQUENCE_FIELD_NUMBER: _ClassVar[int]
        EVENTS_FIELD_NUMBER: _ClassVar[int]
        SOURCE_FIELD_NUMBER: _ClassVar[int]
        sequence: int
        events: _containers.RepeatedCompositeFieldContainer[_event_pb2.Event]
        source: SourceDigest
        def __init__(self, sequence: _Optional[int] = ..., events: _Optional[_Iterable[_Union[_event_pb2.Event, _Mapping]]] = ..., source: _Optional[_Union[SourceDigest, _Mapping]] = ...) -> None: ...
    class Finish(_message.Message):
        __slots__ = ("last_sequence", "source", "unreadable")
        LAST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
        SOURCE_FIELD_NUMBER: _ClassVar[int]
        UNREADABLE_FIELD_NUMBER: _ClassVar[int]
        last_sequence: int
        source: SourceDigest
        unreadable: int
        def __init__(self, last_sequence: _Optional[int] = ..., source: _Optional[_Union[SourceDigest, _Mapping]] = ..., unreadable: _Optional[int] = ...) -> None: ...
    OPEN_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    FINISH_FIELD_NUMBER: _ClassVar[int]
    open: UploadEventsRequest.Open
    chunk: UploadEventsRequest.Chunk
    finish: UploadEventsRequest.Finish
    def __init__(self, open: _Optional[_Union[UploadEventsRequest.Open, _Mapping]] = ..., chunk: _Optional[_Union[UploadEventsRequest.Chunk, _Mapping]] = ..., finish: _Optional[_Union[UploadEventsRequest.Finish, _Mapping]] = ...) -> None: ...

class UploadEventsResponse(_message.Message):
    __slots__ = ("opened", "ack", "closing", "finished")
    class Opened(_message.Message):
        __slots__ = ("committed_through", "max_chunk_events", "max_chunk_bytes", "max_unacked_chunks", "heartbeat_interval", "source_salt", "source", "earlier_sources")
        COMMITTED_THROUGH_FIELD_NUMBER: _ClassVar[int]
        MAX_CHUNK_EVENTS_FIELD_NUMBER: _ClassVar[int]
        MAX_CHUNK_BYTES_FIELD_NUMBER: _ClassVar[int]
        MAX_UNACKED_CHUNKS_FIELD_NUMBER: _ClassVar[int]
        HEARTBEAT_INTERVAL_FIELD_NUMBER: _ClassVar[int]
        SOURCE_SALT_FIELD_NUMBER: _ClassVar[int]
        SOURCE_FIELD_NUMBER: _ClassVar[int]
        EARLIER_SOURCES_FIELD_NUMBER: _ClassVar[int]
        committed_through: int
        max_chunk_events: int
        max_chunk_bytes: int
        max_unacked_chunks: int
        heartbeat_interval: _duration_pb2.Duration
        source_salt: str
        source: SourceDigest
        earlier_sources: _containers.RepeatedCompositeFieldContainer[SourceDigest]
        def __init__(self, committed_through: _Optional[int] = ..., max_chunk_events: _Optional[int] = ..., max_chunk_bytes: _Optional[int] = ..., max_unacked_chunks: _Optional[int] = ..., heartbeat_interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., source_salt: _Optional[str] = ..., source: _Optional[_Union[SourceDigest, _Mapping]] = ..., earlier_sources: _Optional[_Iterable[_Union[SourceDigest, _Mapping]]] = ...) -> None: ...
    class Ack(_message.Message):
        __slots__ = ("committed_through", "tally", "results")
        COMMITTED_THROUGH_FIELD_NUMBER: _ClassVar[int]
        TALLY_FIELD_NUMBER: _ClassVar[int]
        RESULTS_FIELD_NUMBER: _ClassVar[int]
        committed_through: int
        tally: _event_pb2.Tally
        results: _containers.RepeatedCompositeFieldContainer[UploadResult]
        def __init__(self, committed_through: _Optional[int] = ..., tally: _Optional[_Union[_event_pb2.Tally, _Mapping]] = ..., results: _Optional[_Iterable[_Union[UploadResult, _Mapping]]] = ...) -> None: ...
    class Closing(_message.Message):
        __slots__ = ("reason", "reconnect_delay")
        class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
            __slots__ = ()
            REASON_UNSPECIFIED: _ClassVar[UploadEventsResponse.Closing.Reason]
            REASON_DRAINING: _ClassVar[UploadEventsResponse.Closing.Reason]
            REASON_MAX_AGE: _ClassVar[UploadEventsResponse.Closing.Reason]
            REASON_UNAUTHENTICATED: _ClassVar[UploadEventsResponse.Closing.Reason]
            REASON_OVERLOADED: _ClassVar[UploadEventsResponse.Closing.Reason]
        REASON_UNSPECIFIED: UploadEventsResponse.Closing.Reason
        REASON_DRAINING: UploadEventsResponse.Closing.Reason
        REASON_MAX_AGE: UploadEventsResponse.Closing.Reason
        REASON_UNAUTHENTICATED: UploadEventsResponse.Closing.Reason
        REASON_OVERLOADED: UploadEventsResponse.Closing.Reason
        REASON_FIELD_NUMBER: _ClassVar[int]
        RECONNECT_DELAY_FIELD_NUMBER: _ClassVar[int]
        reason: UploadEventsResponse.Closing.Reason
        reconnect_delay: _duration_pb2.Duration
        def __init__(self, reason: _Optional[_Union[UploadEventsResponse.Closing.Reason, str]] = ..., reconnect_delay: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...
    class Finished(_message.Message):
        __slots__ = ("upload",)
        UPLOAD_FIELD_NUMBER: _ClassVar[int]
        upload: Upload
        def __init__(self, upload: _Optional[_Union[Upload, _Mapping]] = ...) -> None: ...
    OPENED_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    CLOSING_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    opened: UploadEventsResponse.Opened
    ack: UploadEventsResponse.Ack
    closing: UploadEventsResponse.Closing
    finished: UploadEventsResponse.Finished
    def __init__(self, opened: _Optional[_Union[UploadEventsResponse.Opened, _Mapping]] = ..., ack: _Optional[_Union[UploadEventsResponse.Ack, _Mapping]] = ..., closing: _Optional[_Union[UploadEventsResponse.Closing, _Mapping]] = ..., finished: _Optional[_Union[UploadEventsResponse.Finished, _Mapping]] = ...) -> None: ...

class UploadResult(_message.Message):
    __slots__ = ("chunk_sequence", "result", "event_number", "reject_time")
    CHUNK_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    EVENT_NUMBER_FIELD_NUMBER: _ClassVar[int]
    REJECT_TIME_FIELD_NUMBER: _ClassVar[int]
    chunk_sequence: int
    result: _event_pb2.EventResult
    event_number: int
    reject_time: _timestamp_pb2.Timestamp
    def __init__(self, chunk_sequence: _Optional[int] = ..., result: _Optional[_Union[_event_pb2.EventResult, _Mapping]] = ..., event_number: _Optional[int] = ..., reject_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Upload(_message.Message):
    __slots__ = ("upload_id", "state", "committed_through", "tally", "create_time", "update_time", "source_name", "unreadable")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[Upload.State]
        STATE_OPEN: _ClassVar[Upload.State]
        STATE_FINISHED: _ClassVar[Upload.State]
    STATE_UNSPECIFIED: Upload.State
    STATE_OPEN: Upload.State
    STATE_FINISHED: Upload.State
    UPLOAD_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_THROUGH_FIELD_NUMBER: _ClassVar[int]
    TALLY_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    SOURCE_NAME_FIELD_NUMBER: _ClassVar[int]
    UNREADABLE_FIELD_NUMBER: _ClassVar[int]
    upload_id: str
    state: Upload.State
    committed_through: int
    tally: _event_pb2.Tally
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    source_name: str
    unreadable: int
    def __init__(self, upload_id: _Optional[str] = ..., state: _Optional[_Union[Upload.State, str]] = ..., committed_through: _Optional[int] = ..., tally: _Optional[_Union[_event_pb2.Tally, _Mapping]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., source_name: _Optional[str] = ..., unreadable: _Optional[int] = ...) -> None: ...

class ListUploadsRequest(_message.Message):
    __slots__ = ("account_id", "start_time", "end_time", "source_name", "outcomes", "page_size", "page_token", "subject_id")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    SOURCE_NAME_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_ID_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    source_name: str
    outcomes: _containers.RepeatedScalarFieldContainer[_event_pb2.Outcome]
    page_size: int
    page_token: str
    subject_id: str
    def __init__(self, account_id: _Optional[str] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., source_name: _Optional[str] = ..., outcomes: _Optional[_Iterable[_Union[_event_pb2.Outcome, str]]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., subject_id: _Optional[str] = ...) -> None: ...

class ListUploadsResponse(_message.Message):
    __slots__ = ("uploads", "next_page_token")
    UPLOADS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    uploads: _containers.RepeatedCompositeFieldContainer[Upload]
    next_page_token: str
    def __init__(self, uploads: _Optional[_Iterable[_Union[Upload, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetUploadRequest(_message.Message):
    __slots__ = ("account_id", "upload_id", "page_size", "page_token", "subject_id")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    UPLOAD_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_ID_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    upload_id: str
    page_size: int
    page_token: str
    subject_id: str
    def __init__(self, account_id: _Optional[str] = ..., upload_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., subject_id: _Optional[str] = ...) -> None: ...

class GetUploadResponse(_message.Message):
    __slots__ = ("upload", "rejections", "next_page_token")
    UPLOAD_FIELD_NUMBER: _ClassVar[int]
    REJECTIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    upload: Upload
    rejections: _containers.RepeatedCompositeFieldContainer[UploadResult]
    next_page_token: str
    def __init__(self, upload: _Optional[_Union[Upload, _Mapping]] = ..., rejections: _Optional[_Iterable[_Union[UploadResult, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ListRejectionsRequest(_message.Message):
    __slots__ = ("account_id", "start_time", "end_time", "source")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    source: str
    def __init__(self, account_id: _Optional[str] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., source: _Optional[str] = ...) -> None: ...

class ListRejectionsResponse(_message.Message):
    __slots__ = ("counts", "recent", "rejected_events", "record_start_time", "incomplete")
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    RECENT_FIELD_NUMBER: _ClassVar[int]
    REJECTED_EVENTS_FIELD_NUMBER: _ClassVar[int]
    RECORD_START_TIME_FIELD_NUMBER: _ClassVar[int]
    INCOMPLETE_FIELD_NUMBER: _ClassVar[int]
    counts: _containers.RepeatedCompositeFieldContainer[RejectionCount]
    recent: _containers.RepeatedCompositeFieldContainer[RecentRejection]
    rejected_events: int
    record_start_time: _timestamp_pb2.Timestamp
    incomplete: bool
    def __init__(self, counts: _Optional[_Iterable[_Union[RejectionCount, _Mapping]]] = ..., recent: _Optional[_Iterable[_Union[RecentRejection, _Mapping]]] = ..., rejected_events: _Optional[int] = ..., record_start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., incomplete: _Optional[bool] = ...) -> None: ...

class RejectionCount(_message.Message):
    __slots__ = ("source", "other", "field", "rule", "reason", "events", "hours")
    class Hour(_message.Message):
        __slots__ = ("start_time", "events")
        START_TIME_FIELD_NUMBER: _ClassVar[int]
        EVENTS_FIELD_NUMBER: _ClassVar[int]
        start_time: _timestamp_pb2.Timestamp
        events: int
        def __init__(self, start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., events: _Optional[int] = ...) -> None: ...
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    OTHER_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    HOURS_FIELD_NUMBER: _ClassVar[int]
    source: str
    other: bool
    field: str
    rule: str
    reason: _error_reason_pb2.ErrorReason
    events: int
    hours: _containers.RepeatedCompositeFieldContainer[RejectionCount.Hour]
    def __init__(self, source: _Optional[str] = ..., other: _Optional[bool] = ..., field: _Optional[str] = ..., rule: _Optional[str] = ..., reason: _Optional[_Union[_error_reason_pb2.ErrorReason, str]] = ..., events: _Optional[int] = ..., hours: _Optional[_Iterable[_Union[RejectionCount.Hour, _Mapping]]] = ...) -> None: ...

class RecentRejection(_message.Message):
    __slots__ = ("reject_time", "method", "source", "field", "rule", "reason", "description", "value_shape", "violations_total")
    REJECT_TIME_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    VALUE_SHAPE_FIELD_NUMBER: _ClassVar[int]
    VIOLATIONS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    reject_time: _timestamp_pb2.Timestamp
    method: str
    source: str
    field: str
    rule: str
    reason: _error_reason_pb2.ErrorReason
    description: str
    value_shape: str
    violations_total: int
    def __init__(self, reject_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., method: _Optional[str] = ..., source: _Optional[str] = ..., field: _Optional[str] = ..., rule: _Optional[str] = ..., reason: _Optional[_Union[_error_reason_pb2.ErrorReason, str]] = ..., description: _Optional[str] = ..., value_shape: _Optional[str] = ..., violations_total: _Optional[int] = ...) -> None: ...
