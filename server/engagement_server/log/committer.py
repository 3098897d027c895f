"""Groups what waits into commits: under load the groups grow, and an idle server commits at once."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, TypeVar, cast

from engagement_server.clock import now_ms
from engagement_server.errors import DrainingError, OverloadedError, RequestError
from engagement_server.operations import Commit, CommitChunk, RecordBatch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from engagement_server.log.base import CommitLog
    from engagement_server.operations import Operation, Result

# A commit takes tens of milliseconds at this size: enough to share an fsync, short enough to wait for.
_MAX_COMMIT_EVENTS = 4_000
_MAX_COMMIT_BYTES = 8 * 1024 * 1024
# What may wait; more is refused or held back at the sender.
MAX_WAITING_BYTES = 32 * 1024 * 1024
_OPERATION_BYTES = 256
_MIN_CONCURRENT_BYTES = 64 * 1024

R = TypeVar("R")

_log = logging.getLogger(__name__)


class Committer:
    """The one way to change state. Cancelling a caller never takes back what it submitted."""

    def __init__(self, log: CommitLog) -> None:
        self._log = log
        self._waiting: deque[tuple[Operation, int, asyncio.Future[Result]]] = deque()
        self._waiting_bytes = 0
        self._arrival = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._is_closing = False
        self._running = 0
        """Commits that are under way."""
        self._listeners: list[Callable[[Sequence[Operation]], None]] = []
        self._tasks = [
            asyncio.create_task(self._run(), name="committer") for _ in range(log.max_concurrent_commits)
        ]

    @property
    def is_busy(self) -> bool:
        """Whether something is being committed or waits for it."""
        return bool(self._running or self._waiting)

    def subscribe(self, listener: Callable[[Sequence[Operation]], None]) -> None:
        """Has `listener` called with the operations of every commit; it must not block or raise."""
        self._listeners.append(listener)

    async def submit(self, operation: Operation, *, returns: type[R]) -> R:
        """Commits an operation; its result is of the type that the operation's docstring names.

        Raises the operation's refusal, StoreUnavailableError, OverloadedError and DrainingError.
        """
        if not self._room.is_set():
            raise OverloadedError
        return cast("R", await self.enqueue(operation))  # the operation's docstring is the contract

    def enqueue(self, operation: Operation) -> asyncio.Future[Result]:
        """Puts an operation in the order of commits; call `wait_for_room` first. Raises DrainingError."""
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
        """Waits until less waits than is allowed."""
        while not self._room.is_set():  # whoever woke up before may have filled it again
            await self._room.wait()

    async def close(self) -> None:
        """Refuses what comes from now on and commits what waits."""
        self._is_closing = True
        self._arrival.set()
        await asyncio.wait(self._tasks)

    async def _run(self) -> None:
        """Commits one group after the other; several of these run where the log has use for it."""
        while not self._is_closing or self._waiting:
            if not self._is_worth_a_commit():
                self._arrival.clear()
                await self._arrival.wait()
                continue
            self._running += 1
            try:
                await self._commit(*self._take_group())
            finally:
                self._running -= 1
        self._arrival.set()  # for those that waited for the end of this commit

    def _is_worth_a_commit(self) -> bool:
        # Beside another commit, a little that waits had better wait for more.
        return bool(self._waiting) and (not self._running or self._waiting_bytes >= _MIN_CONCURRENT_BYTES)

    async def _commit(
        self, operations: Sequence[Operation], futures: Sequence[asyncio.Future[Result]]
    ) -> None:
        try:
            results = await self._log.commit(Commit(operations, now_ms()))
        except Exception as error:  # every caller of the group is told, none waits for ever
            _log.error("a commit of %d operations failed: %s", len(operations), error.__cause__ or error)
            for future in futures:
                if not future.done():
                    future.set_exception(error)
            return
        for future, result in zip(futures, results, strict=True):
            if future.done():  # its caller went away
                continue
            if isinstance(result, RequestError):
                future.set_exception(result)
            else:
                future.set_result(result)
        for listener in self._listeners:
            listener(operations)

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
