import datetime

from buf.validate import validate_pb2 as _validate_pb2
from engagement.v1 import access_pb2 as _access_pb2
from engagement.v1 import error_reason_pb2 as _error_reason_pb2
from engagement.v1 import scope_pb2 as _scope_pb2
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
    __slots__ = ("account_id", "events", "last_receive_time", "stored_bytes")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    LAST_RECEIVE_TIME_FIELD_NUMBER: _ClassVar[int]
    STORED_BYTES_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    events: int
    last_receive_time: _timestamp_pb2.Timestamp
    stored_bytes: int
    def __init__(self, account_id: _Optional[str] = ..., events: _Optional[int] = ..., last_receive_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., stored_bytes: _Optional[int] = ...) -> None: ...

class GetServerInfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetServerInfoResponse(_message.Message):
    __slots__ = ("version", "contract", "limits", "log_epoch", "partition_count", "partitions", "encrypted", "identity_required")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CONTRACT_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    LOG_EPOCH_FIELD_NUMBER: _ClassVar[int]
    PARTITION_COUNT_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    ENCRYPTED_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_REQUIRED_FIELD_NUMBER: _ClassVar[int]
    version: str
    contract: str
    limits: Limits
    log_epoch: str
    partition_count: int
    partitions: _containers.RepeatedCompositeFieldContainer[Partition]
    encrypted: bool
    identity_required: bool
    def __init__(self, version: _Optional[str] = ..., contract: _Optional[str] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., log_epoch: _Optional[str] = ..., partition_count: _Optional[int] = ..., partitions: _Optional[_Iterable[_Union[Partition, _Mapping]]] = ..., encrypted: _Optional[bool] = ..., identity_required: _Optional[bool] = ...) -> None: ...

class GetIdentityRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetIdentityResponse(_message.Message):
    __slots__ = ("principal", "credential", "accounts", "scopes", "expire_time", "sources", "may_authenticate", "publishable", "quotas")
    PRINCIPAL_FIELD_NUMBER: _ClassVar[int]
    CREDENTIAL_FIELD_NUMBER: _ClassVar[int]
    ACCOUNTS_FIELD_NUMBER: _ClassVar[int]
    SCOPES_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    MAY_AUTHENTICATE_FIELD_NUMBER: _ClassVar[int]
    PUBLISHABLE_FIELD_NUMBER: _ClassVar[int]
    QUOTAS_FIELD_NUMBER: _ClassVar[int]
    principal: str
    credential: str
    accounts: _containers.RepeatedScalarFieldContainer[str]
    scopes: _containers.RepeatedScalarFieldContainer[_scope_pb2.Scope]
    expire_time: _timestamp_pb2.Timestamp
    sources: _containers.RepeatedScalarFieldContainer[str]
    may_authenticate: bool
    publishable: bool
    quotas: GrantQuotas
    def __init__(self, principal: _Optional[str] = ..., credential: _Optional[str] = ..., accounts: _Optional[_Iterable[str]] = ..., scopes: _Optional[_Iterable[_Union[_scope_pb2.Scope, str]]] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., sources: _Optional[_Iterable[str]] = ..., may_authenticate: _Optional[bool] = ..., publishable: _Optional[bool] = ..., quotas: _Optional[_Union[GrantQuotas, _Mapping]] = ...) -> None: ...

class GrantQuotas(_message.Message):
    __slots__ = ("events_per_second", "concurrent_streams", "stored_bytes", "max_new_accounts")
    EVENTS_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    CONCURRENT_STREAMS_FIELD_NUMBER: _ClassVar[int]
    STORED_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_NEW_ACCOUNTS_FIELD_NUMBER: _ClassVar[int]
    events_per_second: float
    concurrent_streams: int
    stored_bytes: int
    max_new_accounts: int
    def __init__(self, events_per_second: _Optional[float] = ..., concurrent_streams: _Optional[int] = ..., stored_bytes: _Optional[int] = ..., max_new_accounts: _Optional[int] = ...) -> None: ...

class GetServerStatsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetServerStatsResponse(_message.Message):
    __slots__ = ("version", "start_time", "sample_time", "samples", "checks", "rejected_rules", "rejected_events", "rejected_rules_incomplete", "failed_calls", "subscriptions", "open_subscriptions", "open_uploads", "files", "disk_free_bytes", "memory_bytes", "memory_limit_bytes", "partitions", "nodes")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_TIME_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    CHECKS_FIELD_NUMBER: _ClassVar[int]
    REJECTED_RULES_FIELD_NUMBER: _ClassVar[int]
    REJECTED_EVENTS_FIELD_NUMBER: _ClassVar[int]
    REJECTED_RULES_INCOMPLETE_FIELD_NUMBER: _ClassVar[int]
    FAILED_CALLS_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIPTIONS_FIELD_NUMBER: _ClassVar[int]
    OPEN_SUBSCRIPTIONS_FIELD_NUMBER: _ClassVar[int]
    OPEN_UPLOADS_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    DISK_FREE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_LIMIT_BYTES_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    version: str
    start_time: _timestamp_pb2.Timestamp
    sample_time: _timestamp_pb2.Timestamp
    samples: _containers.RepeatedCompositeFieldContainer[ServerSample]
    checks: _containers.RepeatedCompositeFieldContainer[ServerCheck]
    rejected_rules: _containers.RepeatedCompositeFieldContainer[RejectedRule]
    rejected_events: int
    rejected_rules_incomplete: bool
    failed_calls: _containers.RepeatedCompositeFieldContainer[FailedCalls]
    subscriptions: _containers.RepeatedCompositeFieldContainer[SubscriptionStats]
    open_subscriptions: int
    open_uploads: int
    files: _containers.RepeatedCompositeFieldContainer[StoreFile]
    disk_free_bytes: int
    memory_bytes: int
    memory_limit_bytes: int
    partitions: _containers.RepeatedCompositeFieldContainer[PartitionStats]
    nodes: _containers.RepeatedCompositeFieldContainer[NodeStats]
    def __init__(self, version: _Optional[str] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., sample_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., samples: _Optional[_Iterable[_Union[ServerSample, _Mapping]]] = ..., checks: _Optional[_Iterable[_Union[ServerCheck, _Mapping]]] = ..., rejected_rules: _Optional[_Iterable[_Union[RejectedRule, _Mapping]]] = ..., rejected_events: _Optional[int] = ..., rejected_rules_incomplete: _Optional[bool] = ..., failed_calls: _Optional[_Iterable[_Union[FailedCalls, _Mapping]]] = ..., subscriptions: _Optional[_Iterable[_Union[SubscriptionStats, _Mapping]]] = ..., open_subscriptions: _Optional[int] = ..., open_uploads: _Optional[int] = ..., files: _Optional[_Iterable[_Union[StoreFile, _Mapping]]] = ..., disk_free_bytes: _Optional[int] = ..., memory_bytes: _Optional[int] = ..., memory_limit_bytes: _Optional[int] = ..., partitions: _Optional[_Iterable[_Union[PartitionStats, _Mapping]]] = ..., nodes: _Optional[_Iterable[_Union[NodeStats, _Mapping]]] = ...) -> None: ...

class ServerSample(_message.Message):
    __slots__ = ("end_time", "duration", "accepted_events", "duplicate_events", "suppressed_events", "rejected_events", "calls", "failed_calls", "median_call_time", "p99_call_time", "commits", "p99_commit_time", "memory_bytes", "max_lag_events")
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_EVENTS_FIELD_NUMBER: _ClassVar[int]
    DUPLICATE_EVENTS_FIELD_NUMBER: _ClassVar[int]
    SUPPRESSED_EVENTS_FIELD_NUMBER: _ClassVar[int]
    REJECTED_EVENTS_FIELD_NUMBER: _ClassVar[int]
    CALLS_FIELD_NUMBER: _ClassVar[int]
    FAILED_CALLS_FIELD_NUMBER: _ClassVar[int]
    MEDIAN_CALL_TIME_FIELD_NUMBER: _ClassVar[int]
    P99_CALL_TIME_FIELD_NUMBER: _ClassVar[int]
    COMMITS_FIELD_NUMBER: _ClassVar[int]
    P99_COMMIT_TIME_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_LAG_EVENTS_FIELD_NUMBER: _ClassVar[int]
    end_time: _timestamp_pb2.Timestamp
    duration: _duration_pb2.Duration
    accepted_events: int
    duplicate_events: int
    suppressed_events: int
    rejected_events: int
    calls: int
    failed_calls: int
    median_call_time: _duration_pb2.Duration
    p99_call_time: _duration_pb2.Duration
    commits: int
    p99_commit_time: _duration_pb2.Duration
    memory_bytes: int
    max_lag_events: int
    def __init__(self, end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., accepted_events: _Optional[int] = ..., duplicate_events: _Optional[int] = ..., suppressed_events: _Optional[int] = ..., rejected_events: _Optional[int] = ..., calls: _Optional[int] = ..., failed_calls: _Optional[int] = ..., median_call_time: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., p99_call_time: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., commits: _Optional[int] = ..., p99_commit_time: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., memory_bytes: _Optional[int] = ..., max_lag_events: _Optional[int] = ...) -> None: ...

