"""The commit log of a worker: a client of the parent, which owns the log itself."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, NamedTuple, Self

import msgspec

from engagement_server.errors import DataLossError, StoreUnavailableError, WriterFailedError, WriterGoneError
from engagement_server.log.encoding import encode_commit
from engagement_server.workers.channel import Channel, Kind
from engagement_server.workers.results import decode_applied, decode_results

if TYPE_CHECKING:
    import socket

    from engagement_server.errors import RequestError
    from engagement_server.log.base import AppliedCallback, FreshnessCallback, SettleCallback
    from engagement_server.operations import Commit, Result
    from engagement_server.workers.channel import Message

_PARENT_ENDED = "the parent process has ended"


class Freshness(NamedTuple):
    """The freshness of the parent's log; see `CommitLog`."""

    view_time_ms: int
    is_current: bool
    damage: bytes = b""
    """Encoded as the result of an operation; empty if there is none."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Freshness)


def encode_freshness(freshness: Freshness) -> bytes:
    """Encodes a freshness."""
    return _encoder.encode(freshness)


class RemoteLog:
    """Sends commits to the parent, which puts those of all workers into one order.

    The parent sets the time of a commit. Callbacks get no results.
    """

    # One is applied while the next is being sent.
    max_concurrent_commits = 2
    takes_lanes_apart = True
    has_other_writers = False
    # The parent tells about the node.
    node_id = ""
    lag_messages = 0

    def __init__(self, channel: Channel, freshness: Freshness) -> None:
        self._channel = channel
        self._freshness = freshness
        self._numbers = itertools.count(1)
        self._requests: dict[int, asyncio.Future[Message]] = {}
        self._callbacks: list[AppliedCallback] = []
        self._freshness_callbacks: list[FreshnessCallback] = []
        self._settle_callbacks: list[SettleCallback] = []
        self._settling: set[asyncio.Task[None]] = set()
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._receive(), name="log")

    @classmethod
    async def open(cls, end: socket.socket) -> Self:
        """Opens the log behind an end of a socket pair. Raises WriterGoneError."""
        channel = await Channel.open(end)
        first = await channel.receive()
        if first is None:
            raise WriterGoneError(_PARENT_ENDED)
        channel.send(Kind.OPENED)
        return cls(channel, _decoder.decode(first.data))

    @property
    def view_time_ms(self) -> int:
        """See `CommitLog.view_time_ms`."""
        return self._freshness.view_time_ms

    @property
    def is_current(self) -> bool:
        """See `CommitLog.is_current`."""
        return self._freshness.is_current

    @property
    def damage(self) -> DataLossError | None:
        """See `CommitLog.damage`."""
        if not self._freshness.damage:
            return None
        (damage,) = decode_results(self._freshness.damage)
        return damage if isinstance(damage, DataLossError) else None

    def subscribe(self, callback: AppliedCallback) -> None:
        """See `CommitLog.subscribe`."""
        self._callbacks.append(callback)

    def want_events(self, account_id: str, *, are_wanted: bool) -> None:
        """See `CommitLog.want_events`."""
        self._channel.send(Kind.WANTED if are_wanted else Kind.UNWANTED, account_id.encode())

    def watch_freshness(self, callback: FreshnessCallback) -> None:
        """See `CommitLog.watch_freshness`."""
        self._freshness_callbacks.append(callback)

    async def commit(self, commit: Commit) -> list[Result | RequestError]:
        """See `CommitLog.commit`. Also raises WriterFailedError."""
        return await self._request(Kind.COMMIT, encode_commit(commit))

    async def catch_up(self) -> bool:
        """See `CommitLog.catch_up`. Also raises WriterFailedError."""
        return await self._request(Kind.CATCH_UP) == [True]

    async def purge(self) -> None:
        """See `CommitLog.purge`. Also raises WriterFailedError."""
        await self._request(Kind.PURGE)

    def watch_settling(self, callback: SettleCallback) -> None:
        """See `CommitLog.watch_settling`."""
        self._settle_callbacks.append(callback)

    async def settle(self) -> None:
        """See `CommitLog.settle`. Also raises WriterFailedError."""
        await self._request(Kind.SETTLE)

    async def close(self) -> None:
        """See `CommitLog.close`."""
        tasks = [self._task, *self._settling]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        if self.failure.done():
            self.failure.exception()  # marks it as retrieved
        await self._channel.close()

    async def _request(self, kind: Kind, data: bytes = b"") -> list[Result | RequestError]:
        """Sends a request, in the order of the calls, and returns the results."""
        if self.failure.done():
            raise StoreUnavailableError(_PARENT_ENDED)
        number = next(self._numbers)
        response = self._requests[number] = asyncio.get_running_loop().create_future()
        try:
            self._channel.send(kind, data, number=number)
            message: Message = await response
        finally:
            del self._requests[number]
        if message.kind == Kind.FAILED:
            raise WriterFailedError("the parent process failed to handle a request; its log has the reason")
        results = decode_results(message.data)
        _require_available(results)
        return results

    async def _receive(self) -> None:
        try:
            while (message := await self._channel.receive()) is not None:
                self._handle(message)
            self._fail(WriterGoneError(_PARENT_ENDED))
        except Exception as error:  # later messages must not be handled without this one
            self._fail(error)

    def _handle(self, message: Message) -> None:
        match message.kind:
            case Kind.APPLIED:
                applied = decode_applied(message.data)
                for callback in self._callbacks:
                    callback(applied)
            case Kind.FRESHNESS:
                was_current, self._freshness = self.is_current, _decoder.decode(message.data)
                if self.is_current != was_current:
                    for on_freshness in self._freshness_callbacks:
                        on_freshness(self.is_current)
            case Kind.SETTLE:
                settling = asyncio.create_task(self._settle(message.number), name="log-settle")
                self._settling.add(settling)
                settling.add_done_callback(self._settling.discard)
            case _:
                response = self._requests.get(message.number)
                if response is not None and not response.done():  # the caller may have been cancelled
                    response.set_result(message)

    async def _settle(self, number: int) -> None:
        """Settles this process, which has handled all commits that the parent sent before it asked."""
        try:
            await asyncio.gather(*(callback() for callback in self._settle_callbacks))
        except Exception as error:  # the parent would wait for ever
            self._fail(error)
        else:
            self._channel.send(Kind.SETTLED, number=number)

    def _fail(self, error: Exception) -> None:
        if not self.failure.done():
            self.failure.set_exception(error)
        for response in self._requests.values():
            if not response.done():
                response.set_exception(StoreUnavailableError(_PARENT_ENDED))


def _require_available(results: list[Result | RequestError]) -> None:
    """Raises StoreUnavailableError or LogDamagedError if that is the result of every operation."""
    first = results[0] if results else None
    if isinstance(first, StoreUnavailableError | DataLossError) and all(
        type(each) is type(first) for each in results
    ):
        raise first
