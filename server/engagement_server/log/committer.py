"""Groups waiting operations into commits: larger groups under load, at once on an idle server."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, TypeVar, cast

from engagement_server.clock import now_ms
from engagement_server.errors import (
    DataDamagedError,
    DrainingError,
    OverloadedError,
    RequestError,
)
from engagement_server.governor.turns import Caller
from engagement_server.log.commit_spans import begin_commit
from engagement_server.log.waiting import LANES, WaitingOperations, waiting
from engagement_server.operations import Commit
from engagement_server.supervision import call_all
from engagement_server.telemetry.exceptions import summary
from engagement_server.telemetry.spans import child, current_span, within

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from engagement_server.log.base import CommitLog
    from engagement_server.log.commit_counts import CommitCounts
    from engagement_server.log.waiting import Group, Lane, Waiting
    from engagement_server.operations import Operation, Result

_MIN_CONCURRENT_BYTES = 64 * 1024
_NO_CONNECTION = "server"

R = TypeVar("R")

_log = logging.getLogger(__name__)


class Committer:
    """The only way to change state. Cancelling a caller does not cancel its operation."""

    def __init__(
        self,
        log: CommitLog,
        *,
        max_call_bytes: int = 64 * 1024 * 1024,
        max_upload_bytes: int = 32 * 1024 * 1024,
        counts: CommitCounts | None = None,
    ) -> None:
        """Takes the room for calls that wait, and that for uploads; `counts` hears of each commit."""
        self._log = log
        self._counts = counts
        self._waiting = WaitingOperations(
            max_call_bytes=max_call_bytes,
            max_upload_bytes=max_upload_bytes,
            are_joined=log.takes_lanes_apart,
        )
        self._is_closing = False
        self._callbacks: list[Callable[[Sequence[Operation]], None]] = []
        ways = [(lane,) for lane in LANES] if log.takes_lanes_apart else [LANES]
        self._ways = [_Way(lanes) for lanes in ways]
        self._tasks = [
            asyncio.create_task(self._run(way), name="committer")
            for way in self._ways
            for _ in range(log.max_concurrent_commits)
        ]

    @property
    def is_busy(self) -> bool:
        """Whether an operation is waiting or being committed."""
        return self._waiting.has_any() or any(way.in_flight for way in self._ways)

    @property
    def waiting_bytes(self) -> int:
        """Bytes of the operations that wait."""
        return self._waiting.waiting_bytes(LANES)

    def subscribe(self, callback: Callable[[Sequence[Operation]], None]) -> None:
        """Registers `callback` for the operations of each commit made here; it must not block or raise."""
        self._callbacks.append(callback)

    async def submit(self, operation: Operation, *, returns: type[R], caller: Caller | None = None) -> R:
        """Commits an operation; its result has the type that the operation's docstring names.

        Raises the operation's error, StoreUnavailableError, OverloadedError and DrainingError.
        """
        with child("wait for commit"):
            entry = self._entry([operation], caller)
            if not self._waiting.has_room(entry):
                raise OverloadedError
            self._enqueue(entry)
            return cast("R", await entry.results[0])  # the operation's docstring is the contract

    def enqueue(
        self, *operations: Operation, caller: Caller | None = None
    ) -> Sequence[asyncio.Future[Result]]:
        """Appends operations that were admitted elsewhere, for one commit; returns their results to come.

        Raises DrainingError.
        """
        entry = self._entry(operations, caller)
        self._enqueue(entry)
        return entry.results

    async def enqueue_in_turn(
        self,
        operation: Operation,
        *,
        caller: Caller | None = None,
        on_enqueued: Callable[[], None] | None = None,
    ) -> asyncio.Future[Result]:
        """Appends an operation once there is room; returns its result to come.

        Calls `on_enqueued` as it appends the operation. Cancelled before, it appends nothing. Raises
        DrainingError.
        """
        entry = self._entry([operation], caller, on_enqueued)
        await self._waiting.enqueue_in_turn(entry)
        self._wake(entry)
        return entry.results[0]

    async def close(self) -> None:
        """Refuses new operations and commits the waiting ones."""
        self._is_closing = True
        for way in self._ways:
            way.arrival.set()
        await asyncio.wait(self._tasks)

    def _entry(
        self,
        operations: Sequence[Operation],
        caller: Caller | None,
        on_enqueued: Callable[[], None] | None = None,
    ) -> Waiting:
        if self._is_closing:
            raise DrainingError
        if caller is None:
            caller = Caller(_NO_CONNECTION, getattr(operations[0], "account_id", ""))
        return waiting(operations, caller, on_enqueued)

    def _enqueue(self, entry: Waiting) -> None:
        self._waiting.enqueue(entry)
        self._wake(entry)

    def _wake(self, entry: Waiting) -> None:
        for way in self._ways:
            if entry.lane in way.lanes:
                way.arrival.set()

    async def _run(self, way: _Way) -> None:
        """Commits one group after another; as many of these loops run as the log has use for."""
        while not self._is_closing or self._waiting.has_any(way.lanes):
            if not self._should_commit(way):
                way.arrival.clear()
                await way.arrival.wait()
                continue
            way.in_flight += 1
            try:
                await self._commit_group(self._waiting.take_group(way.lanes))
            finally:
                way.in_flight -= 1
        way.arrival.set()  # wakes the loops that waited for this commit

    def _should_commit(self, way: _Way) -> bool:
        # While a commit is in flight, small work waits to share the next one.
        return self._waiting.has_any(way.lanes) and (
            not way.in_flight or self._waiting.waiting_bytes(way.lanes) >= _MIN_CONCURRENT_BYTES
        )

    async def _commit_group(self, group: Group) -> None:
        began = time.monotonic()
        with within(begin_commit(group)):
            await self._commit(group.operations, group.results)
        if group.has_background:
            self._waiting.note_background(time.monotonic() - began)

    async def _commit(
        self, operations: Sequence[Operation], futures: Sequence[asyncio.Future[Result]]
    ) -> None:
        began = time.monotonic()
        try:
            results = await self._results_of(operations)
        except Exception as error:  # no caller of the group may wait for ever
            # A node that is behind or cut off has said so, and its clients try again.
            level = logging.ERROR if self._log.is_current else logging.WARNING
            if (span := current_span.get()) is not None:
                span.fail(type(error).__name__)
            _log.log(level, "a commit of %d operations failed: %s", len(operations), _reason(error))
            for future in futures:
                if not future.done():
                    future.set_exception(error)
            return
        if self._counts is not None:
            span = current_span.get()
            trace_id = "" if span is None else span.context.trace_id
            self._counts.note(operations, results, seconds=time.monotonic() - began, trace_id=trace_id)
        for future, result in zip(futures, results, strict=True):
            if future.done():  # its caller was cancelled
                continue
            if isinstance(result, RequestError):
                future.set_exception(result)
            else:
                future.set_result(result)
        call_all("committer", self._callbacks, operations)

    async def _results_of(self, operations: Sequence[Operation]) -> Sequence[Result | RequestError]:
        """Commits operations together; one by one if one of them meets damage that the others do not."""
        try:
            return await self._log.commit(Commit(operations, now_ms()))
        except DataDamagedError:
            if len(operations) == 1:
                raise
        results: list[Result | RequestError] = []
        for operation in operations:
            try:
                results += await self._log.commit(Commit([operation], now_ms()))
            except DataDamagedError as error:
                _log.error("a commit failed: %s", _reason(error))
                results.append(error)
        return results


class _Way:
    """Lanes whose operations share commits."""

    def __init__(self, lanes: Collection[Lane]) -> None:
        self.lanes = lanes
        self.arrival = asyncio.Event()
        self.in_flight = 0  # commits


def _reason(error: Exception) -> str:
    """Why a commit failed, for operators."""
    if error.__cause__ is None and isinstance(error, RequestError):
        return error.fault
    return summary(error.__cause__ or error)
