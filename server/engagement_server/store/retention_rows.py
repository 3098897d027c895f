"""How long the store keeps events, and the hold of expiry: part of the log, so that all nodes hold alike."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from engagement import v1
from engagement_server.model import ExpiryHold, RetentionState

if TYPE_CHECKING:
    import apsw

    from engagement_server.operations import ExpireEvents, HoldExpiry, ReleaseExpiry, SetRetention

MAX_CLOCK_STEP_BACK_MS = 3_600_000
"""A clock that is set back by less is a usual correction: acceptance times then do not decrease."""
MAX_CLOCK_GAP_MS = 7 * 24 * 3_600_000
"""A commit that comes later than this after the one before it may have a wrong clock."""


def read_retention(connection: apsw.Connection) -> RetentionState:
    """The state of a store."""
    ((retention_ms, confirmed_before_ms, *hold),) = connection.execute("SELECT * FROM retention")
    return RetentionState(retention_ms, confirmed_before_ms, None if hold[0] is None else ExpiryHold(*hold))


def accepted_ms(clock_ms: int, *, last_ms: int) -> int:
    """The time of a commit: never a little before the last one, even if clocks differ or are corrected.

    A clock that is set back by more keeps its own time: otherwise a clock that was once years ahead would
    stop time for years.
    """
    return last_ms if clock_ms < last_ms <= clock_ms + MAX_CLOCK_STEP_BACK_MS else clock_ms


def is_returned(hold: ExpiryHold, *, clock_ms: int) -> bool:
    """Whether a clock has left the wrong time: it is nearer to the last good one."""
    if hold.clock_ms > hold.commit_ms:
        return clock_ms < (hold.commit_ms + hold.clock_ms) // 2
    return hold.commit_ms - MAX_CLOCK_STEP_BACK_MS <= clock_ms <= hold.commit_ms + MAX_CLOCK_GAP_MS


class RetentionRows:
    """Works inside the transactions of the writer; keeps the state in memory."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._state: RetentionState | None = None

    @property
    def state(self) -> RetentionState:
        """The state after the last operation."""
        if self._state is None:
            self._state = read_retention(self._connection)
        return self._state

    def discard_cache(self) -> None:
        """Reads the state again, because a transaction was rolled back."""
        self._state = None

    def check_clock(self, clock_ms: int, *, last_ms: int) -> None:
        """Holds expiry if the clock of a commit has jumped against the commit before."""
        if last_ms - MAX_CLOCK_STEP_BACK_MS <= clock_ms <= last_ms + MAX_CLOCK_GAP_MS or not last_ms:
            return
        is_ahead = clock_ms > last_ms
        reason = v1.ExpiryHold.REASON_CLOCK_AHEAD if is_ahead else v1.ExpiryHold.REASON_CLOCK_BEHIND
        self._hold(reason, commit_ms=last_ms, clock_ms=clock_ms, time_ms=clock_ms)

    def event_time_ms(self, time_ms: int) -> int:
        """The time of events that have none of their own.

        While a clock is held to be wrong, it goes on from the last good time: an event from two years ahead
        would otherwise stay the latest of its consumer for two years.
        """
        hold = self.state.hold
        if hold is None or hold.reason not in _CLOCK_JUMPS:
            return time_ms
        is_wrong = abs(time_ms - hold.clock_ms) < abs(time_ms - hold.commit_ms)
        return max(0, time_ms - hold.clock_ms) + hold.commit_ms if is_wrong else time_ms

    def set(self, operation: SetRetention, time_ms: int) -> RetentionState:
        """Sets the retention; what it makes due at once is confirmed, unless the clock may be wrong."""
        state = self.state
        if operation.is_first and state.retention_ms is not None:
            return state
        confirmed_before_ms = state.confirmed_before_ms
        if not operation.is_first and state.hold is None:
            confirmed_before_ms = max(confirmed_before_ms, time_ms - operation.retention_ms)
        return self._write(
            replace(state, retention_ms=operation.retention_ms, confirmed_before_ms=confirmed_before_ms)
        )

    def hold(self, operation: HoldExpiry, time_ms: int) -> RetentionState:
        """Holds expiry, unless it is held."""
        return self._hold(
            operation.reason,
            commit_ms=operation.commit_ms,
            clock_ms=operation.clock_ms,
            time_ms=time_ms,
        )

    def release(self, operation: ReleaseExpiry) -> int:
        """Ends the hold; returns 0 if there is none, or if a returned clock must not end it."""
        state = self.state
        if state.hold is None or operation.hold_since_ms not in {0, state.hold.since_ms}:
            return 0
        if not operation.confirmed_before_ms and not self._ends_by_itself(state.hold):
            return 0
        confirmed_before_ms = max(state.confirmed_before_ms, operation.confirmed_before_ms)
        self._write(replace(state, confirmed_before_ms=confirmed_before_ms, hold=None))
        return 1

    def may_expire(self, operation: ExpireEvents, time_ms: int) -> bool:
        """Whether expiry is not held, and the operation keeps to the retention."""
        state = self.state
        if state.hold is not None:
            return False
        return state.retention_ms is None or operation.accepted_before_ms <= time_ms - state.retention_ms

    def _ends_by_itself(self, hold: ExpiryHold) -> bool:
        """Events that a clock in the past has accepted look old: only an operator can let them go."""
        match hold.reason:
            case v1.ExpiryHold.REASON_CLOCK_BEHIND:
                return self._sequences() == hold.sequences
            case v1.ExpiryHold.REASON_LARGE_REMOVAL:
                return False
            case _:
                return True

    def _hold(self, reason: int, *, commit_ms: int, clock_ms: int, time_ms: int) -> RetentionState:
        if self.state.hold is not None:
            return self.state
        hold = ExpiryHold(reason, time_ms, commit_ms, clock_ms, self._sequences())
        return self._write(replace(self.state, hold=hold))

    def _sequences(self) -> int:
        ((total,),) = self._connection.execute("SELECT coalesce(sum(last_sequence), 0) FROM accounts")
        return int(total)

    def _write(self, state: RetentionState) -> RetentionState:
        hold = state.hold
        self._connection.execute(
            "UPDATE retention SET (retention_ms, confirmed_before_ms, hold_reason, hold_since_ms,"
            " hold_commit_ms, hold_clock_ms, hold_sequences) = (?, ?, ?, ?, ?, ?, ?)",
            (
                state.retention_ms,
                state.confirmed_before_ms,
                *(
                    (None,) * 5
                    if hold is None
                    else (hold.reason, hold.since_ms, hold.commit_ms, hold.clock_ms, hold.sequences)
                ),
            ),
        )
        self._state = state
        return state


_CLOCK_JUMPS = frozenset((v1.ExpiryHold.REASON_CLOCK_AHEAD, v1.ExpiryHold.REASON_CLOCK_BEHIND))
