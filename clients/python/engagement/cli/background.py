"""Reads what blocks in a thread of its own, so that the event loop goes on meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterable
from typing import Final, Generic, TypeVar

MAX_WAITING_ITEMS: Final = 500
MAX_WAITING_BYTES: Final = 4 * 1024 * 1024

_Item = TypeVar("_Item")


async def read_in_background(
    items: Iterable[_Item], *, size_of: Callable[[_Item], int]
) -> AsyncGenerator[list[_Item], None]:
    """The same items, in lists of what was read meanwhile; at most so many items and bytes wait.

    An item of a slow source is handed out at once. Nobody waits for the thread, as the interpreter does
    for those of an executor: a program that is interrupted while its source is silent ends at once.
    """
    reader = _Reader(items, size_of=size_of, loop=asyncio.get_running_loop())
    threading.Thread(target=reader.read, name="reader", daemon=True).start()
    try:
        while some := await reader.take():
            yield some
    finally:
        reader.stop()


class _Reader(Generic[_Item]):
    """What the thread has read and the event loop has not taken."""

    def __init__(
        self, items: Iterable[_Item], *, size_of: Callable[[_Item], int], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._items = items
        self._size_of = size_of
        self._loop = loop
        self._waiting: list[_Item] = []
        self._waiting_bytes = 0
        self._has_ended = False
        self._error: BaseException | None = None
        self._room = threading.Condition()
        self._has_news = asyncio.Event()

    def read(self) -> None:
        """Reads everything, in the thread."""
        try:
            for item in self._items:
                if not self._put(item):
                    return
        except BaseException as error:  # raised in the event loop instead
            self._error = error
        with self._room:
            if not self._has_ended:
                self._has_ended = True
                self._loop.call_soon_threadsafe(self._has_news.set)

    async def take(self) -> list[_Item]:
        """What has been read, at least one item; nothing at the end."""
        while True:
            await self._has_news.wait()
            with self._room:
                self._has_news.clear()
                some, self._waiting, self._waiting_bytes = self._waiting, [], 0
                self._room.notify()
                if some:
                    if self._has_ended:
                        self._has_news.set()
                    return some
                if self._has_ended:
                    break
        if self._error is not None:
            raise self._error
        return []

    def stop(self) -> None:
        """Nothing more is taken."""
        with self._room:
            self._has_ended = True
            self._room.notify()

    def _put(self, item: _Item) -> bool:
        """Adds an item when there is room; False where nobody wants it."""
        with self._room:
            self._room.wait_for(self._has_room)
            if self._has_ended:
                return False
            self._waiting.append(item)
            self._waiting_bytes += self._size_of(item)
            if len(self._waiting) == 1:
                self._loop.call_soon_threadsafe(self._has_news.set)
            return True

    def _has_room(self) -> bool:
        is_full = len(self._waiting) >= MAX_WAITING_ITEMS or self._waiting_bytes >= MAX_WAITING_BYTES
        return self._has_ended or not is_full
