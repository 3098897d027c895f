"""Serves a log to the workers, whose commits share the order and the fsyncs of one committer."""

from __future__ import annotations

import asyncio
import itertools
import logging
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from engagement_server.errors import DrainingError, RequestError
from engagement_server.governor.turns import Caller
from engagement_server.log.encoding import decode_commit
from engagement_server.telemetry.context import parse_context
from engagement_server.telemetry.spans import within
from engagement_server.workers.channel import Kind
from engagement_server.workers.remote_log import Freshness, encode_freshness
from engagement_server.workers.results import encode_applied, encode_results

if TYPE_CHECKING:
    from collections.abc import Callable

    from engagement_server.log.base import CommitLog
    from engagement_server.log.committer import Committer
    from engagement_server.operations import Applied, Result
    from engagement_server.telemetry.spans import Span, Tracer
    from engagement_server.workers.channel import Channel, Message

MAX_UNREAD_BYTES = 64 * 1024 * 1024
"""Limit of the bytes that a worker leaves unread: many times the responses to all its possible requests."""
MAX_HANDED_BYTES = 8 * 1024 * 1024
"""A worker that leaves more unread reads new events from the store, until it has caught up."""
SETTLE_SECONDS = 10.0
"""How long a worker that must confirm an erasure may be silent; then it is killed."""
_FRESHNESS_SECONDS = 1.0
_WAITING = "commit of a worker"

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Worker:
    """A worker as the server of its log sees it."""

    name: str
    kill: Callable[[], None]
    received: int = 0
    """How many messages came from it; before the first, it has not read the store."""
    wanted: set[str] = field(default_factory=set)
    """Accounts whose new events it wants."""
    traceparent: str = ""
    """The trace that its next commit belongs to; empty if it is not traced."""
    settling: dict[int, asyncio.Future[None]] = field(default_factory=dict)
    """Its confirmations that are due, by number."""


class RemoteLogServer:
    """The server of `RemoteLog`, in the parent."""

    def __init__(self, log: CommitLog, committer: Committer, *, tracer: Tracer | None = None) -> None:
        """`tracer` traces the commits that workers trace."""
        self._log = log
        self._committer = committer
        self._tracer = tracer
        self._workers: dict[Channel, _Worker] = {}
        self._numbers = itertools.count(1)
        # All workers get the changes of a commit before its author gets the results.
        log.subscribe(self._send_applied)
        log.watch_freshness(lambda _: self._send_freshness())
        log.watch_room(lambda _: self._send_freshness())
        log.watch_settling(self._settle)
        self._task = asyncio.create_task(self._repeat_freshness(), name="remote-log-server")

    async def serve(self, channel: Channel, *, kill: Callable[[], None]) -> None:
        """Serves a worker until it closes the channel; calls `kill` if it does not read its messages."""
        tasks: set[asyncio.Task[None]] = set()
        channel.send(Kind.FRESHNESS, self._freshness())
        worker = self._workers[channel] = _Worker(f"worker {next(self._numbers)}", kill)
        try:
            while (request := await channel.receive()) is not None:
                worker.received += 1
                if request.kind == Kind.COMMIT:
                    self._commit(channel, request, worker)
                    continue
                if _note(worker, request):
                    continue
                task = asyncio.create_task(self._handle(channel, request), name="remote-log-request")
                tasks.add(task)
                task.add_done_callback(tasks.discard)
        finally:
            del self._workers[channel]
            for confirmation in worker.settling.values():  # it sends nothing any more
                _resolve(confirmation)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await channel.close()

    def close(self) -> None:
        """Stops sending; the workers must be gone."""
        self._task.cancel()

    def _commit(self, channel: Channel, request: Message, worker: _Worker) -> None:
        """Enqueues a commit of a worker, which has few under way, to become a part of one."""
        commit, span = decode_commit(request.data), self._span_of(worker)
        try:
            # The worker has chosen fairly between its connections.
            with within(span, ends=False):
                results = self._committer.enqueue(*commit.operations, caller=Caller(worker.name, ""))
        except DrainingError as error:
            refused = encode_results([error] * len(commit.operations))
            channel.send(Kind.RESPONSE, refused, number=request.number)
            return
        gathered = asyncio.gather(*results, return_exceptions=True)
        if span is not None:
            gathered.add_done_callback(span.end_with)
        gathered.add_done_callback(partial(_respond, channel, request.number))

    def _span_of(self, worker: _Worker) -> Span | None:
        """A span for the next commit of a worker, if that is traced."""
        traceparent, worker.traceparent = worker.traceparent, ""
        parent = parse_context(traceparent) if traceparent else None
        return None if parent is None or self._tracer is None else self._tracer.follow(_WAITING, parent)

    async def _handle(self, channel: Channel, request: Message) -> None:
        """Handles a request that has no place in the order of commits."""
        results: list[Result | RequestError] = []
        try:
            if request.kind == Kind.CATCH_UP:
                results.append(int(await self._log.catch_up()))
            elif request.kind == Kind.SETTLE:
                await self._log.settle()
            else:
                await self._log.purge()
        except RequestError as error:
            results.append(error)
        except Exception:
            _log.exception("cannot handle a request of a worker")
            channel.send(Kind.FAILED, number=request.number)
            return
        channel.send(Kind.RESPONSE, encode_results(results), number=request.number)

    async def _settle(self) -> None:
        """Returns once each worker has settled or is gone; kills those that hang."""
        await asyncio.gather(*(self._settle_one(*entry) for entry in list(self._workers.items())))

    async def _settle_one(self, channel: Channel, worker: _Worker) -> None:
        number = next(self._numbers)
        confirmation = worker.settling[number] = asyncio.get_running_loop().create_future()
        channel.send(Kind.SETTLE, number=number)
        try:
            if await _is_silent(worker, confirmation) and worker.received:
                _log.error("killing a worker that has been silent for %.0f s", SETTLE_SECONDS)
                channel.abort()
                worker.kill()
        finally:
            del worker.settling[number]

    def _freshness(self) -> bytes:
        damage = self._log.damage
        encoded = b"" if damage is None else encode_results([damage])
        return encode_freshness(
            Freshness(self._log.view_time_ms, self._log.is_current, encoded, self._log.is_full)
        )

    async def _repeat_freshness(self) -> None:
        while True:
            await asyncio.sleep(_FRESHNESS_SECONDS)
            self._send_freshness()

    def _send_freshness(self) -> None:
        freshness = self._freshness()
        for channel, worker in list(self._workers.items()):
            _send(channel, worker, Kind.FRESHNESS, freshness)

    def _send_applied(self, applied: Applied) -> None:
        """Sends each worker the changes of a commit, with the new events that it wants."""
        encoded: dict[frozenset[str], bytes] = {}
        for channel, worker in list(self._workers.items()):
            accounts: frozenset[str] = frozenset()
            if worker.wanted and channel.unread_bytes <= MAX_HANDED_BYTES:
                accounts = frozenset(worker.wanted.intersection(applied.new_events))
            if accounts not in encoded:
                encoded[accounts] = encode_applied(applied, accounts=accounts)
            _send(channel, worker, Kind.APPLIED, encoded[accounts])


