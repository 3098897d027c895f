"""The only thread that writes the store, which keeps the event loop free."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from engagement_server.store.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable

    from engagement_server.store.database import DatabaseFile, Identity, StoreState

T = TypeVar("T")


async def inspect_store(database: DatabaseFile) -> StoreState | None:
    """As `DatabaseFile.inspect`, whose upgrade of the schema may take minutes, beside the event loop.

    If cancelled, it waits until the store is closed. Raises ConfigurationError.
    """
    return await _in_thread(database.inspect, name="inspect-store")


async def prepare_store(database: DatabaseFile, identity: Identity | None = None) -> None:
    """Creates or upgrades a store before a log opens it, without blocking the event loop.

    If cancelled, it waits until the store is closed. Raises ConfigurationError.
    """
    is_stopped = threading.Event()

    def prepare() -> None:
        database.open_writer(identity, is_stopped=is_stopped.is_set).close()

    await _in_thread(prepare, name="prepare-store", stop=is_stopped.set)


async def _in_thread(work: Callable[[], T], *, name: str, stop: Callable[[], None] = lambda: None) -> T:
    """Runs work with a store. If cancelled, it asks it to `stop`, and waits until it has ended."""
    working = asyncio.create_task(asyncio.to_thread(work), name=name)
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        stop()
        await asyncio.wait([working])
        if not working.cancelled():
            working.exception()  # that it was stopped, which nobody asks for
        raise


class WriterThread:
    """Runs functions on the writer, one at a time, in the order of the calls."""

    def __init__(self, database: DatabaseFile, identity: Identity | None = None) -> None:
        """Opens the store; a new one gets the identity. Raises ConfigurationError."""
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="store-writer")
        self._writer, self._close = self._executor.submit(_open_writer, database, identity).result()
        with database.usable():
            self.position = self._executor.submit(lambda: self._writer.position).result()
            """The last entry of the log that the view had applied when it was opened."""
            self.divergence = self._executor.submit(lambda: self._writer.divergence).result()
            """How the view differed from others of its log when it was opened."""
            self.last_erasure_ms = self._executor.submit(lambda: self._writer.last_erasure_ms).result()
            """Start of the last erasure before the store was opened, in epoch milliseconds; 0: none."""
        self._purging = asyncio.Lock()

    async def run(self, work: Callable[[Writer], T]) -> T:
        """Runs `work` with the writer."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, work, self._writer)

    async def purge(self) -> None:
        """See `CommitLog.purge`."""
        async with self._purging:
            steps = await self.run(Writer.purge)
            try:
                while True:
                    pause_seconds = await self.run(lambda _: next(steps, None))
                    if pause_seconds is None:
                        return
                    await asyncio.sleep(pause_seconds)
            finally:
                await self.run(lambda _: steps.close())

    async def purge_if_due(self) -> None:
        """Purges the view if an erasure has left bytes in it."""
        if await self.run(lambda writer: writer.is_purge_due):
            await self.purge()

    async def close(self) -> None:
        """Closes the store once the running function has returned."""
        await self.run(lambda _: self._close())
        self._executor.shutdown()


def _open_writer(database: DatabaseFile, identity: Identity | None) -> tuple[Writer, Callable[[], None]]:
    """The writer of a store, and how to close the store."""
    connection = database.open_writer(identity)
    with database.usable():
        return Writer(connection, require_present=database.require_present), connection.close
