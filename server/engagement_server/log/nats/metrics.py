"""Metrics of a replicated log for Prometheus."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram

if TYPE_CHECKING:
    from engagement_server.log.nats.delivery import Message
    from engagement_server.log.nats.freshness import FreshnessMonitor
    from engagement_server.log.nats.snapshots.schedule import SnapshotSchedule

_log = logging.getLogger(__name__)

_LABELS = ("log",)
_publish_seconds = Histogram(
    "engagement_log_publish_seconds",
    "Time until a commit is in the log, as acknowledged by the quorum.",
    _LABELS,
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15),
)
_lag_messages = Gauge(
    "engagement_log_apply_lag_messages",
    "Messages in the log at the last poll that the view has not applied.",
    _LABELS,
)
_view_age_seconds = Gauge(
    "engagement_log_view_age_seconds",
    "Time since the view was known to be complete; grows while the node is behind or cut off.",
    _LABELS,
)
_snapshot_age_seconds = Gauge(
    "engagement_log_snapshot_age_seconds",
    "Age of the newest snapshot of the log, taken by any node; NaN if there is none.",
    _LABELS,
)
_expiry_held = Gauge(
    "engagement_expiry_held",
    "1 while expiry is held and nothing beyond the retention is removed, else 0.",
    _LABELS,
)
_foreign_messages = Counter(
    "engagement_log_foreign_messages",
    "Messages of other programs in the log, which views skip.",
    _LABELS,
)
_damaged = Gauge(
    "engagement_log_damaged",
    "1 while the node refuses the partition, because its log or its view is damaged; otherwise 0.",
    _LABELS,
)
_METRICS = (
    _publish_seconds,
    _lag_messages,
    _view_age_seconds,
    _snapshot_age_seconds,
    _expiry_held,
    _foreign_messages,
    _damaged,
)


class LogMetrics:
    """The metrics of one log."""

    def __init__(self, log: str, freshness: FreshnessMonitor, snapshots: SnapshotSchedule) -> None:
        """Registers the gauges, which are read when Prometheus scrapes them."""
        self._log = log
        self._has_foreign = False
        self._foreign_messages = _foreign_messages.labels(log)
        self._publish_seconds = _publish_seconds.labels(log)
        _lag_messages.labels(log).set_function(lambda: freshness.lag_messages)
        _view_age_seconds.labels(log).set_function(lambda: freshness.age.seconds)
        _damaged.labels(log).set_function(lambda: freshness.is_damaged)
        _snapshot_age_seconds.labels(log).set_function(lambda: snapshots.age_seconds)

        self._expiry_held = _expiry_held.labels(log)

    def note_hold(self, *, is_held: bool) -> None:
        """Notes whether expiry is held."""
        self._expiry_held.set(is_held)

    def published(self, *, seconds: float) -> None:
        """Notes that a commit has reached the log."""
        self._publish_seconds.observe(seconds)

    def note_foreign(self, message: Message) -> None:
        """Counts a message that is not ours; the first one is logged."""
        self._foreign_messages.inc()
        if not self._has_foreign:
            self._has_foreign = True
            _log.warning(
                "%s: message %d is not of this service and is skipped, as are any later ones; no other"
                " program may publish to %s",
                *(self._log, message.sequence, message.subject),
            )

    def close(self) -> None:
        """Removes the metrics of this log."""
        for metric in _METRICS:
            metric.remove(self._log)
