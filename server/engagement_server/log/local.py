"""The commit log of a single machine: the transaction of the SQLite file is log and view at once."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from engagement_server.store.writer import Writer

if TYPE_CHECKING:
    from engagement_server.errors import RequestError
    from engagement_server.log.base import Listener
    from engagement_server.operations import Commit, Result
    from engagement_server.store.database import DatabaseFile


class LocalLog:
    """Applies each commit on the writer's own thread, so that the event loop goes on meanwhile."""

    def __init__(self, database: DatabaseFile) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="store-writer")
        self._connection = self._executor.submit(database.open_writer).result()
        self._writer = Writer(self._connection)
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        """See `CommitLog.listen`."""
        self._listeners.append(listener)

    async def commit(self, commit: Commit) -> list[Result | RequestError]:
        """See `CommitLog.commit`."""
        applied = await asyncio.get_running_loop().run_in_executor(self._executor, self._writer.apply, commit)
        for listener in self._listeners:
            listener(applied.tails)
        return applied.results

    async def purge(self) -> None:
        """See `CommitLog.purge`."""
        await asyncio.get_running_loop().run_in_executor(self._executor, self._writer.purge)

    async def close(self) -> None:
        """See `CommitLog.close`."""
        await asyncio.get_running_loop().run_in_executor(self._executor, self._connection.close)
        self._executor.shutdown()
