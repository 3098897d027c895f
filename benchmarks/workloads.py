"""The work by which two versions of the server are compared: its messages, and what they cost a server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final, NamedTuple, TypeAlias, TypeVar

import grpc

from benchmarks.events import EventSource
from benchmarks.load import ACCOUNT_ID, chunk_message, time_calls, upload
from benchmarks.processes import RunningServer
from benchmarks.usage import tree_cpu_seconds
from engagement import v1
from engagement.limits import MAX_CHUNK_EVENTS

_INGEST: Final = "/engagement.v1.IngestService"
_EVENTS: Final = "/engagement.v1.EventService"
_CALLERS: Final = 16
_UPLOADED_EVENTS: Final = 50_000
_REJECTED_EVENTS: Final = 20_000
_SINGLE_EVENTS: Final = 1_000
_SINGLE_EVENTS_TOGETHER: Final = 3_000
_READS: Final = 3_000
_PAGE_EVENTS: Final = 50
_NO_MONTH: Final = 13
_UPLOAD_EVENTS: Final = 10_000
_CALL_PIECES: Final = 10

T = TypeVar("T")


Piece: TypeAlias = Callable[[grpc.aio.Channel], Awaitable[None]]
"""Little work for a server: what else the machine does hits both versions alike if they take turns."""


class Workload(NamedTuple):
    """Work of one kind; its messages are the same for both versions."""

    name: str
    units: int
    """Events or calls that it consists of."""
    sent: int
    """Events among them: what they take on disk is divided by their number."""
    pieces: Sequence[Piece]


class Contestant:
    """A running server of one version."""

    def __init__(self, server: RunningServer, channel: grpc.aio.Channel) -> None:
        self._server = server
        self._channel = channel

    @property
    def cpu_seconds(self) -> float:
        """Processor time that the server has used."""
        return tree_cpu_seconds(self._server.pid)

    async def run(self, piece: Piece) -> bool:
        """Does some work; False if the server lacks the call."""
        is_known = True
        try:
            await piece(self._channel)
        except* grpc.aio.AioRpcError as errors:
            if any(error.code() != grpc.StatusCode.UNIMPLEMENTED for error in _leaves(errors)):
                raise
            is_known = False
        return is_known


def make_workloads(source: EventSource) -> dict[str, list[Workload]]:
    """The work of one round, with new events, by kind of events; each kind is for a store of its own."""
    uploaded = source.take(_UPLOADED_EVENTS)
    read = [uploaded[number * len(uploaded) // _READS] for number in range(_READS)]
    by_id = [
        v1.GetEventRequest(account_id=ACCOUNT_ID, event_id=event.event_id).SerializeToString()
        for event in read
    ]
    page = v1.ListEventsRequest(account_id=ACCOUNT_ID, page_size=_PAGE_EVENTS).SerializeToString()
    rejected = source.take(_REJECTED_EVENTS)
    for event in rejected:
        event.customer_info.last_payment_date.month = _NO_MONTH
    return {
        "accepted": [
            _upload("bulk upload, an event", uploaded),
            _calls(f"GetEvent, {_CALLERS} callers", f"{_EVENTS}/GetEvent", by_id),
            _calls(f"a page of {_PAGE_EVENTS}, {_CALLERS} callers", f"{_EVENTS}/ListEvents", [page] * _READS),
            _record(source, _SINGLE_EVENTS, callers=1),
            _record(source, _SINGLE_EVENTS_TOGETHER, callers=_CALLERS),
        ],
        "rejected": [_upload("bulk upload, a rejected event", rejected, are_rejected=True)],
    }


def _record(source: EventSource, count: int, *, callers: int) -> Workload:
    requests = [
        v1.RecordEventRequest(account_id=ACCOUNT_ID, event=event).SerializeToString()
        for event in source.take(count)
    ]
    name = f"RecordEvent, {callers} caller{'s' if callers > 1 else ''}"
    return _calls(name, f"{_INGEST}/RecordEvent", requests, callers=callers)._replace(sent=count)


def _calls(name: str, method: str, requests: Sequence[bytes], *, callers: int = _CALLERS) -> Workload:
    def piece(some: Sequence[bytes]) -> Piece:
        async def run(channel: grpc.aio.Channel) -> None:
            await time_calls(channel, method, requests=some, callers=callers)

        return run

    pieces = [piece(some) for some in _cut(requests, len(requests) // _CALL_PIECES)]
    return Workload(name, len(requests), 0, pieces)


def _upload(name: str, events: Sequence[v1.Event], *, are_rejected: bool = False) -> Workload:
    def piece(some: Sequence[v1.Event]) -> Piece:
        parts = _cut(some, MAX_CHUNK_EVENTS)
        chunks = [chunk_message(part, sequence=sequence) for sequence, part in enumerate(parts, 1)]

        async def run(channel: grpc.aio.Channel) -> None:
            tally = (await upload(channel, chunks, account_id=ACCOUNT_ID, keep_going=are_rejected)).tally
            if (tally.rejected if are_rejected else tally.accepted) != len(some):
                raise RuntimeError(f"{name}: of {len(some)} events {tally}")

        return run

    pieces = [piece(some) for some in _cut(events, _UPLOAD_EVENTS)]
    return Workload(name, len(events), len(events), pieces)


def _cut(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _leaves(errors: BaseExceptionGroup[grpc.aio.AioRpcError]) -> list[grpc.aio.AioRpcError]:
    leaves: list[grpc.aio.AioRpcError] = []
    for error in errors.exceptions:
        leaves += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return leaves
