"""The commit log of many machines: each commit is a message of a replicated stream, which views follow.

A commit is published once and applied when it comes back, in the order of the stream, like those of all
other nodes. docs/decisions/0026-replicated-log.md has the reasons.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engagement_server.errors import LogError, LogUnreachableError, StoreUnavailableError
from engagement_server.log import framing
from engagement_server.log.encoding import decode_commit, encode_commit
from engagement_server.log.framing import MessageId
from engagement_server.log.joining import check_position
from engagement_server.log.nats_stream import connect
from engagement_server.log.view_age import ViewAge
from engagement_server.log.writer_thread import WriterThread
from engagement_server.operations import ChangeEpoch, CompleteErasure, LogEntry
from engagement_server.store.log_position import LogPosition

if TYPE_CHECKING:
    from engagement_server.errors import RequestError
    from engagement_server.log.base import Listener
    from engagement_server.log.nats_stream import Message, NatsSettings, NatsStream
    from engagement_server.operations import Applied, Commit, Result
    from engagement_server.store.database import DatabaseFile, Identity

_log = logging.getLogger(__name__)

PUBLISH_SECONDS = 15.0
"""How long a commit is tried to be published: longer than the stream needs for another leader."""
_ATTEMPT_SECONDS = 5.0
_APPLY_SECONDS = 10.0
_RETRY_SECONDS = 0.2
_MAX_RETRY_SECONDS = 5.0
_SOUNDING_SECONDS = 1.0
_CURRENCY_CHECK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A commit of this process on its way through the log."""

    commit: Commit
    applied: asyncio.Future[Applied]


