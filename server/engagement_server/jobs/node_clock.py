"""Compares the clock of this node with its own course, and with the times of other nodes' commits."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from engagement import v1
from engagement_server.clock import now_ms
from engagement_server.operations import HoldExpiry

if TYPE_CHECKING:
    from engagement_server.log.base import CommitLog
    from engagement_server.operations import Applied

MAX_DIFFERENCE_MS = 3_600_000
"""Clocks of two nodes that differ by more disagree."""
MAX_JUMP_MS = 24 * 3_600_000
"""A clock that gains more than this against the time that passed has jumped."""
AGREEMENT_SECONDS = 150.0
"""Clocks agree again after this long without a commit that disagrees: every node commits once a minute while
expiry is held."""
# Goes on while the machine sleeps.
_PASSED = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class NodeClock:
    """Looks at each commit as it is applied."""

    def __init__(self, log: CommitLog, *, agreement_seconds: float = AGREEMENT_SECONDS) -> None:
        self._log = log
        self._agreement_ms = int(agreement_seconds * 1000) if log.has_other_writers else 0
        self._start_ms = now_ms() - _passed_ms()
        """What the clock would have shown when the machine started."""
        self._jump: HoldExpiry | None = None
        self._disagreeing_ms = 0
        """The time of the last commit that disagreed."""
        self._disagreed_at_ms = _passed_ms()
        self._is_held = False
        self._was_current = log.is_current
        """Whether the node was current before the commits that are being applied."""
        log.subscribe(self._note)
        log.watch_freshness(self._note_freshness)

    def fault(self) -> HoldExpiry | None:
        """The hold that the clock calls for; a jump calls for one until expiry is held."""
        clock_ms, passed_ms = now_ms(), _passed_ms()
        expected_ms = self._start_ms + passed_ms
        self._start_ms = clock_ms - passed_ms
        if clock_ms - expected_ms > MAX_JUMP_MS:
            self._jump = HoldExpiry(v1.ExpiryHold.REASON_CLOCK_AHEAD, expected_ms, clock_ms)
        if self._jump is not None:
            return self._jump
        if self._disagreeing_ms and not self.agrees:
            return HoldExpiry(v1.ExpiryHold.REASON_CLOCKS_DISAGREE, self._disagreeing_ms, clock_ms)
        return None

    @property
    def agrees(self) -> bool:
        """Whether no commit has disagreed for a while."""
        return _passed_ms() - self._disagreed_at_ms >= self._agreement_ms

    def _note(self, applied: Applied) -> None:
        was_held, self._is_held = self._is_held, applied.retention.hold is not None
        if was_held or self._is_held:
            self._jump = None
        if was_held and not self._is_held:  # whoever released it knows what was before
            self._disagreeing_ms = 0
        # Commits of the past, which a node that was away applies, say nothing about the clock. The log is
        # current while they are noted, but was not before.
        if (
            self._was_current
            and self._log.is_current
            and abs(now_ms() - applied.clock_ms) > MAX_DIFFERENCE_MS
        ):
            self._disagreeing_ms = applied.clock_ms
            self._disagreed_at_ms = _passed_ms()

    def _note_freshness(self, is_current: bool) -> None:  # noqa: FBT001  # as the logs call it
        self._was_current = is_current


def _passed_ms() -> int:
    return time.clock_gettime_ns(_PASSED) // 1_000_000
