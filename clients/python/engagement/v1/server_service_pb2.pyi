import datetime

from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ListAccountsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListAccountsResponse(_message.Message):
    __slots__ = ("accounts", "next_page_token")
    ACCOUNTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    accounts: _containers.RepeatedCompositeFieldContainer[Account]
    next_page_token: str
    def __init__(self, accounts: _Optional[_Iterable[_Union[Account, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class Account(_message.Message):
    __slots__ = ("account_id", "events", "last_receive_time")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    LAST_RECEIVE_TIME_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    events: int
    last_receive_time: _timestamp_pb2.Timestamp
    def __init__(self, account_id: _Optional[str] = ..., events: _Optional[int] = ..., last_receive_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class GetServerInfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetServerInfoResponse(_message.Message):
    __slots__ = ("version", "contract", "limits", "log_epoch", "partition_count", "partitions")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CONTRACT_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    LOG_EPOCH_FIELD_NUMBER: _ClassVar[int]
    PARTITION_COUNT_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    version: str
    contract: str
    limits: Limits
    log_epoch: str
    partition_count: int
    partitions: _containers.RepeatedCompositeFieldContainer[Partition]
    def __init__(self, version: _Optional[str] = ..., contract: _Optional[str] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., log_epoch: _Optional[str] = ..., partition_count: _Optional[int] = ..., partitions: _Optional[_Iterable[_Union[Partition, _Mapping]]] = ...) -> None: ...

class Partition(_message.Message):
    __slots__ = ("number", "log_epoch", "view_time", "current", "retention", "remove_before_time", "expiry_hold", "damage", "expired_events")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    LOG_EPOCH_FIELD_NUMBER: _ClassVar[int]
    VIEW_TIME_FIELD_NUMBER: _ClassVar[int]
    CURRENT_FIELD_NUMBER: _ClassVar[int]
    RETENTION_FIELD_NUMBER: _ClassVar[int]
    REMOVE_BEFORE_TIME_FIELD_NUMBER: _ClassVar[int]
    EXPIRY_HOLD_FIELD_NUMBER: _ClassVar[int]
    DAMAGE_FIELD_NUMBER: _ClassVar[int]
    EXPIRED_EVENTS_FIELD_NUMBER: _ClassVar[int]
    number: int
    log_epoch: str
    view_time: _timestamp_pb2.Timestamp
    current: bool
    retention: _duration_pb2.Duration
    remove_before_time: _timestamp_pb2.Timestamp
    expiry_hold: ExpiryHold
    damage: str
    expired_events: int
    def __init__(self, number: _Optional[int] = ..., log_epoch: _Optional[str] = ..., view_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., current: _Optional[bool] = ..., retention: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., remove_before_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expiry_hold: _Optional[_Union[ExpiryHold, _Mapping]] = ..., damage: _Optional[str] = ..., expired_events: _Optional[int] = ...) -> None: ...

class ExpiryHold(_message.Message):
    __slots__ = ("reason", "hold_time", "commit_time", "clock_time", "due_events", "stored_events")
    class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        REASON_UNSPECIFIED: _ClassVar[ExpiryHold.Reason]
        REASON_CLOCK_AHEAD: _ClassVar[ExpiryHold.Reason]
        REASON_CLOCK_BEHIND: _ClassVar[ExpiryHold.Reason]
        REASON_CLOCKS_DISAGREE: _ClassVar[ExpiryHold.Reason]
        REASON_LARGE_REMOVAL: _ClassVar[ExpiryHold.Reason]
    REASON_UNSPECIFIED: ExpiryHold.Reason
    REASON_CLOCK_AHEAD: ExpiryHold.Reason
    REASON_CLOCK_BEHIND: ExpiryHold.Reason
    REASON_CLOCKS_DISAGREE: ExpiryHold.Reason
    REASON_LARGE_REMOVAL: ExpiryHold.Reason
    REASON_FIELD_NUMBER: _ClassVar[int]
    HOLD_TIME_FIELD_NUMBER: _ClassVar[int]
    COMMIT_TIME_FIELD_NUMBER: _ClassVar[int]
    CLOCK_TIME_FIELD_NUMBER: _ClassVar[int]
    DUE_EVENTS_FIELD_NUMBER: _ClassVar[int]
    STORED_EVENTS_FIELD_NUMBER: _ClassVar[int]
    reason: ExpiryHold.Reason
    hold_time: _timestamp_pb2.Timestamp
    commit_time: _timestamp_pb2.Timestamp
    clock_time: _timestamp_pb2.Timestamp
    due_events: int
    stored_events: int
    def __init__(self, reason: _Optional[_Union[ExpiryHold.Reason, str]] = ..., hold_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., commit_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., clock_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., due_events: _Optional[int] = ..., stored_events: _Optional[int] = ...) -> None: ...

class SetRetentionRequest(_message.Message):
    __slots__ = ("retention", "validate_only")
    RETENTION_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    retention: _duration_pb2.Duration
    validate_only: bool
    def __init__(self, retention: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class SetRetentionResponse(_message.Message):
    __slots__ = ("previous_retention", "remove_before_time", "due_events", "stored_events")
    PREVIOUS_RETENTION_FIELD_NUMBER: _ClassVar[int]
    REMOVE_BEFORE_TIME_FIELD_NUMBER: _ClassVar[int]
    DUE_EVENTS_FIELD_NUMBER: _ClassVar[int]
    STORED_EVENTS_FIELD_NUMBER: _ClassVar[int]
    previous_retention: _duration_pb2.Duration
    remove_before_time: _timestamp_pb2.Timestamp
    due_events: int
    stored_events: int
    def __init__(self, previous_retention: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., remove_before_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., due_events: _Optional[int] = ..., stored_events: _Optional[int] = ...) -> None: ...

class ReleaseExpiryRequest(_message.Message):
    __slots__ = ("validate_only",)
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    validate_only: bool
    def __init__(self, validate_only: _Optional[bool] = ...) -> None: ...

class ReleaseExpiryResponse(_message.Message):
    __slots__ = ("expiry_hold", "remove_before_time", "due_events", "stored_events")
    EXPIRY_HOLD_FIELD_NUMBER: _ClassVar[int]
    REMOVE_BEFORE_TIME_FIELD_NUMBER: _ClassVar[int]
    DUE_EVENTS_FIELD_NUMBER: _ClassVar[int]
    STORED_EVENTS_FIELD_NUMBER: _ClassVar[int]
    expiry_hold: ExpiryHold
    remove_before_time: _timestamp_pb2.Timestamp
    due_events: int
    stored_events: int
    def __init__(self, expiry_hold: _Optional[_Union[ExpiryHold, _Mapping]] = ..., remove_before_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., due_events: _Optional[int] = ..., stored_events: _Optional[int] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("max_text_characters", "max_event_id_characters", "max_source_characters", "max_event_bytes", "max_message_bytes", "max_batch_events", "max_chunk_events", "max_unacked_chunks", "max_page_events", "max_clock_lead", "heartbeat_interval", "max_stream_age", "upload_idle_timeout", "min_keepalive_interval", "max_entity_names", "max_entity_name_characters", "max_subscription_batch_events", "retention", "max_additional_attributes", "max_other_contacts", "max_filter_values", "max_mask_paths", "max_metadata_bytes", "max_chunk_bytes", "max_rejections_without_success")
    MAX_TEXT_CHARACTERS_FIELD_NUMBER: _ClassVar[int]
    MAX_EVENT_ID_CHARACTERS_FIELD_NUMBER: _ClassVar[int]
    MAX_SOURCE_CHARACTERS_FIELD_NUMBER: _ClassVar[int]
    MAX_EVENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_BATCH_EVENTS_FIELD_NUMBER: _ClassVar[int]
    MAX_CHUNK_EVENTS_FIELD_NUMBER: _ClassVar[int]
    MAX_UNACKED_CHUNKS_FIELD_NUMBER: _ClassVar[int]
    MAX_PAGE_EVENTS_FIELD_NUMBER: _ClassVar[int]
    MAX_CLOCK_LEAD_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    MAX_STREAM_AGE_FIELD_NUMBER: _ClassVar[int]
    UPLOAD_IDLE_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    MIN_KEEPALIVE_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    MAX_ENTITY_NAMES_FIELD_NUMBER: _ClassVar[int]
    MAX_ENTITY_NAME_CHARACTERS_FIELD_NUMBER: _ClassVar[int]
    MAX_SUBSCRIPTION_BATCH_EVENTS_FIELD_NUMBER: _ClassVar[int]
    RETENTION_FIELD_NUMBER: _ClassVar[int]
    MAX_ADDITIONAL_ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    MAX_OTHER_CONTACTS_FIELD_NUMBER: _ClassVar[int]
    MAX_FILTER_VALUES_FIELD_NUMBER: _ClassVar[int]
    MAX_MASK_PATHS_FIELD_NUMBER: _ClassVar[int]
    MAX_METADATA_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_CHUNK_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_REJECTIONS_WITHOUT_SUCCESS_FIELD_NUMBER: _ClassVar[int]
    max_text_characters: int
    max_event_id_characters: int
    max_source_characters: int
    max_event_bytes: int
    max_message_bytes: int
    max_batch_events: int
    max_chunk_events: int
    max_unacked_chunks: int
    max_page_events: int
    max_clock_lead: _duration_pb2.Duration
    heartbeat_interval: _duration_pb2.Duration
    max_stream_age: _duration_pb2.Duration
    upload_idle_timeout: _duration_pb2.Duration
    min_keepalive_interval: _duration_pb2.Duration
    max_entity_names: int
    max_entity_name_characters: int
    max_subscription_batch_events: int
    retention: _duration_pb2.Duration
    max_additional_attributes: int
    max_other_contacts: int
    max_filter_values: int
    max_mask_paths: int
    max_metadata_bytes: int
    max_chunk_bytes: int
    max_rejections_without_success: int
    def __init__(self, max_text_characters: _Optional[int] = ..., max_event_id_characters: _Optional[int] = ..., max_source_characters: _Optional[int] = ..., max_event_bytes: _Optional[int] = ..., max_message_bytes: _Optional[int] = ..., max_batch_events: _Optional[int] = ..., max_chunk_events: _Optional[int] = ..., max_unacked_chunks: _Optional[int] = ..., max_page_events: _Optional[int] = ..., max_clock_lead: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., heartbeat_interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_stream_age: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., upload_idle_timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., min_keepalive_interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_entity_names: _Optional[int] = ..., max_entity_name_characters: _Optional[int] = ..., max_subscription_batch_events: _Optional[int] = ..., retention: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_additional_attributes: _Optional[int] = ..., max_other_contacts: _Optional[int] = ..., max_filter_values: _Optional[int] = ..., max_mask_paths: _Optional[int] = ..., max_metadata_bytes: _Optional[int] = ..., max_chunk_bytes: _Optional[int] = ..., max_rejections_without_success: _Optional[int] = ...) -> None: ...
