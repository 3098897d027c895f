"""The calls that run: how many there may be, which an erasure waits for, and which end under pressure."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, cast

import grpc

from engagement_server.api.grpc.answers import UNREAD_SECONDS, Answers
from engagement_server.api.grpc.call import GrpcCall, caller_of, end_call
from engagement_server.api.grpc.parsing import Parsing
from engagement_server.api.grpc.rights import RightsWatch
from engagement_server.clock import now_ms
from engagement_server.errors import DrainingError, OverloadedError
from engagement_server.governor.memory import Pressure
from engagement_server.streams.closing import GRACE_SECONDS
from engagement_server.telemetry.spans import note_account

if TYPE_CHECKING:
    from engagement_server.api.grpc.call import Context
    from engagement_server.api.grpc.status import Metadata

VIEW_AGE_KEY = "engagement-view-age-ms"
MESSAGE_SECONDS: Final = 60.0
"""How long the first message of a call may take to arrive."""
_SLOW_SECONDS = 1.0
"""A message that takes longer to arrive may never be complete, nor an answer be read."""
_CLOSING_SECONDS = GRACE_SECONDS + 1.0
"""How long a stream that is asked to end may take: the grace of its client, and then the last acks."""
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


class RunningCalls:
    """The calls that run: each from its headers until its status is sent."""

    def __init__(self, *, view_time_ms: ViewTime, limits: CallLimits) -> None:
        self._view_time_ms = view_time_ms
        self._limits = limits
        self._answers = Answers(limits.answers_bytes)
        self.parsing = Parsing()
        self._connections: dict[Context, str] = {}
        """Of each call, the connection that it came by."""
        self._by_connection: Counter[str] = Counter()
        self._unary: Counter[str] = Counter()
        """Of each connection the calls that are no streams, or not yet."""
        self._arriving: dict[Context, _Arriving] = {}
        self._begun: set[Context] = set()
        """Calls whose first message has arrived."""
        self._streams: dict[Context, GrpcCall] = {}
        self._rights = RightsWatch()
        self._closing: dict[Context, float] = {}
        """Calls that were asked to end under pressure, and since when."""
        self._reads: dict[Context, GrpcCall] = {}
        self._stale: dict[Context, asyncio.Future[None]] = {}
        """Reads that began before an erasure of their account, each with a future of its end."""
        self._drained = asyncio.Event()
        self._drained.set()
        self._is_draining = False
        self.pressure = Pressure.NONE
        """How much memory the process takes; under pressure, no call begins."""

    async def receive(self, context: Context) -> bytes | None:
        """Counts a call until it is done; its first message, or None if its client sends none.

        `relieve` resets a call whose message does not arrive in time. Raises DrainingError and
        OverloadedError.
        """
        self._require_open()
        self._count(context)
        self._arriving[context] = _Arriving(asyncio.current_task(), time.monotonic())
        try:
            message = await context.read()
        finally:
            del self._arriving[context]
        self._require_open()
        if context in self._connections:
            self._begun.add(context)
            self._drained.clear()
        return None if message is grpc.aio.EOF else cast("bytes", message)  # no deserializer is given

    def turn_to_read(self, context: Context, request: object) -> AbstractAsyncContextManager[None]:
        """See `Answers.turn`."""
        return self._answers.turn(caller_of(context, getattr(request, "account_id", "")))

    def begin(self, context: Context, request: object, *, is_read: bool = False) -> GrpcCall:
        """The call with a request; reads are tracked, so that erasures wait for them."""
        account_id: str | None = getattr(request, "account_id", None)
        if account_id is None:
            return GrpcCall(context)
        note_account(account_id)
        call = GrpcCall(context, account_id=account_id, age=self._age(account_id))
        if is_read and context in self._connections:
            self._reads[context] = call
        return call

    def watch(self, context: Context, call: GrpcCall) -> None:
        """Counts a call as a stream, which ends under pressure and with its rights as it has registered."""
        if context in self._connections and context not in self._streams:
            self._streams[context] = call
            self._rights.add(call)
            _decrement(self._unary, self._connections[context])

    def note_answer(self, context: Context, call: GrpcCall, *, size_bytes: int, is_read: bool) -> None:
        """Counts an answer until the client has taken it.

        Raises OverloadedError for a read if clients have left so much unread that there is no room for it. A
        write is committed by now.
        """
        if is_read:
            self._answers.require_room(call.caller)
        if context in self._connections:
            self._answers.add(context, call, size_bytes=size_bytes)

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
        slowly. It also asks the streams of one connection to end, and resets its unread answers: of the one
        that has most of those that were not asked yet. Streams that do not end in time are reset.
        """
        self.pressure = pressure
        self._end_slow_messages()
        for call in self._answers.older_than(UNREAD_SECONDS).values():
            call.reset()
        if pressure is Pressure.HARD:
            self._reset_closing_streams()
            self._close_greediest()

    def _end_slow_messages(self) -> None:
        now = time.monotonic()
        slow = {context: each for context, each in self._arriving.items() if each.since < now - _SLOW_SECONDS}
        most = Counter(context.peer() for context in slow)
        spare = len(slow) if self.pressure is Pressure.HARD else len(slow) - self._limits.max_slow_messages
        # Of the connection that has most of them first, and the oldest of it.
        order = sorted(slow, key=lambda context: (-most[context.peer()], slow[context].since))
        for number, context in enumerate(order):
            if number < spare or slow[context].since < now - MESSAGE_SECONDS:
                end_call(context, slow[context].task)

    def _reset_closing_streams(self) -> None:
        latest = time.monotonic() - _CLOSING_SECONDS
        for context, since in self._closing.items():
            if since < latest and context in self._streams:
                self._streams[context].reset()

    def _close_greediest(self) -> None:
        ends = {context: call.yield_to_others for context, call in self._streams.items()}
        ends |= {context: call.reset for context, call in self._answers.older_than(_SLOW_SECONDS).items()}
        for context in self._closing:
            ends.pop(context, None)
        if not ends:
            return
        most = Counter(self._connections[context] for context in ends)
        greediest = max(most, key=most.__getitem__)
        for context, end in ends.items():
            if self._connections[context] == greediest:
                self._closing[context] = time.monotonic()
                end()

    async def drain(self) -> None:
        """Refuses new calls, and waits until the running ones have their answers."""
        self._is_draining = True
        if self._begun:
            await self._drained.wait()
            # Callers that just got an answer call again, and should hear why that is refused.
            await asyncio.sleep(_FAREWELL_SECONDS)

    @property
    def unread_answers(self) -> int:
        """Answers of unary calls that clients have not taken."""
        return len(self._answers)

    @property
    def count(self) -> int:
        """How many there are, with streams."""
        return len(self._connections)

    @property
    def is_idle(self) -> bool:
        """Whether there is neither a unary call, however little of it has arrived, nor a busy stream."""
        has_unary = len(self._connections) > len(self._streams)
        return not has_unary and not any(call.is_busy for call in self._streams.values())

    def _require_open(self) -> None:
        if self._is_draining:
            raise DrainingError
        if self.pressure is not Pressure.NONE:
            raise OverloadedError

    def _count(self, context: Context) -> None:
        connection = context.peer()
        # A connection may have as many unary calls as are left beside it: see `Room`.
        left = self._limits.max_unary_calls - (len(self._connections) - len(self._streams))
        is_full = self._by_connection[connection] >= self._limits.max_calls_of_connection
        if is_full or self._unary[connection] >= left:
            raise OverloadedError
        self._connections[context] = connection
        self._by_connection[connection] += 1
        self._unary[connection] += 1
        context.add_done_callback(self._end)  # type: ignore[arg-type]  # any function is one

    def _age(self, account_id: str) -> Metadata | None:
        time_ms = self._view_time_ms(account_id)
        if time_ms is None:
            return None
        return ((VIEW_AGE_KEY, str(max(0, now_ms() - time_ms))),)

    def _end(self, context: Context) -> None:
        connection = self._connections.pop(context)
        _decrement(self._by_connection, connection)
        stream = self._streams.pop(context, None)
        if stream is None:
            _decrement(self._unary, connection)
        else:
            self._rights.remove(stream)
        self._closing.pop(context, None)
        self._answers.remove(context)
        self._reads.pop(context, None)
        stale = self._stale.pop(context, None)
        if stale is not None:
            stale.set_result(None)
        self._begun.discard(context)
        if not self._begun:
            self._drained.set()


def _decrement(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