def _send(channel: Channel, worker: _Worker, kind: Kind, data: bytes) -> None:
    """Sends a message that the worker did not ask for; kills it if it does not read."""
    channel.send(kind, data)
    if channel.unread_bytes > MAX_UNREAD_BYTES:
        _log.error("killing a worker that has left %d bytes unread", channel.unread_bytes)
        channel.abort()
        worker.kill()


def _note(worker: _Worker, message: Message) -> bool:
    """Notes a message of a worker that wants no answer; false if it is a request."""
    match message.kind:
        case Kind.OPENED | Kind.SETTLED:
            _resolve(worker.settling.get(message.number))
        case Kind.TRACED:
            worker.traceparent = message.data.decode()
        case Kind.WANTED:
            worker.wanted.add(message.data.decode())
        case Kind.UNWANTED:
            worker.wanted.discard(message.data.decode())
        case _:
            return False
    return True


async def _is_silent(worker: _Worker, confirmation: asyncio.Future[None]) -> bool:
    """Waits for a confirmation; true if the worker sends nothing at all for too long."""
    silent_halves = 0  # two, so that a pause of this process does not count as one of the worker
    while silent_halves < 2:
        before = worker.received
        if (await asyncio.wait([confirmation], timeout=SETTLE_SECONDS / 2))[0]:
            return False
        is_silent = worker.received == before
        silent_halves = silent_halves + 1 if is_silent else 0
    return True


def _resolve(confirmation: asyncio.Future[None] | None) -> None:
    if confirmation is not None and not confirmation.done():
        confirmation.set_result(None)


def _respond(channel: Channel, number: int, gathered: asyncio.Future[list[Result | BaseException]]) -> None:
    """Sends one result or error per operation of a commit, or that the commit failed."""
    results: list[Result | RequestError] = []
    for result in gathered.result():
        if isinstance(result, BaseException) and not isinstance(result, RequestError):
            channel.send(Kind.FAILED, number=number)  # the committer has logged the reason
            return
        results.append(result)
    channel.send(Kind.RESPONSE, encode_results(results), number=number)
