"""A bounded pool of threads that read the store, each through its own connection.

One thread does all reads while they are short; others help only with reads that would wait. Threads that
read at the same time take the interpreter from each other, and from the event loop, at each step of SQLite.
Callers take turns. If there are threads enough, one is free of the reads of any one account, and another of
those of any one connection (docs/decisions/0050-reads-have-a-budget.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import Counter, deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import apsw

from engagement_server.errors import OverloadedError
from engagement_server.governor.turns import Caller, Room, Turns
from engagement_server.store.failures import failure_of
from engagement_server.store.reader import Reader
from engagement_server.telemetry.spans import child

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from engagement_server.store.database import DatabaseFile

T = TypeVar("T")

MAX_WAITING_READS = 1000
"""Reads that run or wait; more are refused, since their answers would come too late anyway."""
INTERNAL: Final = Caller("", "")
"""The caller of the server's own reads."""
# A read that has waited this long gets a further thread; no result waits longer for the next ones.
_HELP_SECONDS = 0.005
_MAX_UNDELIVERED = 8
_INTERRUPT_SECONDS = 0.02


class _Read(NamedTuple):
    read: Callable[[Reader], Any]  # Any: reads of all types pass through here
    result: asyncio.Future[Any]
    start_seconds: float
    """Time of the event loop when it was asked for."""
    caller: Caller


