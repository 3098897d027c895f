"""Quotas of several processes: the parent counts for all, and each worker has leases of the rates."""

from __future__ import annotations

import asyncio
import itertools
import logging
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import msgspec

from engagement_server.access.buckets import SPARE_SECONDS, Buckets, Draw, Rates
from engagement_server.access.holds import Holds
from engagement_server.access.leases import Leases
from engagement_server.errors import OverloadedError, WriterFailedError
from engagement_server.workers.channel import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from engagement_server.workers.channel import Channel, Message

A = TypeVar("A")
MAX_WAITING: Final = 10_000
"""Requests of a worker that its parent has not answered, also those whose callers have gone."""

_log = logging.getLogger(__name__)


class _Lend(msgspec.Struct, frozen=True, tag=True, array_like=True):
    rates: Rates
    returned: int
    events: int


class _TakeBack(msgspec.Struct, frozen=True, tag=True, array_like=True):
    rates: Rates
    returned: int


class _Hold(msgspec.Struct, frozen=True, tag=True, array_like=True):
    group: str
    name: str


class _Release(msgspec.Struct, frozen=True, tag=True, array_like=True):
    group: str
    name: str


_Request = _Lend | _TakeBack | _Hold | _Release
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Request)


class SharedLedger:
    """The ledger of all workers, in the parent."""

    def __init__(self) -> None:
        self._buckets = Buckets()
        self._holds = Holds()

    def take(self, channel: Channel, message: Message) -> None:
        """Takes a request of a worker, and answers it."""
        try:
            answer = self._answer(channel, _decoder.decode(message.data))
        except Exception:  # the worker must not wait for ever
            _log.exception("cannot answer a worker about quotas")
            channel.send(Kind.QUOTA, number=message.number)
            return
        if answer is not None:
            channel.send(Kind.QUOTA, _encoder.encode(answer), number=message.number)

    def drop(self, channel: Channel) -> None:
        """Ends what a worker holds that is gone. What it has leased is spent."""
        self._holds.drop(channel)

    def _answer(self, channel: Channel, request: _Request) -> Draw | int | None:
        match request:
            case _Lend(rates, returned, events):
                if returned:
                    self._buckets.give_back(rates, events=returned)
                return self._buckets.draw(rates, events=events, spare_seconds=_spare_seconds(rates))
            case _TakeBack(rates, returned):
                self._buckets.give_back(rates, events=returned)
            case _Hold(group, name):
                return self._holds.hold(group, name, holder=channel)
            case _Release(group, name):
                self._holds.release(group, name, holder=channel)
        return None


def _spare_seconds(rates: Rates) -> float:
    # Many addresses share the bucket of their grant, which must not be empty because each has some to spare.
    return 0.0 if any(rate.address for rate in rates) else SPARE_SECONDS


class WorkerLedger:
    """A worker's part of the ledger: see `Ledger`."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._numbers = itertools.count(1)
        self._waiting: dict[int, _Waiting] = {}
        self._leases = Leases(self)

    async def draw(self, rates: Rates, *, events: int) -> Draw:
        """See `Ledger.draw`."""
        return await self._leases.draw(rates, events=events)

    async def lend(self, rates: Rates, *, returned: int, events: int) -> Draw:
        """See `Lender.lend`. Raises WriterFailedError."""

        def undo(drawn: Draw) -> None:
            if not drawn.delay_seconds and (unused := events + drawn.spare):
                self.take_back(rates, returned=unused)

        return await self._ask(_Lend(rates, returned, events), Draw, undo=undo)

    def take_back(self, rates: Rates, *, returned: int) -> None:
        """See `Lender.take_back`."""
        self._send(_TakeBack(rates, returned))

    async def hold(self, group: str, name: str) -> int:
        """See `Ledger.hold`. Raises WriterFailedError."""
        return await self._ask(_Hold(group, name), int, undo=lambda _: self.release(group, name))

    def release(self, group: str, name: str) -> None:
        """See `Ledger.release`."""
        self._send(_Release(group, name))

    def answer(self, message: Message) -> None:
        """Takes an answer of the parent."""
        waiting = self._waiting.pop(message.number)
        if not message.data:
            if not waiting.answer.done():
                waiting.answer.set_exception(
                    WriterFailedError("the parent process failed to count a quota; its log has the reason")
                )
            return
        answer: Any = msgspec.msgpack.decode(message.data, type=waiting.type)
        if waiting.answer.done():  # the caller was cancelled
            waiting.undo(answer)
        else:
            waiting.answer.set_result(answer)

    async def _ask(self, request: _Request, kind: type[A], *, undo: Callable[[A], None]) -> A:
        """Asks the parent; if the caller does not wait for the answer, it is undone.

        Raises WriterFailedError, and OverloadedError if the parent is far behind.
        """
        if len(self._waiting) >= MAX_WAITING:
            raise OverloadedError
        number = next(self._numbers)
        answer: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting[number] = _Waiting(answer, kind, undo)
        self._send(request, number=number)
        return await answer

    def _send(self, request: _Request, *, number: int = 0) -> None:
        self._channel.send(Kind.QUOTA, _encoder.encode(request), number=number)


class _Waiting(NamedTuple):
    """A request without an answer yet."""

    answer: asyncio.Future[Any]  # Any: each request has its own answer
    type: type
    undo: Callable[[Any], None]
