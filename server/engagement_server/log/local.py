"""The commit log of a single machine: the transaction of the SQLite file is log and view at once."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from engagement_server.store.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable

    from engagement_server.errors import RequestError
    from engagement_server.log.base import Listener
    from engagement_server.operations import Commit, Result
    from engagement_server.store.database import DatabaseFile

T = TypeVar("T")


class LocalLog:
    """Applies each commit on the writer's own thread, so that the event loop goes on meanwhile."""

    def __init__(self, database: DatabaseFile) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="store-writer")
        self._connection = self._executor.submit(database.open_writer).result()
        self._writer = Writer(self._connection)
        self._listeners: list[Listener] = []
        self._purging = asyncio.Lock()

    def listen(self, listener: Listener) -> None:
        """See `CommitLog.listen`."""
        self._listeners.append(listener)

    async def commit(self, commit: Commit) -> list[Result | RequestError]:
        """See `CommitLog.commit`."""
        applied = await self._run(lambda: self._writer.apply(commit))
        for listener in self._listeners:
            listener(applied)
        return applied.results

    async def purge(self) -> None:
        """See `CommitLog.purge`."""
        async with self._purging:
            parts = self._writer.purge()
            try:
                while True:
                    pause_seconds = await self._run(lambda: next(parts, None))
                    if pause_seconds is None:
                        return
                    await asyncio.sleep(pause_seconds)
            finally:
                await self._run(parts.close)

    async def close(self) -> None:
        """See `CommitLog.close`."""
        await self._run(self._connection.close)
        self._executor.shutdown()

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)
