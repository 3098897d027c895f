"""The commit log as a worker has it: the log itself is in the process that writes, behind a channel."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, NamedTuple, Self

import msgspec

from engagement_server.errors import StoreUnavailableError
from engagement_server.faults import WriterFailedError, WriterGoneError
from engagement_server.log.encoding import encode_commit
from engagement_server.workers.channel import Channel, Kind
from engagement_server.workers.outcomes import decode_applied, decode_outcomes

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from engagement_server.errors import RequestError
    from engagement_server.log.base import Listener
    from engagement_server.operations import Commit, Result
    from engagement_server.workers.channel import Frame


class View(NamedTuple):
    """How well the process that writes follows the log."""

    time_ms: int
    is_current: bool


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(View)


def encode_view(view: View) -> bytes:
    """A view as bytes."""
    return _encoder.encode(view)


class RemoteLog:
    """Has commits made by the process that writes, which puts those of all workers into one order.

    The time of a commit is decided there. What listeners get has no results. Where a commit is too large
    for one group, a failure may leave a part of it committed: the results say which.
    """

    # One is applied while the next is on its way.
    max_concurrent_commits = 2

    def __init__(self, channel: Channel, view: View) -> None:
        self._channel = channel
        self._view = view
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Frame]] = {}
        self._listeners: list[Listener] = []
        self._watchers: list[Callable[[bool], None]] = []
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._receive(), name="log")

    @classmethod
    async def open(cls, end: socket.socket) -> Self:
        """The log at the end of a socket pair. Raises WriterGoneError."""
        channel = await Channel.open(end)
        frame = await channel.receive()
        if frame is None:
            raise WriterGoneError("the process that writes has ended")
        return cls(channel, _decoder.decode(frame.data))

    @property
    def view_time_ms(self) -> int:
        """See `CommitLog.view_time_ms`."""
        return self._view.time_ms

    @property
    def is_current(self) -> bool:
        """See `CommitLog.is_current`."""
        return self._view.is_current

    def subscribe(self, listener: Listener) -> None:
        """See `CommitLog.subscribe`."""
        self._listeners.append(listener)

    def watch_freshness(self, watcher: Callable[[bool], None]) -> None:
        """See `CommitLog.watch_freshness`."""
        self._watchers.append(watcher)

    async def commit(self, commit: Commit) -> list[Result | RequestError]:
        """See `CommitLog.commit`. Raises WriterFailedError as well."""
        return await self._ask(Kind.COMMIT, encode_commit(commit))

    async def catch_up(self) -> bool:
        """See `CommitLog.catch_up`. Raises WriterFailedError as well."""
        return await self._ask(Kind.CATCH_UP) == [True]

    async def purge(self) -> None:
        """See `CommitLog.purge`. Raises WriterFailedError as well."""
        await self._ask(Kind.PURGE)

    async def close(self) -> None:
        """See `CommitLog.close`."""
        self._task.cancel()
        await asyncio.wait([self._task])
        if self.failure.done():
            self.failure.exception()  # looked at
        await self._channel.close()

    async def _ask(self, kind: Kind, data: bytes = b"") -> list[Result | RequestError]:
        """The answer to a question; they are asked in the order of the calls."""
        if self.failure.done():
            raise StoreUnavailableError("the process that writes has ended")
        number = next(self._numbers)
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            self._channel.send(kind, data, number=number)
            frame: Frame = await answer
        finally:
            del self._asked[number]
        if frame.kind == Kind.FAILED:
            raise WriterFailedError("the process that writes has failed at it; its log says how")
        outcomes = decode_outcomes(frame.data)
        _require_available(outcomes)
        return outcomes

    async def _receive(self) -> None:
        try:
            while (frame := await self._channel.receive()) is not None:
                self._take_in(frame)
            self._end(WriterGoneError("the process that writes has ended"))
        except Exception as error:  # nothing that comes later would be right
            self._end(error)

    def _take_in(self, frame: Frame) -> None:
        match frame.kind:
            case Kind.APPLIED:
                applied = decode_applied(frame.data)
                for listener in self._listeners:
                    listener(applied)
            case Kind.VIEW:
                was_current, self._view = self.is_current, _decoder.decode(frame.data)
                if self.is_current != was_current:
                    for watcher in self._watchers:
                        watcher(self.is_current)
            case _:
                answer = self._asked.get(frame.number)
                if answer is not None and not answer.done():  # who asked may have gone away
                    answer.set_result(frame)

    def _end(self, error: Exception) -> None:
        self.failure.set_exception(error)
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(StoreUnavailableError("the process that writes has ended"))


def _require_available(outcomes: list[Result | RequestError]) -> None:
    """Raises StoreUnavailableError where that is what became of everything."""
    first = outcomes[0] if outcomes else None
    if isinstance(first, StoreUnavailableError) and all(type(each) is type(first) for each in outcomes):
        raise first
