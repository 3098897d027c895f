"""Runs erasures to completion: erases the events, keeps them from being sent, and purges their bytes."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from engagement_server.errors import (
    DrainingError,
    ErasureNotFoundError,
    OverloadedError,
    RequestError,
    UnavailableError,
)
from engagement_server.model import NO_ERASURE, ErasureState
from engagement_server.operations import BeginErasure, CompleteErasure, EraseEvents

if TYPE_CHECKING:
    from engagement_server.governor.turns import Caller
    from engagement_server.log.base import CommitLog
    from engagement_server.log.committer import Committer
    from engagement_server.store.readers import Readers

MAX_RUNNING_ERASURES = 1000
"""Limit on erasures that run or wait; more are refused. They run one after the other."""
# Commits of ingest run between those of an erasure. Several steps share a commit, which then holds up other
# work for about a tenth of a second.
_STEPS_A_COMMIT = 3
_MIN_RETRY_SECONDS = 0.2
_MAX_RETRY_SECONDS = 10.0
# Two nodes that run the same erasure do no harm, only work twice.
_RESUME_SECONDS = 60.0

_log = logging.getLogger(__name__)


class Erasures:
    """All erasures of a partition: each runs once, however many calls wait for it."""

    def __init__(self, *, committer: Committer, readers: Readers, log: CommitLog) -> None:
        self._committer = committer
        self._readers = readers
        self._commit_log = log
        self._runs: dict[tuple[str, str], asyncio.Task[ErasureState]] = {}
        self._turn = asyncio.Lock()
        self._purging = asyncio.Lock()
        self._next_purge: asyncio.Task[None] | None = None
        self._purges: set[asyncio.Task[None]] = set()
        self._is_stopping = False

    async def erase(self, begin: BeginErasure, *, caller: Caller | None = None) -> ErasureState:
        """Begins an erasure, or joins that of the same request, and returns once it is complete.

        Cancelling the caller does not stop it. Raises RequestIdReusedError, OverloadedError,
        StoreUnavailableError and DrainingError.
        """
        if len(self._runs) >= MAX_RUNNING_ERASURES:
            raise OverloadedError
        state = await self._committer.submit(begin, returns=ErasureState, caller=caller)
        if state.number == NO_ERASURE:
            return state
        if state.complete_time_ms is not None:
            await self._commit_log.settle()  # another node may have completed it
            return state
        if self._is_stopping:
            raise DrainingError
        run = self._run_of(begin.account_id, state.erasure_id)
        await asyncio.wait([run])
        if run.cancelled():
            raise DrainingError
        try:
            return run.result()
        except ErasureNotFoundError:  # it has found nothing, and another node has forgotten it
            return replace(state, number=NO_ERASURE)

    async def stop(self) -> None:
        """Ends running erasures between two steps; they are resumed after a restart."""
        self._is_stopping = True
        tasks = [*self._runs.values(), *self._purges]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def resume(self) -> None:
        """Keeps resuming incomplete erasures whose node has stopped or is gone; never returns."""
        while True:
            try:
                running = await self._readers.run(lambda reader: reader.erasures.running())
            except UnavailableError as error:
                _log.warning("erasures are waiting for the store: %s", error.fault)
                await asyncio.sleep(_MAX_RETRY_SECONDS)
                continue
            for account_id, erasure_id in running:
                self._run_of(account_id, erasure_id)
            await asyncio.sleep(_RESUME_SECONDS)

    def _run_of(self, account_id: str, erasure_id: str) -> asyncio.Task[ErasureState]:
        key = account_id, erasure_id
        run = self._runs.get(key)
        if run is None:
            run = self._runs[key] = asyncio.create_task(self._run(*key), name=f"erasure-{erasure_id}")
            run.add_done_callback(lambda _: self._runs.pop(key))
            run.add_done_callback(_retrieve_error)
        return run

    async def _run(self, account_id: str, erasure_id: str) -> ErasureState:
        """Runs an erasure until it is complete, through any outage."""
        delay_seconds = _MIN_RETRY_SECONDS
        while True:
            try:
                return await self._complete(account_id, erasure_id)
            except DrainingError:
                raise
            except UnavailableError as error:
                _log.warning("erasure %s resumes in %.1f s: %s", erasure_id, delay_seconds, error.fault)
            except ErasureNotFoundError:
                raise
            except RequestError as error:
                _log.error("erasure %s is postponed for a minute: %s", erasure_id, error.fault)
                raise
            except Exception:
                _log.exception("erasure %s failed; it is retried later", erasure_id)
                raise
            await asyncio.sleep(delay_seconds)
            delay_seconds = min(2 * delay_seconds, _MAX_RETRY_SECONDS)

    async def _complete(self, account_id: str, erasure_id: str) -> ErasureState:
        async with self._turn:
            state = await self._submit(EraseEvents(account_id, erasure_id))
            while state.has_more:
                steps = [self._submit(EraseEvents(account_id, erasure_id)) for _ in range(_STEPS_A_COMMIT)]
                *_, state = await asyncio.gather(*steps)
        await self._purge()
        state = await self._submit(CompleteErasure(account_id, erasure_id))
        if state.number == NO_ERASURE:
            await self._purge()  # of the record that is forgotten
        return state

    async def _submit(self, operation: EraseEvents | CompleteErasure) -> ErasureState:
        return await self._committer.submit(operation, returns=ErasureState)

    async def _purge(self) -> None:
        """Settles and purges once for all erasures that wait for the next purge."""
        if self._next_purge is None:
            self._next_purge = asyncio.create_task(self._begin_purge(), name="purge")
            self._purges.add(self._next_purge)
            self._next_purge.add_done_callback(self._purges.discard)
            self._next_purge.add_done_callback(_retrieve_error)
        await asyncio.shield(self._next_purge)

    async def _begin_purge(self) -> None:
        async with self._purging:
            self._next_purge = None
            await self._commit_log.settle()
            await self._commit_log.purge()


def _retrieve_error(task: asyncio.Task[Any]) -> None:  # Any: the result does not matter
    """Keeps the loop from reporting an error that was logged and that no caller waits for."""
    if not task.cancelled():
        task.exception()
