"""What a replicated log counts and measures of itself."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from engagement_server.metrics import catalogue

if TYPE_CHECKING:
    from engagement_server.log.nats.delivery import Message
    from engagement_server.log.nats.freshness import FreshnessMonitor
    from engagement_server.log.nats.snapshots.schedule import SnapshotSchedule
    from engagement_server.metrics.measures import Measures

_log = logging.getLogger(__name__)


class LogMetrics:
    """The metrics of one log."""

    def __init__(
        self, log: str, measures: Measures, *, freshness: FreshnessMonitor, snapshots: SnapshotSchedule
    ) -> None:
        self._log = log
        self._has_foreign = False
        self._foreign_messages = measures.count(catalogue.LOG_FOREIGN_MESSAGES, log)
        self._publish_seconds = measures.histogram(catalogue.LOG_PUBLISH_SECONDS, log)
        measures.gauge(catalogue.LOG_LAG_MESSAGES, log, read=lambda: freshness.lag_messages)
        measures.gauge(catalogue.LOG_VIEW_AGE_SECONDS, log, read=lambda: freshness.age.seconds)
        measures.gauge(catalogue.LOG_DAMAGED, log, read=lambda: freshness.is_damaged)
        measures.gauge(catalogue.LOG_SNAPSHOT_AGE_SECONDS, log, read=lambda: snapshots.age_seconds)

    def published(self, *, seconds: float) -> None:
        """Notes that a commit has reached the log."""
        self._publish_seconds.observe(seconds)

    def note_foreign(self, message: Message) -> None:
        """Counts a message that is not ours; the first one is logged."""
        self._foreign_messages.value += 1
        if not self._has_foreign:
            self._has_foreign = True
            _log.warning(
                "%s: message %d is not of this service and is skipped, as are any later ones; no other"
                " program may publish to %s",
                *(self._log, message.sequence, message.subject),
            )
