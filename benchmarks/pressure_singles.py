"""Single events over raw connections, which cost their process little: in turn, or at a steady rate."""

from __future__ import annotations

import asyncio
from typing import Final

from benchmarks.events import EventSource
from benchmarks.pressure_load import Load
from benchmarks.raw_connection import DATA, END_STREAM, HEADERS, RST_STREAM, RawConnection, call_headers
from engagement import v1
from engagement.uuid7 import uuid7

_RECORD: Final = call_headers("/engagement.v1.IngestService/RecordEvent")
_RETRY_DELAY: Final = b"grpc-retry-pushback-ms"
WITH_DELAY: Final = "with a delay to retry after"
_WITHOUT_DELAY: Final = "without a delay to retry after"
_TICK_SECONDS: Final = 0.005
_MAX_UNANSWERED: Final = 2_000
_ANSWER_SECONDS: Final = 10


async def closed_loop(load: Load) -> None:
    """Callers that each make one call after the other. Options: `callers`, `connections`, `account`."""
    connections = load.options["connections"]
    singles = [_Singles(load) for _ in range(connections)]
    for each in singles:
        await each.connect()
    await load.begin()
    for each in singles:
        each.repeats = True
        for _ in range(load.options["callers"] // connections):
            each.call()
    await load.end()
    for each in singles:
        each.repeats = False
        await each.close()


async def open_loop(load: Load) -> None:
    """A steady rate, whatever is answered. Options: `a_second`, `connections`, `account`."""
    singles = [_Singles(load) for _ in range(load.options["connections"])]
    for each in singles:
        await each.connect()
    await load.begin()
    rate = load.options["a_second"] / len(singles)
    await asyncio.gather(*(each.call_steadily(rate) for each in singles))
    load.notes["acknowledged"] = load.done
    load.notes["refused"] = load.refused.total()


class _Singles:
    """The calls of one connection."""

    def __init__(self, load: Load) -> None:
        self.repeats = False
        """Whether another call follows each answer."""
        self._load = load
        self._account_id: str = load.options["account"]
        self._pending: dict[int, tuple[float, str]] = {}
        self._accepted: set[int] = set()
        self._clock = asyncio.get_running_loop().time

    async def connect(self) -> None:
        """Connects."""
        self._connection = await RawConnection.connected(self._load.address, self._on_frame)
        (event,) = EventSource().take(1)
        request = v1.RecordEventRequest(account_id=self._account_id, event=event).SerializeToString()
        self._before, self._after = request.split(event.event_id.encode())

    def call(self) -> None:
        """Records an event with a new id."""
        event_id = uuid7()
        stream = self._connection.request(_RECORD, self._before + event_id.encode() + self._after)
        self._pending[stream] = self._clock(), event_id

    async def call_steadily(self, a_second: float) -> None:
        """Calls until the end, and waits for the answers."""
        begin, made = self._clock(), 0
        while not self._load.is_over:
            due = int((self._clock() - begin) * a_second)
            for _ in range(due - made):
                if self._connection.can_send and len(self._pending) < _MAX_UNANSWERED:
                    self.call()
                    self._note("sent")
                else:
                    self._note("not sent, too many unanswered")
            made = due
            await self._load.pause(_TICK_SECONDS)
        await self.close()

    async def close(self) -> None:
        """Waits for the answers, and closes the connection."""
        end = self._clock() + _ANSWER_SECONDS
        # Frames set no event, because there may be many thousands a second.
        while self._pending and self._connection.is_open and self._clock() < end:  # noqa: ASYNC110
            await asyncio.sleep(_TICK_SECONDS)
        self._note("unanswered", len(self._pending))
        self._connection.close()

    def _note(self, name: str, count: int = 1) -> None:
        self._load.notes[name] = self._load.notes.get(name, 0) + count

    def _on_frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == DATA and stream in self._pending:
            self._accepted.add(stream)
        if not (kind == RST_STREAM or (kind == HEADERS and flags & END_STREAM)):
            return
        pending = self._pending.pop(stream, None)
        if pending is None:
            return
        self._take_in(stream, *pending, kind=kind, payload=payload)
        if self.repeats:
            self.call()

    def _take_in(self, stream: int, since: float, event_id: str, *, kind: int, payload: bytes) -> None:
        """Notes how a call has ended: with a message before its trailers, or refused."""
        load = self._load
        if stream in self._accepted:
            self._accepted.discard(stream)
            load.done += 1
            load.recorded[self._account_id] += 1
            load.sample(self._account_id, event_id)
            load.latencies_ms.append((self._clock() - since) * 1000)
        elif kind == RST_STREAM:
            load.refused["reset"] += 1
        else:
            load.refused[WITH_DELAY if _RETRY_DELAY in payload else _WITHOUT_DELAY] += 1
