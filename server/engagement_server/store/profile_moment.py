"""The moment that a profile is of: which events count, and the time of which of them has not come yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from engagement_server.clock import ceil_ms

if TYPE_CHECKING:
    from engagement import v1

END_MS = (1 << 63) - 1
"""Later than any event."""


@dataclass(frozen=True, slots=True)
class ProfileMoment:
    """The moment that a profile is of; times are epoch milliseconds."""

    due_ms: int
    """An event of a later time is ahead of the clock, unless its time had come when it was accepted."""
    before_ms: int = END_MS
    """Events of this time or later do not count."""
    accepted_before_ms: int = END_MS
    """Events that were accepted at this time or later do not count."""

    @classmethod
    def of(cls, request: v1.GetProfileRequest, *, now_ms: int) -> ProfileMoment:
        """The moment that a request asks for."""
        before_ms = (
            ceil_ms(request.before_time.ToNanoseconds()) if request.HasField("before_time") else END_MS
        )
        accepted_before_ms = END_MS
        if request.HasField("before_receive_time"):
            accepted_before_ms = ceil_ms(request.before_receive_time.ToNanoseconds())
        # A request that names the time of events has set the clock; what it leaves out does not count.
        due_ms = min(now_ms, accepted_before_ms - 1) if before_ms == END_MS else END_MS
        return cls(due_ms, before_ms, accepted_before_ms)

    @property
    def is_now(self) -> bool:
        """Whether all events count."""
        return self.before_ms == self.accepted_before_ms == END_MS

    def counts(self, *, server_time_ms: int, receive_time_ms: int) -> bool:
        """Whether an event counts."""
        return server_time_ms < self.before_ms and receive_time_ms < self.accepted_before_ms