class JetStreamLog:
    """Publishes commits, and follows the stream into the view."""

    # One is applied while the next is being published.
    max_concurrent_commits = 3

    def __init__(
        self,
        database: DatabaseFile,
        settings: NatsSettings,
        *,
        identity: Identity | None,
        max_view_age_seconds: float,
        snapshot_seconds: float = 6 * 3600,
    ) -> None:
        """Opens the view, a new one with the identity of the log. Raises ConfigurationError."""
        self._settings = settings
        self._max_view_age_seconds = max_view_age_seconds
        self._snapshot_seconds = snapshot_seconds
        self._writer = WriterThread(database, identity)
        self._position = self._writer.position
        self._age = ViewAge(sequence=self._position.sequence, time_ms=self._position.time_ms)
        self._was_current = False
        self._publisher = secrets.token_hex(8)
        self._number = 0
        self._publishing = asyncio.Lock()
        self._waiting: dict[str, _Waiting] = {}
        self._listeners: list[Listener] = []
        self._watchers: list[Callable[[bool], None]] = []
        self._stream: NatsStream | None = None
        self._connected = asyncio.Event()
        self._store_failure: StoreUnavailableError | None = None
        self._retry = asyncio.Event()
        self._retried = asyncio.Event()
        self._chores: set[asyncio.Task[None]] = set()
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tasks = [
            asyncio.create_task(self._run(), name="log"),
            asyncio.create_task(self._watch_currency(), name="log-currency"),
        ]

    @property
    def position(self) -> LogPosition:
        """The last message that the view has applied."""
        return self._position

    @property
    def view_time_ms(self) -> int:
        """See `CommitLog.view_time_ms`."""
        return self._age.time_ms

    @property
    def is_current(self) -> bool:
        """See `CommitLog.is_current`."""
        return self._age.seconds <= self._max_view_age_seconds

    def listen(self, listener: Listener) -> None:
        """See `CommitLog.listen`."""
        self._listeners.append(listener)

    def watch_currency(self, watcher: Callable[[bool], None]) -> None:
        """See `CommitLog.watch_currency`."""
        self._watchers.append(watcher)

    async def commit(self, commit: Commit) -> list[Result | RequestError]:
        """See `CommitLog.commit`.

        Where it raises after the commit was published, it may still take effect later.
        """
        deadline = asyncio.get_running_loop().time() + PUBLISH_SECONDS
        waiting = _Waiting(commit, asyncio.get_running_loop().create_future())
        async with self._publishing:  # in the order of the calls
            await self._require_view(deadline)
            self._number += 1
            message_id = MessageId(self._publisher, self._number)
            self._waiting[str(message_id)] = waiting
            try:
                await self._publish(message_id, encode_commit(commit), deadline)
            except BaseException:
                del self._waiting[str(message_id)]
                raise
        try:
            async with asyncio.timeout(_APPLY_SECONDS):
                return (await waiting.applied).results
        except TimeoutError:
            raise StoreUnavailableError("the commit is in the log, but not in the view yet") from None
        finally:
            del self._waiting[str(message_id)]

    async def purge(self) -> None:
        """See `CommitLog.purge`."""
        await self._writer.purge()

    async def close(self) -> None:
        """See `CommitLog.close`."""
        tasks = [*self._tasks, *self._chores]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        if self.failure.done() and not self.failure.cancelled():
            self.failure.exception()  # looked at
        await self._writer.close()

    # Publishing.

    async def _require_view(self, deadline: float) -> None:
        """Refuses commits that could not be answered: nothing of them gets into the log."""
        if self.failure.done():
            raise StoreUnavailableError("this server does not follow the log any more")
        if self._was_current and not self.is_current:
            raise StoreUnavailableError(f"cut off from the log for {self._age.seconds:.0f} s")
        if self._store_failure is not None:
            self._retried.clear()
            self._retry.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    await self._retried.wait()
            if self._store_failure is not None:
                raise self._store_failure

    async def _publish(self, message_id: MessageId, data: bytes, deadline: float) -> None:
        stream = await self._connected_stream(deadline)
        if len(data) < stream.max_message_bytes:
            await self._put(str(message_id), framing.COMMIT + data, deadline)
            return
        sequences = []
        for index, part in enumerate(framing.split(data, max_bytes=stream.max_message_bytes)):
            sequences.append(await self._put(message_id.part(index), part, deadline))
        await self._put(str(message_id), framing.encode_sequences(sequences), deadline)

    async def _put(self, message_id: str, data: bytes, deadline: float) -> int:
        """Puts one message into the stream, trying until the deadline; its sequence."""
        loop = asyncio.get_running_loop()
        while True:
            stream = await self._connected_stream(deadline)
            try:
                timeout_seconds = min(_ATTEMPT_SECONDS, deadline - loop.time())
                return await stream.publish(message_id, data, timeout_seconds=timeout_seconds)
            except LogUnreachableError as error:
                if loop.time() + _RETRY_SECONDS >= deadline:
                    raise StoreUnavailableError(f"no quorum of the log: {error}") from error
            await asyncio.sleep(_RETRY_SECONDS)

    async def _connected_stream(self, deadline: float) -> NatsStream:
        try:
            async with asyncio.timeout_at(deadline):
                while self._stream is None:
                    await self._connected.wait()
        except TimeoutError:
            raise StoreUnavailableError("no server of the log answers") from None
        return self._stream

    # Following.

    async def _run(self) -> None:
        """Follows the stream through one connection after the other."""
        reported = ""
        while True:
            try:
                async with connect(self._settings) as stream:
                    await check_position(stream, self._position)
                    _log.info("following the log %s from %d", self._settings.name, self._position.sequence)
                    reported = ""
                    await self._follow_through(stream)
            except LogUnreachableError as error:
                if str(error) != reported:
                    _log.warning("the log %s is out of reach: %s", self._settings.name, error)
                    reported = str(error)
            except Exception as error:  # whatever it is, the view must not go on as if nothing were
                if not isinstance(error, LogError):
                    _log.exception("the log cannot be followed")
                self.failure.set_exception(error)
                return
            await asyncio.sleep(_RETRY_SECONDS)

    async def _follow_through(self, stream: NatsStream) -> None:
        """Follows until the connection ends or nothing comes through it. Raises LogUnreachableError."""
        self._stream = stream
        self._connected.set()
        try:
            await _until_first(self._follow(stream), self._sound(stream), stream.lost())
        finally:
            self._stream = None
            self._connected.clear()
        raise LogUnreachableError("the connection has ended")

    async def _follow(self, stream: NatsStream) -> None:
        async for messages in stream.follow(after=self._position.sequence):
            await self._apply([await self._entry(stream, message) for message in messages])

    async def _sound(self, stream: NatsStream) -> None:
        """Asks again and again how far the log reaches."""
        while True:
            time_ms = time.time_ns() // 1_000_000
            state = await stream.state()
            if state.has_quorum:
                self._age.sound(state.last_sequence, time_ms=time_ms)
            await asyncio.sleep(_SOUNDING_SECONDS)

    async def _entry(self, stream: NatsStream, message: Message) -> LogEntry:
        """What a message does to the view."""
        waiting = self._waiting.get(message.message_id)
        kind = message.data[:1]
        if kind in {framing.PART, framing.FOUNDING}:
            return LogEntry(message.sequence, message.message_id, "", 0, None)
        publisher, number = MessageId.parse(message.message_id)
        if waiting is not None:
            commit = waiting.commit
        elif kind == framing.PARTS:
            commit = decode_commit(await _joined(stream, framing.decode_sequences(message.data)))
        else:
            commit = decode_commit(message.data[1:])
        return LogEntry(message.sequence, message.message_id, publisher, number, commit)

    async def _apply(self, entries: Sequence[LogEntry]) -> None:
        applied = await self._write(entries)
        self._position = LogPosition(entries[-1].sequence, entries[-1].message_id, 0)
        self._age.advance(self._position.sequence)
        for entry, outcome in zip(entries, applied, strict=True):
            if outcome is None or entry.commit is None:
                continue
            for listener in self._listeners:
                listener(outcome)
            waiting = self._waiting.get(entry.message_id)
            if waiting is not None and not waiting.applied.done():
                waiting.applied.set_result(outcome)
            self._act_on(entry.commit, outcome)

    async def _write(self, entries: Sequence[LogEntry]) -> list[Applied | None]:
        """Applies entries, however long the store fails: none may be left out."""
        delay_seconds = _RETRY_SECONDS
        while True:
            try:
                applied = await self._writer.run(lambda writer: writer.follow(entries))
            except StoreUnavailableError as error:
                _log.error("the view cannot be written: %s", error)
                self._store_failure = error
                for entry in entries:
                    waiting = self._waiting.get(entry.message_id)
                    if waiting is not None and not waiting.applied.done():
                        waiting.applied.set_exception(error)
            else:
                self._store_failure = None
                self._retried.set()
                return applied
            self._retry.clear()
            self._retried.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay_seconds):
                    await self._retry.wait()
            delay_seconds = min(2 * delay_seconds, _MAX_RETRY_SECONDS)

    def _act_on(self, commit: Commit, outcome: Applied) -> None:
        """Does what is this node's own business once a commit is applied."""
        for operation, result in zip(commit.operations, outcome.results, strict=True):
            if isinstance(operation, ChangeEpoch) and result:
                raise LogError("the log has another epoch now; start the server again")
            if isinstance(operation, CompleteErasure):
                self._start(self._purge_view())

    async def _purge_view(self) -> None:
        """Removes what an erasure that another node drove left in the files of this view."""
        try:
            await self._writer.purge_where_due()
        except StoreUnavailableError as error:
            _log.warning("the files of the view are purged later: %s", error)

    def _start(self, chore: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(chore)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    async def _watch_currency(self) -> None:
        """Tells the watchers when the view falls behind, and when it is back."""
        while True:
            if self._was_current != self.is_current:
                self._was_current = not self._was_current
                for watcher in self._watchers:
                    watcher(self._was_current)
            await asyncio.sleep(_CURRENCY_CHECK_SECONDS)


async def _joined(stream: NatsStream, sequences: Sequence[int]) -> bytes:
    """A commit out of its parts."""
    parts = []
    for sequence in sequences:
        message = await stream.read(sequence)
        if message is None:
            raise LogUnreachableError(f"the part {sequence} of a commit is not in the log any more")
        parts.append(message.data[1:])
    return b"".join(parts)


async def _until_first(*coroutines: Coroutine[Any, Any, None]) -> None:
    """Runs all until one ends, and raises what that one raised."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
