"""What a server of many measures, for Prometheus to collect."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import Gauge, Histogram, start_http_server

from engagement_server.faults import ConfigurationError

_LABELS = ("log",)
_publish_seconds = Histogram(
    "engagement_log_publish_seconds",
    "Time until a commit is in the log, by its quorum's word.",
    _LABELS,
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15),
)
_lag_messages = Gauge(
    "engagement_log_apply_lag_messages",
    "Messages that the log held when it was last asked and the view has not applied.",
    _LABELS,
)
_view_age_seconds = Gauge(
    "engagement_log_view_age_seconds",
    "Time since the view was known to hold everything; grows while the node is behind or cut off.",
    _LABELS,
)
_snapshot_age_seconds = Gauge(
    "engagement_log_snapshot_age_seconds",
    "Age of the newest snapshot of the log, by whatever node; NaN where there is none.",
    _LABELS,
)


class LogMetrics:
    """The measures of one log."""

    def __init__(
        self,
        log: str,
        *,
        lag_messages: Callable[[], float],
        view_age_seconds: Callable[[], float],
        snapshot_age_seconds: Callable[[], float],
    ) -> None:
        """Asks for what is not told with each commit when somebody collects it."""
        self._log = log
        self._publish_seconds = _publish_seconds.labels(log)
        _lag_messages.labels(log).set_function(lag_messages)
        _view_age_seconds.labels(log).set_function(view_age_seconds)
        _snapshot_age_seconds.labels(log).set_function(snapshot_age_seconds)

    def published(self, *, seconds: float) -> None:
        """A commit is in the log after so long."""
        self._publish_seconds.observe(seconds)

    def close(self) -> None:
        """Forgets the log."""
        for metric in (_publish_seconds, _lag_messages, _view_age_seconds, _snapshot_age_seconds):
            metric.remove(self._log)


def expose(address: str) -> None:
    """Answers `GET /metrics` on HOST:PORT from a thread of its own. Raises ConfigurationError."""
    host, _, port = address.rpartition(":")
    try:
        start_http_server(int(port), host)
    except OSError as error:
        raise ConfigurationError(f"metrics cannot be served on {address}: {error.strerror}") from error
