"""A bounded pool of threads that read the store, each through its own connection."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import apsw

from engagement_server.errors import OverloadedError
from engagement_server.store.failures import failure_of
from engagement_server.store.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Callable

    from engagement_server.store.database import DatabaseFile

T = TypeVar("T")

MAX_WAITING_READS = 1000
"""Reads that run or wait; more are refused, since their answers would come too late anyway."""

_INTERRUPT_SECONDS = 0.02


class Readers:
    """Runs reads off the event loop."""

    def __init__(self, database: DatabaseFile, *, threads: int) -> None:
        self._database = database
        self._local = threading.local()
        self._connections: list[apsw.Connection] = []
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="store-reader")
        self._waiting = 0

    async def run(self, read: Callable[[Reader], T]) -> T:
        """Runs `read` with a reader of the pool.

        Raises OverloadedError, StoreUnavailableError, DataDamagedError and what `read` raises.
        """
        if self._waiting >= MAX_WAITING_READS:
            raise OverloadedError
        self._waiting += 1
        try:
            try:
                reading = asyncio.get_running_loop().run_in_executor(self._executor, self._read, read)
            except RuntimeError as error:  # a thread could not be started; the next call tries again
                raise OverloadedError from error
            return await reading
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Interrupts running reads, whose callers are gone, and closes the connections."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        ending = threading.Thread(target=self._executor.shutdown, name="store-readers-end")
        ending.start()
        while ending.is_alive():
            for connection in list(self._connections):
                connection.interrupt()  # only the statement that runs now
            ending.join(_INTERRUPT_SECONDS)
        for connection in self._connections:
            connection.close()

    def _read(self, read: Callable[[Reader], T]) -> T:
        try:
            reader = self._reader()
            result = read(reader)
            reader.require_checked()
        except apsw.Error as error:
            raise failure_of(error) from error
        return result

    def _reader(self) -> Reader:
        """The reader of this thread, opened by the first call that succeeds."""
        if not hasattr(self._local, "reader"):
            connection = self._database.open_reader()
            self._connections.append(connection)
            self._local.reader = Reader(connection)
        reader: Reader = self._local.reader
        return reader