class ServerCheck(_message.Message):
    __slots__ = ("name", "problem", "required")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    REQUIRED_FIELD_NUMBER: _ClassVar[int]
    name: str
    problem: str
    required: bool
    def __init__(self, name: _Optional[str] = ..., problem: _Optional[str] = ..., required: _Optional[bool] = ...) -> None: ...

class RejectedRule(_message.Message):
    __slots__ = ("account_id", "source", "other", "field", "rule", "reason", "events", "last_reject_time", "description", "value_shape")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    OTHER_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    LAST_REJECT_TIME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    VALUE_SHAPE_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    source: str
    other: bool
    field: str
    rule: str
    reason: _error_reason_pb2.ErrorReason
    events: int
    last_reject_time: _timestamp_pb2.Timestamp
    description: str
    value_shape: str
    def __init__(self, account_id: _Optional[str] = ..., source: _Optional[str] = ..., other: _Optional[bool] = ..., field: _Optional[str] = ..., rule: _Optional[str] = ..., reason: _Optional[_Union[_error_reason_pb2.ErrorReason, str]] = ..., events: _Optional[int] = ..., last_reject_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., description: _Optional[str] = ..., value_shape: _Optional[str] = ...) -> None: ...

class FailedCalls(_message.Message):
    __slots__ = ("reason", "calls")
    REASON_FIELD_NUMBER: _ClassVar[int]
    CALLS_FIELD_NUMBER: _ClassVar[int]
    reason: str
    calls: int
    def __init__(self, reason: _Optional[str] = ..., calls: _Optional[int] = ...) -> None: ...

class SubscriptionStats(_message.Message):
    __slots__ = ("account_id", "start_time", "lag_events", "lag")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    LAG_EVENTS_FIELD_NUMBER: _ClassVar[int]
    LAG_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    start_time: _timestamp_pb2.Timestamp
    lag_events: int
    lag: _duration_pb2.Duration
    def __init__(self, account_id: _Optional[str] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., lag_events: _Optional[int] = ..., lag: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class StoreFile(_message.Message):
    __slots__ = ("kind", "bytes")
    KIND_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    kind: str
    bytes: int
    def __init__(self, kind: _Optional[str] = ..., bytes: _Optional[int] = ...) -> None: ...

class PartitionStats(_message.Message):
    __slots__ = ("number", "current", "stored_events", "oldest_receive_time", "next_expiry_time", "expired_events", "expiry_hold", "pending_erasures", "damage", "log_lag_messages", "view_age")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    CURRENT_FIELD_NUMBER: _ClassVar[int]
    STORED_EVENTS_FIELD_NUMBER: _ClassVar[int]
    OLDEST_RECEIVE_TIME_FIELD_NUMBER: _ClassVar[int]
    NEXT_EXPIRY_TIME_FIELD_NUMBER: _ClassVar[int]
    EXPIRED_EVENTS_FIELD_NUMBER: _ClassVar[int]
    EXPIRY_HOLD_FIELD_NUMBER: _ClassVar[int]
    PENDING_ERASURES_FIELD_NUMBER: _ClassVar[int]
    DAMAGE_FIELD_NUMBER: _ClassVar[int]
    LOG_LAG_MESSAGES_FIELD_NUMBER: _ClassVar[int]
    VIEW_AGE_FIELD_NUMBER: _ClassVar[int]
    number: int
    current: bool
    stored_events: int
    oldest_receive_time: _timestamp_pb2.Timestamp
    next_expiry_time: _timestamp_pb2.Timestamp
    expired_events: int
    expiry_hold: ExpiryHold
    pending_erasures: int
    damage: str
    log_lag_messages: int
    view_age: _duration_pb2.Duration
    def __init__(self, number: _Optional[int] = ..., current: _Optional[bool] = ..., stored_events: _Optional[int] = ..., oldest_receive_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., next_expiry_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expired_events: _Optional[int] = ..., expiry_hold: _Optional[_Union[ExpiryHold, _Mapping]] = ..., pending_erasures: _Optional[int] = ..., damage: _Optional[str] = ..., log_lag_messages: _Optional[int] = ..., view_age: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class NodeStats(_message.Message):
    __slots__ = ("node_id", "self", "last_commit_time")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    SELF_FIELD_NUMBER: _ClassVar[int]
    LAST_COMMIT_TIME_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    self: bool
    last_commit_time: _timestamp_pb2.Timestamp
    def __init__(self_, node_id: _Optional[str] = ..., self: _Optional[bool] = ..., last_commit_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

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
