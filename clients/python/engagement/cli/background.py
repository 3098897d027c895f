"""Reads a blocking source in a thread of its own, so that the event loop keeps running."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Final, Generic, TypeVar

MAX_BATCH_ITEMS: Final = 200
MAX_BATCH_BYTES: Final = 4 * 1024 * 1024

_Item = TypeVar("_Item")


class BackgroundReader(Generic[_Item]):
    """Hands the items of a blocking source to the event loop, in batches bounded in number and bytes.

    The source calls `flush` before it waits for input, so that its earlier items are not held back. The
    thread is a daemon, unlike those of an executor: a program that is interrupted while its source waits
    ends at once.
    """

    def __init__(self, items: Iterable[_Item], *, size_of: Callable[[_Item], int]) -> None:
        self._items = items
        self._size_of = size_of
        self._batch: list[_Item] = []
        self._batch_bytes = 0
        self._requests: SimpleQueue[Future[list[_Item]] | None] = SimpleQueue()

    async def batches(self) -> AsyncGenerator[list[_Item], None]:
        """All items in order; no batch is empty."""
        threading.Thread(target=self._read, name="reader", daemon=True).start()
        try:
            while batch := await self._next_batch():
                yield batch
        finally:
            self._requests.put(None)

    def flush(self) -> None:
        """Hands over the items read so far, once they are requested; called in the thread."""
        if self._batch:
            batch, self._batch, self._batch_bytes = self._batch, [], 0
            self._await_request().set_result(batch)

    async def _next_batch(self) -> list[_Item]:
        request: Future[list[_Item]] = Future()
        self._requests.put(request)
        return await asyncio.wrap_future(request)

    def _read(self) -> None:
        try:
            try:
                for item in self._items:
                    self._batch.append(item)
                    self._batch_bytes += self._size_of(item)
                    if len(self._batch) >= MAX_BATCH_ITEMS or self._batch_bytes >= MAX_BATCH_BYTES:
                        self.flush()
                self.flush()
            except Exception as error:
                self._await_request().set_exception(error)
            else:
                self._await_request().set_result([])
        except _AbandonedError:
            return

    def _await_request(self) -> Future[list[_Item]]:
        """The next request; raises _AbandonedError if there will be none."""
        request = self._requests.get()
        if request is None or not request.set_running_or_notify_cancel():
            raise _AbandonedError
        return request


class _AbandonedError(BaseException):
    """The reader was abandoned; not an Exception, because it passes through the source."""
