"""Groups waiting operations into commits: larger groups under load, at once on an idle server."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, TypeVar, cast

from engagement_server.clock import now_ms
from engagement_server.errors import (
    DataDamagedError,
    DrainingError,
    OverloadedError,
    RequestError,
    UnavailableError,
)
from engagement_server.operations import Commit, CommitChunk, RecordBatch
from engagement_server.supervision import call_all

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from engagement_server.log.base import CommitLog
    from engagement_server.operations import Operation, Result

# A commit of this size takes tens of milliseconds: enough to share an fsync, short enough to wait for.
_MAX_COMMIT_EVENTS = 4_000
_MAX_COMMIT_BYTES = 8 * 1024 * 1024
MAX_WAITING_BYTES = 32 * 1024 * 1024
"""Beyond this, calls are refused and streams get back-pressure."""
_OPERATION_BYTES = 256
_MIN_CONCURRENT_BYTES = 64 * 1024

R = TypeVar("R")

_log = logging.getLogger(__name__)


class Committer:
    """The only way to change state. Cancelling a caller does not cancel its operation."""

    def __init__(self, log: CommitLog) -> None:
        self._log = log
        self._waiting: deque[tuple[Operation, int, asyncio.Future[Result]]] = deque()
        self._waiting_bytes = 0
        self._arrival = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._is_closing = False
        self._in_flight = 0  # commits
        self._callbacks: list[Callable[[Sequence[Operation]], None]] = []
        self._tasks = [
            asyncio.create_task(self._run(), name="committer") for _ in range(log.max_concurrent_commits)
        ]

    @property
    def is_busy(self) -> bool:
        """Whether an operation is waiting or being committed."""
        return bool(self._in_flight or self._waiting)

    def subscribe(self, callback: Callable[[Sequence[Operation]], None]) -> None:
        """Registers `callback` for the operations of each commit made here; it must not block or raise."""
        self._callbacks.append(callback)

    async def submit(self, operation: Operation, *, returns: type[R]) -> R:
        """Commits an operation; its result has the type that the operation's docstring names.

        Raises the operation's error, StoreUnavailableError, OverloadedError and DrainingError.
        """
        if not self._room.is_set():
            raise OverloadedError
        return cast("R", await self.enqueue(operation))  # the operation's docstring is the contract

    def enqueue(self, operation: Operation) -> asyncio.Future[Result]:
        """Appends an operation to the queue; call `wait_for_room` first. Raises DrainingError."""
        if self._is_closing:
            raise DrainingError
        size_bytes = _OPERATION_BYTES
        if isinstance(operation, RecordBatch | CommitChunk):
            size_bytes += operation.batch.size_bytes
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((operation, size_bytes, future))
        self._waiting_bytes += size_bytes
        if self._waiting_bytes > MAX_WAITING_BYTES:
            self._room.clear()
        self._arrival.set()
        return future

    async def wait_for_room(self) -> None:
        """Returns once the queue is below its limit."""
        while not self._room.is_set():  # another waiter may have filled it again
            await self._room.wait()

    async def close(self) -> None:
        """Refuses new operations and commits the waiting ones."""
        self._is_closing = True
        self._arrival.set()
        await asyncio.wait(self._tasks)

    async def _run(self) -> None:
        """Commits one group after another; as many of these loops run as the log has use for."""
        while not self._is_closing or self._waiting:
            if not self._should_commit():
                self._arrival.clear()
                await self._arrival.wait()
                continue
            self._in_flight += 1
            try:
                await self._commit(*self._take_group())
            finally:
                self._in_flight -= 1
        self._arrival.set()  # wakes the loops that waited for this commit

    def _should_commit(self) -> bool:
        # While a commit is in flight, small work waits to share the next one.
        return bool(self._waiting) and (not self._in_flight or self._waiting_bytes >= _MIN_CONCURRENT_BYTES)

    async def _commit(
        self, operations: Sequence[Operation], futures: Sequence[asyncio.Future[Result]]
    ) -> None:
        try:
            results = await self._results_of(operations)
        except Exception as error:  # no caller of the group may wait for ever
            _log.error("a commit of %d operations failed: %s", len(operations), _reason(error))
            for future in futures:
                if not future.done():
                    future.set_exception(error)
            return
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
                _log.error("a commit failed: %s", error.__cause__ or error)
                results.append(error)
        return results

    def _take_group(self) -> tuple[list[Operation], list[asyncio.Future[Result]]]:
        operations: list[Operation] = []
        futures: list[asyncio.Future[Result]] = []
        events, taken_bytes = 0, 0
        while self._waiting and events < _MAX_COMMIT_EVENTS and taken_bytes < _MAX_COMMIT_BYTES:
            operation, size_bytes, future = self._waiting.popleft()
            operations.append(operation)
            futures.append(future)
            taken_bytes += size_bytes
            if isinstance(operation, RecordBatch | CommitChunk):
                events += len(operation.batch.records)
        self._waiting_bytes -= taken_bytes
        if self._waiting_bytes <= MAX_WAITING_BYTES:
            self._room.set()
        return operations, futures


def _reason(error: Exception) -> object:
    """Why a commit failed, for operators."""
    if error.__cause__ is None and isinstance(error, UnavailableError):
        return error.fault
    return error.__cause__ or error
