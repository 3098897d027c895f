"""Every series that a server measures, by the names that dashboards know."""

from __future__ import annotations

from typing import Final, NamedTuple


class Series(NamedTuple):
    """A named measure."""

    name: str
    """Without the endings that the formats add."""
    help: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    """Upper bounds of the buckets of a histogram."""
    max_label_sets: int = 5_000
    """Limit on combinations of labels; further ones count as others."""
    takes_highest: bool = False
    """Whether a gauge of several processes is the highest of theirs instead of the sum."""


_LOG = ("log",)
_CALL = ("grpc_type", "grpc_service", "grpc_method")
_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)

STARTED = Series("grpc_server_started", "Calls that have begun.", _CALL)
HANDLED = Series("grpc_server_handled", "Calls that have ended, by status.", (*_CALL, "grpc_code"))
RECEIVED = Series("grpc_server_msg_received", "Messages of clients.", _CALL)
SENT = Series("grpc_server_msg_sent", "Messages to clients.", _CALL)
HANDLING_SECONDS = Series("grpc_server_handling_seconds", "Duration of unary calls.", _CALL, _SECONDS)
REFUSED = Series("engagement_refused", "Calls that ended with an error, by its reason.", ("reason",))
EVENTS = Series("engagement_events", "Events by outcome; repeated calls count again.", ("outcome",))
REJECTIONS = Series(
    "engagement_rejections",
    "Rejected events by reason and broken rule; an event counts once for each rule.",
    ("reason", "rule"),
    max_label_sets=500,
)
COMMIT_SECONDS = Series(
    "engagement_commit_seconds", "Time until a commit is durable and readers see it.", bounds=_SECONDS
)
COMMIT_EVENTS = Series(
    "engagement_commit_events",
    "Events of a commit.",
    bounds=(0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 5_000),
)
EXPIRED = Series("engagement_expired_events", "Events beyond the retention that this node has removed.")
WAITING_BYTES = Series("engagement_waiting_bytes", "Bytes of operations that wait for a commit.")
RUNNING_CALLS = Series("engagement_running_calls", "Calls that run, open streams among them.")
OPEN_STREAMS = Series("engagement_open_streams", "Open uploads and subscriptions.", ("kind",))
SUBSCRIPTION_LAG_EVENTS = Series(
    "engagement_subscription_lag_events",
    "Events that the slowest open subscription is behind its account.",
    takes_highest=True,
)
SUBSCRIPTION_LAG_SECONDS = Series(
    "engagement_subscription_lag_seconds",
    "How long ago the oldest event was accepted that the slowest open subscription has yet to read.",
    takes_highest=True,
)
READY = Series("engagement_ready", "1 while the server takes calls as /readyz says, else 0.")
STALLED_JOBS = Series("engagement_stalled_jobs", "Background jobs that have failed five times in a row.")
STORE_BYTES = Series("engagement_store_bytes", "Size of the files of the store.", ("file",))
DISK_FREE_BYTES = Series("engagement_disk_free_bytes", "Free space on the disk of the data folder.")
DISK_SIZE_BYTES = Series("engagement_disk_size_bytes", "Size of the disk of the data folder.")
MEMORY_BYTES = Series(
    "engagement_memory_bytes",
    "Memory that all processes of the server take, and the limit on it.",
    ("kind",),
)
SPANS_DROPPED = Series("engagement_spans_dropped", "Spans of traces that were not sent to the collector.")
ERASURES_PENDING = Series("engagement_erasures_pending", "Erasures that are not complete.")
CERTIFICATE_EXPIRY_SECONDS = Series(
    "engagement_tls_certificate_expiry_seconds", "When the certificate that is served expires, since 1970."
)
INSECURE = Series("engagement_insecure", "1 if the operator has given an insecure switch.", ("switch",))
EXPIRY_HELD = Series(
    "engagement_expiry_held",
    "1 while expiry is held and nothing beyond the retention is removed, else 0.",
    ("partition",),
)
LOG_PUBLISH_SECONDS = Series(
    "engagement_log_publish_seconds",
    "Time until a commit is in the log, as acknowledged by the quorum.",
    _LOG,
    (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15),
)
LOG_LAG_MESSAGES = Series(
    "engagement_log_apply_lag_messages",
    "Messages in the log at the last poll that the view has not applied.",
    _LOG,
)
LOG_VIEW_AGE_SECONDS = Series(
    "engagement_log_view_age_seconds",
    "Time since the view was known to be complete; grows while the node is behind or cut off.",
    _LOG,
)
LOG_SNAPSHOT_AGE_SECONDS = Series(
    "engagement_log_snapshot_age_seconds",
    "Age of the newest snapshot of the log, taken by any node; NaN if there is none.",
    _LOG,
)
LOG_FOREIGN_MESSAGES = Series(
    "engagement_log_foreign_messages", "Messages of other programs in the log, which views skip.", _LOG
)
LOG_DAMAGED = Series(
    "engagement_log_damaged",
    "1 while the node refuses the partition, because its log or its view is damaged; otherwise 0.",
    _LOG,
)
ACCESS_RELOAD_FAILED = Series(
    "engagement_access_reload_failed",
    "1 while the newest version of a file of grants, tokens or keys cannot be used.",
    ("file",),
)
AUDIT_LOST = Series("engagement_audit_lost_lines", "Lines of the audit log that could not be written.")
BUILD_INFO = Series("engagement_build_info", "Always 1, with the versions as labels.", ("version", "python"))

CATALOGUE: Final = {
    series.name: series
    for series in (
        STARTED,
        HANDLED,
        RECEIVED,
        SENT,
        HANDLING_SECONDS,
        REFUSED,
        EVENTS,
        REJECTIONS,
        COMMIT_SECONDS,
        COMMIT_EVENTS,
        EXPIRED,
        WAITING_BYTES,
        RUNNING_CALLS,
        OPEN_STREAMS,
        SUBSCRIPTION_LAG_EVENTS,
        SUBSCRIPTION_LAG_SECONDS,
        READY,
        STALLED_JOBS,
        STORE_BYTES,
        DISK_FREE_BYTES,
        DISK_SIZE_BYTES,
        MEMORY_BYTES,
        SPANS_DROPPED,
        ERASURES_PENDING,
        CERTIFICATE_EXPIRY_SECONDS,
        INSECURE,
        EXPIRY_HELD,
        LOG_PUBLISH_SECONDS,
        LOG_LAG_MESSAGES,
        LOG_VIEW_AGE_SECONDS,
        LOG_SNAPSHOT_AGE_SECONDS,
        LOG_FOREIGN_MESSAGES,
        LOG_DAMAGED,
        ACCESS_RELOAD_FAILED,
        AUDIT_LOST,
        BUILD_INFO,
    )
}
