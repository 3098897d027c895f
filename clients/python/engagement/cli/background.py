"""Reads what blocks in a thread of its own, so that the event loop goes on meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterable
from concurrent.futures import Future
from itertools import islice
from queue import SimpleQueue
from typing import TypeVar

_Item = TypeVar("_Item")


async def read_in_background(items: Iterable[_Item]) -> AsyncGenerator[_Item, None]:
    """The same items, each read when it is asked for.

    Nobody waits for the thread, as the interpreter does for those of an executor: a program that is
    interrupted while its standard input is silent ends at once.
    """
    iterator = iter(items)
    thread = _Thread()
    try:
        # A list, because StopIteration cannot leave a future.
        while item := await thread.run(lambda: list(islice(iterator, 1))):
            yield item[0]
    finally:
        thread.stop()


class _Thread:
    """Runs one function after the other, off the event loop."""

    def __init__(self) -> None:
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        threading.Thread(target=self._run_all, name="reader", daemon=True).start()

    async def run(self, function: Callable[[], _Item]) -> _Item:
        """What the function returns or raises."""
        future: Future[_Item] = Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(function())
            except Exception as error:
                future.set_exception(error)

        self._work.put(work)
        return await asyncio.wrap_future(future)

    def stop(self) -> None:
        """Ends the thread after what it does now."""
        self._work.put(None)

    def _run_all(self) -> None:
        for work in iter(self._work.get, None):
            work()
