"""Unary answers that clients have not taken, and the reads that may add to them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final, NamedTuple
from weakref import WeakValueDictionary

from engagement_server.errors import OverloadedError
from engagement_server.governor.turns import Caller, Room

if TYPE_CHECKING:
    from engagement_server.api.grpc.call import Context, GrpcCall

UNREAD_SECONDS: Final = 60.0
"""How long a client may leave the answer of a unary call unread."""
MAX_READS_OF_CONNECTION: Final = 4
"""Reads of one connection at a time; the others wait, until it shows whether its client takes answers."""
TURN_SECONDS = 0.5
"""How long a read may hold up others. A longer one waits for the log, which they may not have to."""
_COPIES: Final = 2
"""Of an answer that waits: ours, and that of the library."""


class _Unread(NamedTuple):
    """An answer that the client may not have taken."""

    call: GrpcCall
    caller: Caller
    size_bytes: int
    since: float


class Answers:
    """The answers of all unary calls, each from when it is ready until its client has taken it."""

    def __init__(self, max_bytes: int) -> None:
        self._room = Room(max_bytes)
        self._unread: dict[Context, _Unread] = {}
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        """Of each connection that reads."""

    def __len__(self) -> int:
        return len(self._unread)

    @asynccontextmanager
    async def turn(self, caller: Caller) -> AsyncIterator[None]:
        """Waits for the turn of a read within its connection.

        Raises OverloadedError, before anything is read, if the caller has left so much unread that its answer
        would have no room.
        """
        turns = self._turns.setdefault(caller.connection, asyncio.Semaphore(MAX_READS_OF_CONNECTION))
        await turns.acquire()
        with ExitStack() as ending:
            ending.callback(turns.release)
            limit = asyncio.get_running_loop().call_later(TURN_SECONDS, ending.close)
            try:
                self.require_room(caller)
                yield
            finally:
                limit.cancel()

    def require_room(self, caller: Caller) -> None:
        """Raises OverloadedError if there is no room for another answer to a caller."""
        if not self._room.is_free_for(caller):
            raise OverloadedError

    def add(self, context: Context, call: GrpcCall, *, size_bytes: int) -> None:
        """Counts an answer, whether or not there is room, until it is removed."""
        unread = _Unread(call, call.caller, _COPIES * size_bytes, time.monotonic())
        self._unread[context] = unread
        self._room.take(unread.caller, unread.size_bytes)

    def remove(self, context: Context) -> None:
        """Counts the answer of a call no longer, if it has one."""
        unread = self._unread.pop(context, None)
        if unread is not None:
            self._room.give_back(unread.caller, unread.size_bytes)

    def older_than(self, seconds: float) -> dict[Context, GrpcCall]:
        """The calls whose answers have stayed unread for longer than that."""
        latest = time.monotonic() - seconds
        return {context: unread.call for context, unread in self._unread.items() if unread.since < latest}
