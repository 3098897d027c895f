"""Expires events by their age since acceptance, and uploads that have gone idle, unless expiry is held."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING

from engagement import v1
from engagement_server.clock import now_ms
from engagement_server.errors import ConfigurationError, DataDamagedError, DrainingError, UnavailableError
from engagement_server.jobs.node_clock import MAX_DIFFERENCE_MS
from engagement_server.jobs.spans import DAY_MS, duration_text, time_text
from engagement_server.metrics.measures import Count
from engagement_server.model import RetentionState
from engagement_server.operations import ExpireEvents, ExpireUploads, HoldExpiry, ReleaseExpiry
from engagement_server.store.retention_rows import is_returned

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from engagement_server.jobs.agreement import Terms
    from engagement_server.jobs.node_clock import NodeClock
    from engagement_server.log.base import CommitLog
    from engagement_server.log.committer import Committer
    from engagement_server.model import ExpiryHold
    from engagement_server.operations import Applied, Operation
    from engagement_server.store.reader import Reader
    from engagement_server.store.readers import Readers

INTERVAL_SECONDS = 300.0
HELD_INTERVAL_SECONDS = 60.0
"""While expiry is held, each node commits its time this often, so that others can compare their clocks."""
RETRY_SECONDS = 20.0
BEHIND_SECONDS = 1.0
"""A node that is behind the log, whose commits would be refused, looks again after this long."""
# Of a retention of seconds, which only tests have.
_MIN_INTERVAL_SECONDS = 0.5
MAX_PASS_SECONDS = 60.0
"""A pass ends after this long, says what it has removed, and looks at the clock again before the next."""
DAMAGE_RETRY_SECONDS = 3600.0
"""Finding out whether damaged events can be removed reads the whole file."""
# Pause after the steps of a commit if callers are waiting, in durations of the commit.
_PAUSE_FACTOR = 1
# An account with more due events than one step removes gets several steps in a commit.
_STEPS_A_COMMIT = 3
_STEP_EVENTS = 500
MAX_FIRST_SHARE = 10
"""The first expiry after a start may remove one of so many events."""

_LEAVE_OUT = ". Start this server without --retention-days the next time"

_log = logging.getLogger(__name__)


class Retention:
    """A job that expires a few rows at a time, so that it never holds up other commits for long."""

    def __init__(  # noqa: PLR0913  # all but the first are named at the call
        self,
        terms: Terms,
        *,
        committer: Committer,
        readers: Readers,
        log: CommitLog,
        clock: NodeClock,
        expired: Count | None = None,
        max_pass_seconds: float = MAX_PASS_SECONDS,
    ) -> None:
        """`expired` counts the events that are removed."""
        self._terms = terms
        self._expired = expired or Count()
        self._committer = committer
        self._readers = readers
        self._commit_log = log
        self._clock = clock
        self._max_pass_seconds = max_pass_seconds
        self._agreed_ms: int | None = None
        """The retention that was known last; None: it was not compared with that of this server yet."""
        self._damaged: dict[str, float] = {}
        """When to try again what damage has stopped: accounts, and uploads under the empty name."""
        self._has_begun = False
        """Whether an expiry has begun since the start."""
        self._reported: ExpiryHold | None = None
        self._state: RetentionState | None = None
        self._change = asyncio.Event()
        log.subscribe(self._note)

    async def run(self) -> None:
        """Expires now, for as long as it is behind, and at every interval; returns once the server drains."""
        while True:
            pause_seconds = BEHIND_SECONDS
            try:
                if self._commit_log.is_current:  # otherwise the log would refuse
                    pause_seconds = await self._pass()
            except DrainingError:
                return
            except ConfigurationError as error:  # of a node that could not follow the log at its start
                if not self._commit_log.failure.done():
                    self._commit_log.failure.set_exception(error)
                return
            except UnavailableError as error:
                pause_seconds = RETRY_SECONDS
                _log.warning("expiry is tried again in %.0f s: %s", pause_seconds, error.fault)
            await self._wait_for_change(pause_seconds)

    async def _wait_for_change(self, seconds: float) -> None:
        """Waits, but not once an operator has changed the retention or released a hold."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._change.wait()
        self._change.clear()

    def _note(self, applied: Applied) -> None:
        if self._state not in {None, applied.retention}:
            self._change.set()
        self._state = applied.retention

    async def _pass(self) -> float:
        """Removes what is due, for a limited time; returns how many seconds the next pass may wait."""
        # The commit shows this node's clock to the store and to other nodes, and changes nothing else.
        await self._submit(ExpireUploads(0))
        retention_ms = await self._agreed_retention_ms()
        clock_ms = now_ms()
        fault = self._clock.fault()
        hold = (await self._readers.run(lambda reader: reader.retention())).hold
        if hold is None:
            fault = fault or await self._large_removal(retention_ms, clock_ms)
            if fault is not None:
                hold = (await self._committer.submit(fault, returns=RetentionState)).hold
        if hold is not None:
            return await self._wait_for_release(hold, clock_ms)
        self._reported = None
        self._has_begun = True
        return await self._expire(clock_ms - retention_ms, clock_ms)

    async def _expire(self, before_ms: int, clock_ms: int) -> float:
        until = time.monotonic() + self._max_pass_seconds
        uploads = ExpireUploads(clock_ms - self._terms.idle_uploads_ms, finished_before_ms=before_ms)
        through_ms = clock_ms + MAX_DIFFERENCE_MS
        events = upload_rows = 0
        try:
            async for count in self._repeat(uploads, until=until):
                upload_rows += count
            accounts = await self._readers.run(
                lambda reader: reader.receive_times.accounts_due(
                    accepted_before_ms=before_ms, clock_ms=through_ms
                )
            )
            # Those with least to remove first: one that is filled as fast as it expires holds up no other.
            for account_id, due in sorted(accounts.items(), key=lambda each: each[1]):
                step = ExpireEvents(account_id, before_ms, _STEP_EVENTS, through_ms)
                steps = _STEPS_A_COMMIT if due > _STEP_EVENTS else 1
                async for count in self._repeat(step, until=until, steps=steps):
                    events += count
                if time.monotonic() > until:
                    return 0.0
        finally:  # the count must not be lost with the rest of the pass
            if events or upload_rows:
                _log.info(
                    "removed %d events that were accepted before %s, and %d rows of uploads",
                    *(events, time_text(before_ms), upload_rows),
                )
                self._expired.value += events
        return min(INTERVAL_SECONDS, max(_MIN_INTERVAL_SECONDS, (clock_ms - before_ms) / 10_000))

    async def _repeat(
        self, operation: ExpireEvents | ExpireUploads, *, until: float, steps: int = 1
    ) -> AsyncIterator[int]:
        """Repeats a bounded operation until it finds nothing left to expire; yields the rows expired."""
        account_id = operation.account_id if isinstance(operation, ExpireEvents) else ""
        if time.monotonic() < self._damaged.get(account_id, 0.0):
            return
        while True:
            began = time.monotonic()
            # Some steps may be committed though others fail.
            results = await asyncio.gather(
                *(self._submit(operation) for _ in range(steps)), return_exceptions=True
            )
            counts = [result for result in results if isinstance(result, int)]
            yield sum(counts)
            for error in results:
                if isinstance(error, DataDamagedError):
                    self._note_damage(account_id, error)
                    return
                if isinstance(error, BaseException):
                    raise error
            if not counts[-1] or time.monotonic() > until:
                return
            if self._committer.is_busy:
                await asyncio.sleep(_PAUSE_FACTOR * (time.monotonic() - began))

    def _note_damage(self, account_id: str, error: DataDamagedError) -> None:
        self._damaged[account_id] = time.monotonic() + DAMAGE_RETRY_SECONDS
        _log.error(
            "%s cannot expire because of damage, and the rest goes on: %s. Run `engagement check %s`",
            f"account {account_id}" if account_id else "uploads",
            *(error.message, self._terms.folder),
        )

    async def _submit(self, operation: Operation) -> int:
        return await self._committer.submit(operation, returns=int)

    async def _agreed_retention_ms(self) -> int:
        """The retention of the store.

        Raises ConfigurationError if this server was started with another, before it was changed.
        """
        state = await self._readers.run(lambda reader: reader.retention())
        if state.retention_ms is None:
            state = await self._committer.submit(self._terms.first_retention(), returns=RetentionState)
        retention_ms, before_ms = state.retention_ms, self._agreed_ms
        assert retention_ms is not None
        if before_ms is None:
            self._terms.require_agreement(state)
        elif before_ms != retention_ms:
            _log.warning(
                "events are kept for %s from now on; before, %s%s",
                *(duration_text(retention_ms), duration_text(before_ms)),
                "" if self._terms.retention_ms in {None, retention_ms} else _LEAVE_OUT,
            )
        self._agreed_ms = retention_ms
        return retention_ms

    async def _large_removal(self, retention_ms: int, clock_ms: int) -> HoldExpiry | None:
        """The hold that the first expiry after the start calls for if it would remove too much."""
        if self._has_begun or (self._terms.allows_short and retention_ms < DAY_MS):
            return None

        def count(reader: Reader) -> tuple[int, int, int]:
            with reader.transaction():
                due, stored, confirmed = reader.receive_times.count_due(
                    accepted_before_ms=clock_ms - retention_ms,
                    confirmed_before_ms=reader.retention().confirmed_before_ms,
                    clock_ms=clock_ms + MAX_DIFFERENCE_MS,
                )
                return due - confirmed, stored, reader.last_commit_ms()

        due, stored, last_commit_ms = await self._readers.run(count)
        if due * MAX_FIRST_SHARE <= stored:
            return None
        return HoldExpiry(v1.ExpiryHold.REASON_LARGE_REMOVAL, last_commit_ms, clock_ms)

    async def _wait_for_release(self, hold: ExpiryHold, clock_ms: int) -> float:
        """Reports a hold once, and ends it if the clock has returned."""
        if self._reported != hold:
            self._reported = hold
            _log.warning(
                "expiry is held since %s: %s; nothing is removed until %s`engagement expiry release`",
                *(time_text(hold.since_ms), hold_text(hold)),
                "" if hold.reason == v1.ExpiryHold.REASON_LARGE_REMOVAL else "the clock is right again, or ",
            )
        if not self._has_returned(hold, clock_ms):
            return HELD_INTERVAL_SECONDS
        if await self._submit(ReleaseExpiry(0, hold.since_ms)):
            _log.info("expiry goes on: the clock agrees with the commits again")
            return 0.0
        return HELD_INTERVAL_SECONDS

    def _has_returned(self, hold: ExpiryHold, clock_ms: int) -> bool:
        match hold.reason:
            case v1.ExpiryHold.REASON_CLOCK_AHEAD | v1.ExpiryHold.REASON_CLOCK_BEHIND:
                return self._clock.agrees and is_returned(hold, clock_ms=clock_ms)
            case v1.ExpiryHold.REASON_CLOCKS_DISAGREE:
                return self._clock.agrees
            case _:
                return False


def hold_text(hold: ExpiryHold) -> str:
    """Why expiry is held, for an operator."""
    clock, commit = time_text(hold.clock_ms), time_text(hold.commit_ms)
    difference = duration_text(abs(hold.clock_ms - hold.commit_ms))
    match hold.reason:
        case v1.ExpiryHold.REASON_CLOCK_AHEAD:
            return f"the clock ({clock}) is {difference} ahead of the last commit ({commit})"
        case v1.ExpiryHold.REASON_CLOCK_BEHIND:
            return f"the clock ({clock}) is {difference} behind the last commit ({commit})"
        case v1.ExpiryHold.REASON_CLOCKS_DISAGREE:
            return f"the clocks of two nodes differ by {difference} ({clock} and {commit})"
        case _:
            return (
                f"the first expiry after the start, at {clock}, would remove more than a tenth of the events"
            )