class Readers:
    """Runs reads off the event loop."""

    def __init__(self, database: DatabaseFile, *, threads: int) -> None:
        self._database = database
        self._room = Room(MAX_WAITING_READS)
        self._lock = threading.Lock()
        """Held for the queue and the idle threads, never while reading."""
        self._queue: Turns[_Read] = Turns()
        self._held_by_connection: Counter[str] = Counter()
        self._held_by_account: Counter[str] = Counter()
        """Threads that read for it."""
        self._max_of_account = max(threads - 1, 1)
        self._max_of_connection = max(threads - 2, 1)
        """So that one thread is left for the other connections of an account, and one for other accounts."""
        self._idle: list[threading.Lock] = []
        """Of each idle thread the lock that it waits for."""
        self._done: deque[tuple[_Read, Any, BaseException | None]] = deque()
        self._delivering: asyncio.AbstractEventLoop | None = None
        """The event loop that is about to deliver what is done."""
        self._watching: asyncio.AbstractEventLoop | None = None
        """The event loop that wakes further threads."""
        self._is_closed = False
        self._connections: list[apsw.Connection] = []
        self._max_threads = threads
        self._threads: list[threading.Thread] = []

    async def run(self, read: Callable[[Reader], T], *, caller: Caller = INTERNAL) -> T:
        """Runs `read` with a reader of the pool, in the turn of its caller.

        A read that is cancelled keeps its room until its turn, so cancelling cannot fill the queue.

        Raises OverloadedError, StoreUnavailableError, DataDamagedError and what `read` raises.
        """
        is_full = self._room.used_bytes >= MAX_WAITING_READS
        if is_full or (caller is not INTERNAL and not self._room.is_free_for(caller)):
            raise OverloadedError
        with child("read"):
            return await self._submit(read, caller)

    def close(self) -> None:
        """Interrupts running reads, whose callers are gone, drops waiting ones, and closes connections."""
        with self._lock:
            self._is_closed = True
            dropped = [self._queue.popleft().result for _ in range(len(self._queue))]
            while self._idle:
                self._idle.pop().release()
        for result in dropped:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                result.get_loop().call_soon_threadsafe(result.cancel)
        for thread in self._threads:
            while thread.is_alive():
                for connection in list(self._connections):
                    connection.interrupt()  # only the statement that runs now
                thread.join(_INTERRUPT_SECONDS)
        for connection in self._connections:
            connection.close()

    # The next three run on the event loop.

    def _submit(self, read: Callable[[Reader], T], caller: Caller) -> asyncio.Future[T]:
        if self._is_closed:
            raise RuntimeError("the readers are closed")
        self._start_threads()
        loop = asyncio.get_running_loop()
        result: asyncio.Future[T] = loop.create_future()
        self._room.take(caller, 1)  # until a thread is done with it, even if its caller goes away
        with self._lock:
            self._queue.append(caller, _Read(read, result, loop.time(), caller))
            if len(self._idle) == len(self._threads):
                self._idle.pop().release()
            elif self._idle and self._watching is not loop:
                self._watching = loop
                loop.call_later(_HELP_SECONDS, self._help, loop)
        return result

    def _start_threads(self) -> None:
        """Starts the threads that do not run yet. Raises OverloadedError if there are none."""
        try:
            while len(self._threads) < self._max_threads:
                name = f"store-reader_{len(self._threads)}"
                thread = threading.Thread(target=self._serve, name=name, daemon=True)
                thread.start()
                self._threads.append(thread)
        except RuntimeError as error:  # the system has no more; the next read tries again
            if not self._threads:
                raise OverloadedError from error

    def _help(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wakes a thread if a read has waited for too long behind others, and delivers what is done."""
        with self._lock:
            if self._idle and self._queue:
                pause_seconds = _HELP_SECONDS
                first = self._queue.first(self._may_go)
                if first is not None:
                    waited_seconds = loop.time() - first.start_seconds
                    if waited_seconds >= _HELP_SECONDS:
                        self._idle.pop().release()
                    else:
                        pause_seconds -= waited_seconds
                loop.call_later(pause_seconds, self._help, loop)
            else:
                self._watching = None
        self._deliver()  # last: a result is left to this call while the loop is watching

    def _deliver(self) -> None:
        self._delivering = None
        while self._done:
            done, value, error = self._done.popleft()
            self._room.give_back(done.caller, 1)
            if done.result.done():  # its caller has gone
                continue
            if error is None:
                done.result.set_result(value)
            else:
                done.result.set_exception(error)

    # The rest runs on the threads.

    def _serve(self) -> None:
        wake = threading.Lock()
        wake.acquire()
        reader: Reader | None = None
        done: Caller | None = None
        while (task := self._next(wake, done)) is not None:
            done = task.caller
            value, error = None, None
            try:
                if not task.result.cancelled():
                    with _failures():
                        if reader is None:  # opened by the first read that gets as far
                            reader = Reader(self._open())
                        value = task.read(reader)
                        reader.require_checked()
            except BaseException as raised:  # raised again where the result is awaited
                value, error = None, raised
            self._finish(task, value, error)
            del task, value, error

    def _open(self) -> apsw.Connection:
        connection = self._database.open_reader()
        self._connections.append(connection)  # closed by `close`, which may interrupt it until then
        return connection

    def _next(self, wake: threading.Lock, done: Caller | None) -> _Read | None:
        """The next read, once there is one; None if there are no more. `done`: whose read was the last."""
        while True:
            with self._lock:
                if done is not None:
                    self._let_go(done)
                    done = None
                task = self._queue.pop(self._may_go)
                if task is not None:
                    self._hold(task.caller)
                    return task
                if self._is_closed:
                    return None
                self._idle.append(wake)
                self._watch_waiting()
            wake.acquire()

    def _watch_waiting(self) -> None:
        """Has the event loop watch reads that may not go yet: the thread that lets them go takes only one."""
        waiting = self._queue.first(lambda _: True)
        if waiting is not None and self._watching is None:
            loop = waiting.result.get_loop()
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._help, loop)
                self._watching = loop

    def _may_go(self, caller: Caller) -> bool:
        """Whether a caller may have one more thread; calls without an account count by connection only."""
        return self._held_by_connection[caller.connection] < self._max_of_connection and (
            not caller.account_id or self._held_by_account[caller.account_id] < self._max_of_account
        )

    def _hold(self, caller: Caller) -> None:
        self._held_by_connection[caller.connection] += 1
        self._held_by_account[caller.account_id] += 1

    def _let_go(self, caller: Caller) -> None:
        for held, key in (
            (self._held_by_connection, caller.connection),
            (self._held_by_account, caller.account_id),
        ):
            held[key] -= 1
            if not held[key]:
                del held[key]

    def _finish(self, task: _Read, value: object, error: BaseException | None) -> None:
        """Hands a result to the event loop, together with the next ones if more reads wait.

        Each time that the event loop wakes up, it takes the interpreter from this thread.
        """
        self._done.append((task, value, error))
        loop = task.result.get_loop()
        if self._queue and self._watching is loop and len(self._done) < _MAX_UNDELIVERED:
            return
        if self._delivering is not loop:  # else it delivers this as well
            self._delivering = loop
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._deliver)


@contextlib.contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except apsw.Error as error:
        raise failure_of(error) from error
