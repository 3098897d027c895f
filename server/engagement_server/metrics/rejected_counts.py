"""Counts rejected events by reason and rule, for as long as the process runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engagement import v1
from engagement_server.metrics.catalogue import EVENTS, REJECTIONS

if TYPE_CHECKING:
    from engagement_server.metrics.measures import Measures
    from engagement_server.metrics.rejected_events import RejectedEvent

_REASON_PREFIX = "ERROR_REASON_"


class RejectedCounts:
    """The counts of rejected events of one process."""

    def __init__(self, measures: Measures) -> None:
        self._measures = measures
        self._events = measures.count(EVENTS, "rejected")

    def note(self, event: RejectedEvent, events: int) -> None:
        """Counts events that are described alike."""
        self._events.value += events
        reason = v1.ErrorReason.Name(event.reason).removeprefix(_REASON_PREFIX)
        for rule in {broken.rule for broken in event.rules}:
            self._measures.count(REJECTIONS, reason, rule).value += events
