"""The commit log of many machines: each commit is a message of a replicated stream, which views follow.

A commit is published once and applied when it comes back, in the order of the stream, like those of all
other nodes. docs/decisions/0026-replicated-log.md has the reasons.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engagement_server.errors import StoreUnavailableError
from engagement_server.faults import LogError, LogUnreachableError
from engagement_server.log.encoding import encode_commit
from engagement_server.log.nats.compression import compress
from engagement_server.log.nats.connection import Servers
from engagement_server.log.nats.continuity import check_position
from engagement_server.log.nats.entries import read_entry
from engagement_server.log.nats.metrics import LogMetrics
from engagement_server.log.nats.publisher import Publisher
from engagement_server.log.nats.snapshots.schedule import SnapshotSchedule
from engagement_server.log.nats.sounding import Sounding
from engagement_server.log.nats.stream import PUBLISH_SECONDS, connect
from engagement_server.log.nats.turnover import Turnover
from engagement_server.log.writer_thread import WriterThread
from engagement_server.operations import ChangeEpoch, CompleteErasure, LogEntry
from engagement_server.store.log_position import LogPosition

if TYPE_CHECKING:
    from engagement_server.errors import RequestError
    from engagement_server.log.base import Listener
    from engagement_server.log.nats.connection import NatsSettings
    from engagement_server.log.nats.stream import Message, NatsStream
    from engagement_server.operations import Applied, Commit, Result
    from engagement_server.store.database import DatabaseFile, Identity

_log = logging.getLogger(__name__)

_APPLY_SECONDS = 10.0
_RETRY_SECONDS = 0.2
_MAX_RETRY_SECONDS = 5.0
_PURGE_RETRY_SECONDS = 10.0
_REPORT_SECONDS = 10.0


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
        self._snapshots = SnapshotSchedule(database, interval_seconds=snapshot_seconds)
        self._writer = WriterThread(database, identity)
        self._turnover = Turnover(
            max_age_seconds=settings.max_age_seconds, last_erasure_ms=self._writer.last_erasure_ms
        )
        self._position = self._writer.position
        self._sounding = Sounding(self._position, max_age_seconds=max_view_age_seconds)
        self._publisher = Publisher()
        self._publishing = asyncio.Lock()
        self._waiting: dict[str, _Waiting] = {}
        self._listeners: list[Listener] = []
        self._store_failure: StoreUnavailableError | None = None
        self._retry = asyncio.Event()
        self._retried = asyncio.Event()
        self._applying: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._applying.set_result(None)
        # Also what was left when the node ended.
        self._purge_due = asyncio.Event()
        self._purge_due.set()
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._metrics = LogMetrics(
            settings.name,
            lag_messages=lambda: self._sounding.lag_messages,
            view_age_seconds=lambda: self._sounding.age_seconds,
            snapshot_age_seconds=lambda: self._snapshots.age_seconds,
        )
        self._tasks = [
            asyncio.create_task(self._run(), name="log"),
            asyncio.create_task(self._sounding.tell_watchers(), name="log-currency"),
            asyncio.create_task(self._keep_purged(), name="log-purge"),
        ]

    @property
    def position(self) -> LogPosition:
        """The last message that the view has applied."""
        return self._position

    @property
    def view_time_ms(self) -> int:
        """See `CommitLog.view_time_ms`."""
        return self._sounding.view_time_ms

    @property
    def is_current(self) -> bool:
        """See `CommitLog.is_current`."""
        return self._sounding.is_current

    def subscribe(self, listener: Listener) -> None:
        """See `CommitLog.subscribe`."""
        self._listeners.append(listener)

    def watch_freshness(self, watcher: Callable[[bool], None]) -> None:
        """See `CommitLog.watch_freshness`."""
        self._sounding.watch_freshness(watcher)

    async def commit(self, commit: Commit) -> list[Result | RequestError]:
        """See `CommitLog.commit`.

        Where it raises after the commit was published, it may still take effect later.
        """
        deadline = asyncio.get_running_loop().time() + PUBLISH_SECONDS
        waiting = _Waiting(commit, asyncio.get_running_loop().create_future())
        async with self._publishing:  # in the order of the calls
            await self._require_view(deadline)
            message_id = self._publisher.next_id()
            self._waiting[str(message_id)] = waiting
            began = time.monotonic()
            try:
                data = await compress(encode_commit(commit))
                await self._publisher.publish(message_id, data, deadline=deadline)
            except BaseException:
                del self._waiting[str(message_id)]
                raise
            self._metrics.published(seconds=time.monotonic() - began)
        try:
            async with asyncio.timeout(_APPLY_SECONDS):
                return (await waiting.applied).results
        except TimeoutError:
            raise StoreUnavailableError("the commit is in the log, but not in the view yet") from None
        finally:
            del self._waiting[str(message_id)]

    async def catch_up(self) -> bool:
        """See `CommitLog.catch_up`."""
        await self._sounding.catch_up()
        return True

    async def purge(self) -> None:
        """See `CommitLog.purge`."""
        await self._writer.purge()

    async def close(self) -> None:
        """See `CommitLog.close`."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        self._applying.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):  # it was said by `failure`
            await self._applying
        if self.failure.done() and not self.failure.cancelled():
            self.failure.exception()  # looked at
        await self._writer.close()
        self._metrics.close()

    # Publishing.

    async def _require_view(self, deadline: float) -> None:
        """Refuses commits that could not be answered: nothing of them gets into the log."""
        if self.failure.done():
            raise StoreUnavailableError("this server does not follow the log any more")
        await self._sounding.require_current()
        if self._store_failure is not None:
            self._retried.clear()
            self._retry.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    await self._retried.wait()
            if self._store_failure is not None:
                raise self._store_failure

    # Following.

    async def _run(self) -> None:
        """Follows the stream through one connection after the other."""
        servers = Servers(self._settings)
        silent_until = 0.0
        while True:
            try:
                await self._applying  # what the last connection brought
                async with connect(servers, creates=self._position.sequence == 0) as stream:
                    await check_position(stream, self._position)
                    _log.info(
                        "following %s from %d through %s",
                        self._settings.name,
                        self._position.sequence,
                        stream.server,
                    )
                    silent_until = 0.0
                    await self._follow_through(stream)
            except LogUnreachableError as error:
                if time.monotonic() >= silent_until:
                    _log.warning("%s is out of reach: %s", self._settings.name, error)
                    silent_until = time.monotonic() + _REPORT_SECONDS
            except Exception as error:  # whatever it is
                self._fail(error)
                return
            await asyncio.sleep(_RETRY_SECONDS)

    async def _follow_through(self, stream: NatsStream) -> None:
        """Follows until the connection ends or nothing comes through it. Raises LogUnreachableError."""
        self._publisher.connect(stream)
        try:
            await _until_first(
                self._follow(stream),
                self._sounding.run(stream),
                self._snapshots.run(stream),
                self._turnover.run(stream),
                stream.lost(),
            )
        finally:
            self._publisher.disconnect()
        raise LogUnreachableError("the connection has ended")

    async def _follow(self, stream: NatsStream) -> None:
        async for messages in stream.follow(after=self._position.sequence):
            self._turnover.take(sum(len(message.data) for message in messages))
            # Read while those before are applied.
            entries = [await self._entry(stream, message) for message in messages]
            # The end of the connection must not come between the view and those who are told of it.
            await asyncio.shield(self._applying)
            self._applying = asyncio.create_task(self._apply_or_fail(entries), name="log-apply")

    async def _entry(self, stream: NatsStream, message: Message) -> LogEntry:
        waiting = self._waiting.get(message.message_id)
        return await read_entry(stream, message, known=None if waiting is None else waiting.commit)

    async def _apply_or_fail(self, entries: Sequence[LogEntry]) -> None:
        try:
            await self._apply(entries)
        except Exception as error:
            self._fail(error)
            raise

    def _fail(self, error: Exception) -> None:
        """Makes the log useless: its view must not go on as if nothing were."""
        if not self.failure.done():
            if not isinstance(error, LogError):
                _log.error("the log cannot be followed", exc_info=error)
            self.failure.set_exception(error)

    async def _apply(self, entries: Sequence[LogEntry]) -> None:
        applied = await self._write(entries)
        self._position = LogPosition(entries[-1].sequence, entries[-1].message_id, 0)
        self._sounding.advance(self._position.sequence)
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
                applied = await self._writer.run(lambda writer: writer.apply_entries(entries))
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
                self._purge_due.set()
                self._turnover.note_erasure()

    async def _keep_purged(self) -> None:
        """Removes what erasures that other nodes drove left in the files of this view."""
        while True:
            await self._purge_due.wait()
            self._purge_due.clear()
            try:
                await self._writer.purge_where_due()
            except StoreUnavailableError as error:
                _log.warning("the files of the view are purged later: %s", error)
                await asyncio.sleep(_PURGE_RETRY_SECONDS)
                self._purge_due.set()


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
        for task in tasks:
            if not task.cancelled():
                task.exception()  # only the first counts
