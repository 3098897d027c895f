"""The calls that run: how many there may be, which an erasure waits for, and which end under pressure."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import grpc

from engagement_server.api.grpc.call import GrpcCall, end_call
from engagement_server.clock import now_ms
from engagement_server.errors import DrainingError, OverloadedError
from engagement_server.governor.memory import Pressure
from engagement_server.governor.turns import Caller, Room

if TYPE_CHECKING:
    from engagement_server.api.grpc.call import Context
    from engagement_server.api.grpc.status import Metadata

VIEW_AGE_KEY = "engagement-view-age-ms"
MESSAGE_SECONDS: Final = 60.0
"""How long the first message of a call may take to arrive."""
_SLOW_SECONDS = 1.0
"""A message that takes longer to arrive may never be complete, nor an answer be read."""
# The transport takes a smaller answer at once: HTTP/2 gives each stream a window of at least 64 KiB, unless
# a client means harm, and then so many calls are its limit.
_MIN_COUNTED_BYTES = 16 * 1024
_COPIES = 2
"""Of an answer that waits: ours, and that of the library."""
UNREAD_SECONDS = 60.0
"""How long a client may leave the answer of a unary call unread."""
_FAREWELL_SECONDS = 0.2
SETTLE_SECONDS: Final = 2.0
"""How long reads that began before an erasure may delay it; then they are reset."""

ViewTime: TypeAlias = Callable[[str], int | None]
"""Until when answers about an account are complete, in epoch milliseconds; None if that is now."""


class CallLimits(NamedTuple):
    """How many calls one process takes at a time."""

    max_unary_calls: int
    """Streams have limits of their own."""
    max_calls_of_connection: int
    max_slow_messages: int
    """Messages that have been arriving for more than a second."""
    answers_bytes: int
    """Bytes of unary answers that clients have not taken."""


class _Arriving(NamedTuple):
    """A call whose first message has not arrived: its task, and since when it waits."""

    task: asyncio.Task[Any] | None
    since: float


class _Unread(NamedTuple):
    """An answer that the client may not have taken."""

    call: GrpcCall
    caller: Caller
    size_bytes: int
    since: float


class RunningCalls:
    """The calls that run: each from its first message until its status is sent."""

    def __init__(self, *, view_time_ms: ViewTime, limits: CallLimits) -> None:
        self._view_time_ms = view_time_ms
        self._limits = limits
        self._answers = Room(limits.answers_bytes)
        self._connections: dict[Context, str] = {}
        """Of each call, the connection that it came by."""
        self._by_connection: Counter[str] = Counter()
        self._arriving: dict[Context, _Arriving] = {}
        self._unread: dict[Context, _Unread] = {}
        self._streams: dict[Context, GrpcCall] = {}
        self._reads: dict[Context, GrpcCall] = {}
        self._stale: dict[Context, asyncio.Future[None]] = {}
        """Reads that began before an erasure of their account, each with a future of its end."""
        self._idle = asyncio.Event()
        self._idle.set()
        self._is_draining = False
        self.pressure = Pressure.NONE
        """How much memory the process takes; under pressure, no call begins."""

    async def receive(self, context: Context) -> Any:  # Any: requests of all types pass through here
        """The first message of a call, or None if its client sends none. Raises OverloadedError.

        `relieve` resets a call whose message does not arrive in time.
        """
        self._require_room(context.peer())
        self._arriving[context] = _Arriving(asyncio.current_task(), time.monotonic())
        try:
            message = await context.read()
        finally:
            del self._arriving[context]
        return None if message is grpc.aio.EOF else message

    def begin(self, context: Context, request: object, *, is_read: bool = False) -> GrpcCall:
        """Counts a call from its request on; reads are tracked as well.

        Raises DrainingError and OverloadedError.
        """
        self.count(context)
        account_id: str | None = getattr(request, "account_id", None)
        if account_id is None:
            return GrpcCall(context)
        call = GrpcCall(context, account_id=account_id, age=self._age(account_id))
        if is_read:
            if not self._answers.is_free_for(call.caller):
                raise OverloadedError
            self._reads[context] = call
        return call

    def count(self, context: Context) -> None:
        """Counts a call, once, until it is done. Raises DrainingError and OverloadedError."""
        if context in self._connections:
            return
        if self._is_draining:
            raise DrainingError
        connection = context.peer()
        self._require_room(connection)
        self._connections[context] = connection
        self._by_connection[connection] += 1
        self._idle.clear()
        context.add_done_callback(self._end)  # type: ignore[arg-type]  # any function is one

    def watch(self, context: Context, call: GrpcCall) -> None:
        """Lets a stream end under pressure, as it has asked for."""
        if context in self._connections:
            self._streams[context] = call

    def note_answer(self, context: Context, call: GrpcCall, *, size_bytes: int) -> None:
        """Counts an answer until the client has taken it.

        Raises OverloadedError if clients have left so much unread that there is no room for it.
        """
        if size_bytes < _MIN_COUNTED_BYTES:
            return
        if not self._answers.is_free_for(call.caller):
            raise OverloadedError
        unread = _Unread(call, call.caller, _COPIES * size_bytes, time.monotonic())
        self._unread[context] = unread
        self._answers.take(unread.caller, unread.size_bytes)

    def note_erasures(self, account_ids: Collection[str]) -> None:
        """Notes erasures in these accounts: running reads may hold events that were erased."""
        for context, call in self._reads.items():
            if call.account_id in account_ids and context not in self._stale:
                self._stale[context] = asyncio.get_running_loop().create_future()

    async def settle(self) -> None:
        """Returns once no read that began before an erasure runs any more; resets slow ones."""
        stale = dict(self._stale)
        if not stale:
            return
        await asyncio.wait(stale.values(), timeout=SETTLE_SECONDS)
        for context in stale.keys() & self._stale.keys():
            self._reads[context].reset()

    def relieve(self, pressure: Pressure) -> None:
        """Notes the pressure on memory, and ends some of what takes it.

        Resets calls whose messages have been arriving for too long, and the oldest if they are too many; and
        those whose answers have stayed unread for too long. Under hard pressure it resets all that arrive
        slowly, and ends the streams and the unread answers of the connection that has the most calls.
        """
        self.pressure = pressure
        is_hard = pressure is Pressure.HARD
        now = time.monotonic()
        oldest = now - _SLOW_SECONDS
        slow = {context: each for context, each in self._arriving.items() if each.since < oldest}
        most = Counter(context.peer() for context in slow)
        spare = len(slow) if is_hard else len(slow) - self._limits.max_slow_messages
        # Of the connection that has most of them first, and the oldest of it.
        order = sorted(slow, key=lambda context: (-most[context.peer()], slow[context].since))
        for number, context in enumerate(order):
            if number < spare or slow[context].since < now - MESSAGE_SECONDS:
                end_call(context, slow[context].task)
        greediest = ""
        if is_hard and self._by_connection:
            greediest = max(self._by_connection, key=self._by_connection.__getitem__)
            for context, call in list(self._streams.items()):
                if self._connections[context] == greediest:
                    call.yield_to_others()
        for context, unread in list(self._unread.items()):
            is_slow = unread.since < oldest and self._connections[context] == greediest
            if is_slow or unread.since < now - UNREAD_SECONDS:
                unread.call.reset()

    async def drain(self) -> None:
        """Refuses new calls, and waits until the running ones have their answers."""
        self._is_draining = True
        if self._connections:
            await self._idle.wait()
            # Callers that just got an answer call again, and should hear why that is refused.
            await asyncio.sleep(_FAREWELL_SECONDS)

    @property
    def unread_answers(self) -> int:
        """Large answers that clients have not taken."""
        return len(self._unread)

    @property
    def is_idle(self) -> bool:
        """Whether no call runs, and none arrives."""
        return not self._connections and not self._arriving

    def _require_room(self, connection: str) -> None:
        limits = self._limits
        if (
            self.pressure is not Pressure.NONE
            or len(self._connections) - len(self._streams) >= limits.max_unary_calls
            or self._by_connection[connection] >= limits.max_calls_of_connection
        ):
            raise OverloadedError

    def _age(self, account_id: str) -> Metadata | None:
        time_ms = self._view_time_ms(account_id)
        if time_ms is None:
            return None
        return ((VIEW_AGE_KEY, str(max(0, now_ms() - time_ms))),)

    def _end(self, context: Context) -> None:
        connection = self._connections.pop(context)
        self._by_connection[connection] -= 1
        if not self._by_connection[connection]:
            del self._by_connection[connection]
        unread = self._unread.pop(context, None)
        if unread is not None:
            self._answers.give_back(unread.caller, unread.size_bytes)
        self._reads.pop(context, None)
        self._streams.pop(context, None)
        stale = self._stale.pop(context, None)
        if stale is not None:
            stale.set_result(None)
        if not self._connections:
            self._idle.set()
