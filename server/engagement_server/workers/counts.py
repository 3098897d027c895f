"""What the workers count reaches their parent, so that any of them can answer for all.

It does not know what is counted.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from engagement_server.errors import WriterFailedError
from engagement_server.supervision import call_all
from engagement_server.workers.channel import Kind

if TYPE_CHECKING:
    from engagement_server.metrics.counters import Mergeable
    from engagement_server.workers.channel import Channel, Message

REJECTIONS = "rejections"
"""Name of the rejected events among the things that are counted."""
MEASURES = "measures"
"""Name of all that is measured for operators."""
STATS = "stats"
"""Name of what workers add to the stats of the node."""
USES = "uses"
"""Name of the last uses of secrets."""
SEND_SECONDS = 1.0
"""A worker that is killed loses what it has counted since: at most for this long."""


class Part(NamedTuple):
    """Counts of one kind in this process, and the type of their snapshots."""

    counts: Mergeable[Any]  # Any: each part has its own
    snapshot: type
    answer: type | None = None
    """The type of answers to questions about it, if that is not a snapshot."""


class _Named(NamedTuple):
    """A snapshot of a part, or the subject of a question about it."""

    name: str
    value: msgspec.Raw


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Named)


class WorkerCounts:
    """What one worker counts, in parts with names, on its way to the parent."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._parts: dict[str, Part] = {}
        self._numbers = itertools.count(1)
        self._number = 0
        """Of the last question."""
        self._answer: asyncio.Future[Message] | None = None
        # An answer may take a megabyte, and the parent must not hold many.
        self._asking = asyncio.Lock()

    def add(self, name: str, part: Part) -> None:
        """Sends what this part counts from now on."""
        self._parts[name] = part

    async def send_periodically(self) -> None:
        """Sends what was counted, once a second.

        While the parent is slow to read, it goes on counting: counts are bounded, snapshots in the channel
        are not.
        """
        while True:
            await asyncio.sleep(SEND_SECONDS)
            if not self._channel.unread_bytes:
                self.send()

    def send(self) -> None:
        """Sends what was counted since the last time."""
        for name, part in self._parts.items():
            snapshot = part.counts.drain()
            if snapshot is not None:
                self._channel.send(Kind.COUNTED, _encoder.encode((name, snapshot)))

    async def ask(self, name: str, subject: str) -> Any:  # a snapshot of the part
        """Returns what all workers have counted about a subject: see `Mergeable.of`.

        It holds all that this worker has counted, and what the others have sent. Raises WriterFailedError.
        """
        async with self._asking:
            if self._answer is not None:  # its caller was cancelled
                await asyncio.wait([self._answer])
            self.send()
            self._number = next(self._numbers)
            self._answer = asyncio.get_running_loop().create_future()
            self._channel.send(Kind.ASKED, _encoder.encode((name, subject)), number=self._number)
            message = await asyncio.shield(self._answer)
            self._answer = None
        if message.kind == Kind.FAILED:
            raise WriterFailedError("the parent process failed to answer; its log has the reason")
        part = self._parts[name]
        return msgspec.msgpack.decode(message.data, type=part.answer or part.snapshot)

    def answer(self, message: Message) -> None:
        """Takes an answer of the parent."""
        if self._answer is not None and message.number == self._number:
            self._answer.set_result(message)


class SharedCounts:
    """What all workers have counted, in the parent."""

    def __init__(self, parts: Mapping[str, Part]) -> None:
        """Takes the parts by their names in the workers."""
        self._parts = parts

    def take(self, channel: Channel, message: Message) -> None:
        """Takes a message of a worker: adds its counts, or answers its question through the channel."""
        handle = self._answer if message.kind == Kind.ASKED else self._add
        # The worker goes on serving calls whatever becomes of its counts.
        if call_all("worker-counts", [handle], channel, message) is not None:
            channel.send(Kind.FAILED, number=message.number)

    def _add(self, _channel: Channel, message: Message) -> None:
        name, snapshot = _decoder.decode(message.data)
        part = self._parts[name]
        part.counts.merge(msgspec.msgpack.decode(snapshot, type=part.snapshot))

    def _answer(self, channel: Channel, message: Message) -> None:
        name, subject = _decoder.decode(message.data)
        snapshot = self._parts[name].counts.of(msgspec.msgpack.decode(subject, type=str))
        channel.send(Kind.RESPONSE, _encoder.encode(snapshot), number=message.number)
