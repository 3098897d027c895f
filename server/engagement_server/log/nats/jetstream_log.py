"""The commit log of many machines: commits are messages of a replicated stream, applied by every node.

A commit is published once, and applied when it comes back in the order of the stream, like those of other
nodes. docs/decisions/0026-replicated-log.md has the reasons.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from engagement_server.errors import (
    InapplicableCommitError,
    LogError,
    LogUnreachableError,
    StoreUnavailableError,
    SubscriberError,
    UnusableMessageError,
)
from engagement_server.log.disk_room import DiskRoom, require_room
from engagement_server.log.nats.applier import Applier
from engagement_server.log.nats.block_roller import BlockRoller
from engagement_server.log.nats.connection import Servers
from engagement_server.log.nats.damage import Damage
from engagement_server.log.nats.divergence import check_position
from engagement_server.log.nats.entries import encode_entry
from engagement_server.log.nats.freshness import FreshnessMonitor
from engagement_server.log.nats.incoming import Incoming
from engagement_server.log.nats.metrics import LogMetrics
from engagement_server.log.nats.pending import PendingCommits
from engagement_server.log.nats.publisher import Publisher
from engagement_server.log.nats.racing import until_first
from engagement_server.log.nats.snapshots.schedule import SnapshotSchedule
from engagement_server.log.nats.stream import PUBLISH_SECONDS, connect
from engagement_server.log.nats.voting import Voting
from engagement_server.metrics.measures import Measures
from engagement_server.operations import ChangeEpoch, CompleteErasure
from engagement_server.store.log_digest import BOUNDARY_MESSAGES
from engagement_server.supervision import call_all, supervise
from engagement_server.telemetry.exceptions import summary
from engagement_server.telemetry.spans import Kind, child

if TYPE_CHECKING:
    from engagement_server.errors import LogDamagedError, RequestError
    from engagement_server.log.base import AppliedCallback, FreshnessCallback, RoomCallback, SettleCallback
    from engagement_server.log.nats.connection import NatsSettings
    from engagement_server.log.nats.stream import NatsStream
    from engagement_server.log_entries import LogEntry
    from engagement_server.operations import Applied, Commit, Result
    from engagement_server.store.database import DatabaseFile, Identity
    from engagement_server.store.log_position import LogPosition
    from engagement_server.store.reserve import Reserve

_log = logging.getLogger(__name__)

_APPLY_SECONDS = 10.0
_RETRY_SECONDS = 0.2
_REPORT_SECONDS = 10.0
# How often a node looks whether a damaged message was repaired or is skipped.
_DAMAGE_RETRY_SECONDS = 5.0


class JetStreamLog:
    """Publishes commits, and replicates the stream into the view."""

    # One is applied while the next is being published.
    max_concurrent_commits = 3
    takes_lanes_apart = False
    has_other_writers = True

    def __init__(  # noqa: PLR0913  # most are named at the call
        self,
        database: DatabaseFile,
        settings: NatsSettings,
        *,
        identity: Identity | None,
        max_view_age_seconds: float,
        snapshot_seconds: float = 6 * 3600,
        reserve: Reserve | None = None,
        node_id: str = "",
        measures: Measures | None = None,
    ) -> None:
        """Opens the view, a new one with the identity of the log. Raises ConfigurationError.

        Takes over the reserve: disk space for removal. All logs of a node have the same `node_id`. `measures`
        gets what the log measures.
        """
        self._reserve = reserve
        self._room = DiskRoom(reserve)
        self._settings = settings
        self._snapshots = SnapshotSchedule(database, interval_seconds=snapshot_seconds)
        self._pending = PendingCommits()
        self._applier = Applier(database, identity, on_delay=self._pending.fail, reserve=reserve)
        self._block_roller = BlockRoller(
            max_age_seconds=settings.max_age_seconds, last_erasure_ms=self._applier.last_erasure_ms
        )
        self._freshness = FreshnessMonitor(self._applier.position, max_age_seconds=max_view_age_seconds)
        self._publisher = Publisher(node_id)
        self.node_id = self._publisher.name
        self._publishing = asyncio.Lock()
        self._callbacks: list[AppliedCallback] = []
        self._settle_callbacks: list[SettleCallback] = []
        self._applying: asyncio.Future[None] = _done()
        self._voting = Voting(
            self._publisher,
            compare=self._applier.compare_digests,
            is_current=lambda: self._freshness.is_current,
        )
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._metrics = LogMetrics(
            settings.name, measures or Measures(), freshness=self._freshness, snapshots=self._snapshots
        )
        self._damage = Damage(settings.name, on_change=self._note_damage)
        self._damage.compare(self._applier.divergence)
        self._tasks = [
            asyncio.create_task(self._run(), name="log"),
            asyncio.create_task(supervise("log-freshness", self._freshness.notify), name="log-freshness"),
        ]

    @property
    def position(self) -> LogPosition:
        """The last entry that the view has applied."""
        return self._applier.position

    @property
    def view_time_ms(self) -> int:
        """See `CommitLog.view_time_ms`."""
        return self._freshness.age.time_ms

    @property
    def is_current(self) -> bool:
        """See `CommitLog.is_current`."""
        return self._freshness.is_current

    @property
    def lag_messages(self) -> int:
        """See `CommitLog.lag_messages`."""
        return self._freshness.lag_messages

    @property
    def damage(self) -> LogDamagedError | None:
        """See `CommitLog.damage`."""
        return self._damage.current

    @property
    def is_full(self) -> bool:
        """See `CommitLog.is_full`."""
        return self._room.is_full

    def subscribe(self, callback: AppliedCallback) -> None:
        """See `CommitLog.subscribe`."""
        self._callbacks.append(callback)

    def want_events(self, account_id: str, *, are_wanted: bool) -> None:
        """See `CommitLog.want_events`."""

    def watch_freshness(self, callback: FreshnessCallback) -> None:
        """See `CommitLog.watch_freshness`."""
        self._freshness.watch_freshness(callback)

    def watch_room(self, callback: RoomCallback) -> None:
        """See `CommitLog.watch_room`."""
        self._room.watch(callback)

    async def look_for_room(self) -> None:
        """See `CommitLog.look_for_room`."""
        await self._room.look(self._applier.run)

    async def commit(self, commit: Commit) -> list[Result | RequestError]:
        """See `CommitLog.commit`.

        If it raises after the commit was published, the commit may still take effect later.
        """
        deadline = asyncio.get_running_loop().time() + PUBLISH_SECONDS
        with contextlib.ExitStack() as stack:
            async with self._publishing:  # in the order of the calls
                await self._require_view(deadline)
                require_room(commit.operations, self._reserve)
                message_id = self._publisher.next_id()
                applied = stack.enter_context(self._pending.add(str(message_id), commit))
                began = time.monotonic()
                with child("publish", kind=Kind.PRODUCER):
                    await self._publisher.publish(message_id, await encode_entry(commit), deadline=deadline)
                self._metrics.published(seconds=time.monotonic() - began)
            try:
                async with asyncio.timeout(_APPLY_SECONDS):
                    with child("apply"):
                        return (await applied).results
            except TimeoutError:
                raise StoreUnavailableError("the commit is in the log, but not in the view yet") from None

    async def catch_up(self) -> bool:
        """See `CommitLog.catch_up`."""
        await self._freshness.catch_up()
        return True

    async def purge(self) -> None:
        """See `CommitLog.purge`."""
        await self._applier.purge()

    def watch_settling(self, callback: SettleCallback) -> None:
        """See `CommitLog.watch_settling`."""
        self._settle_callbacks.append(callback)

    async def settle(self) -> None:
        """See `CommitLog.settle`."""
        await asyncio.gather(*(callback() for callback in self._settle_callbacks))

    async def close(self) -> None:
        """See `CommitLog.close`."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        await self._voting.close()
        self._applying.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):  # `failure` has reported it
            await self._applying
        if self.failure.done() and not self.failure.cancelled():
            self.failure.exception()  # marks it as retrieved
        await self._applier.close()
        if self._reserve is not None:
            self._reserve.close()

    async def _require_view(self, deadline: float) -> None:
        """Refuses commits that could not be answered, before any of them is in the log."""
        if self.failure.done():
            raise StoreUnavailableError("this server does not replicate the log any more")
        await self._freshness.require_current()
        await self._applier.require_writable(deadline)

    async def _run(self) -> None:
        """Replicates the stream over one connection after another."""
        servers, name = Servers(self._settings), self._settings.name
        silent_until = 0.0
        while True:
            try:
                await self._applying  # the entries of the last connection
                async with connect(servers, creates=self.position.sequence == 0) as stream:
                    await check_position(stream, self.position)
                    if self.damage is None:
                        _log.info(
                            "replicating %s from %d via %s", name, self.position.sequence, stream.server
                        )
                    silent_until = 0.0
                    await self._use(stream)
            except UnusableMessageError as error:
                if self._applying.done():  # otherwise entries before the damage are yet to be applied
                    self._applying = _done()
                self._damage.stop_before(error)
                await asyncio.sleep(_DAMAGE_RETRY_SECONDS)
            except LogUnreachableError as error:
                if time.monotonic() >= silent_until:
                    _log.warning("%s is unreachable: %s", name, error)
                    silent_until = time.monotonic() + _REPORT_SECONDS
            except Exception as error:  # any other error makes the log unusable
                self._fail(error)
                return
            await asyncio.sleep(_RETRY_SECONDS)

    async def _use(self, stream: NatsStream) -> None:
        """Uses a connection until it ends or falls silent, then raises LogUnreachableError."""
        self._publisher.connect(stream)
        incoming = Incoming(
            stream,
            after=self.position.sequence,
            commit_of=self._pending.get,
            on_foreign=self._metrics.note_foreign,
        )
        try:
            await self._compare_digests()
            await until_first(
                self._replicate(incoming),
                incoming.watch_end(lambda: self._freshness.last_sequence),
                self._freshness.run(stream),
                self._snapshots.run(stream),
                self._block_roller.run(stream),
                stream.lost(),
            )
        finally:
            self._publisher.disconnect()
        raise LogUnreachableError("the connection has ended")

    async def _replicate(self, incoming: Incoming) -> None:
        # Entries are read while the previous ones are applied.
        async for entries, size_bytes in incoming.entries():
            self._block_roller.note_received(size_bytes)
            # The end of the connection must not separate applying from the callbacks.
            await asyncio.shield(self._applying)
            self._applying = asyncio.create_task(self._apply_or_fail(entries), name="log-apply")

    async def _apply_or_fail(self, entries: Sequence[LogEntry]) -> None:
        try:
            await self._apply(entries)
        except UnusableMessageError as error:
            self._damage.stop_before(error)
            raise  # to the next entries, which must not be applied before this one
        except Exception as error:
            self._fail(error)
            raise

    def _fail(self, error: Exception) -> None:
        """Makes the log unusable, because its view would be wrong from here on."""
        if not self.failure.done():
            if not isinstance(error, LogError):
                _log.error("cannot replicate the log", exc_info=error)
            self.failure.set_exception(error)

    async def _apply(self, entries: Sequence[LogEntry]) -> None:
        try:
            applied = await self._applier.apply(entries)
        except InapplicableCommitError:
            if len(entries) == 1:
                raise
            for entry in entries:  # those before the one that fails are applied
                await self._apply([entry])
            return
        self._freshness.advance(self.position.sequence)
        self._damage.advance(self.position.sequence)
        for entry, outcome in zip(entries, applied, strict=True):
            if outcome is None or entry.commit is None:
                continue
            error = call_all("commit-log", self._callbacks, outcome)
            self._pending.finish(entry.message_id, outcome)
            if error is not None:
                raise SubscriberError(error, text=summary(error))
            self._act_on(entry.commit, outcome)
        if any(entry.note or entry.sequence % BOUNDARY_MESSAGES == 0 for entry in entries):
            await self._compare_digests()

    async def _compare_digests(self) -> None:
        """Compares the view with others, and votes when that is needed."""
        state = await self._applier.compare_digests()
        self._damage.compare(state.divergence)
        self._voting.begin(state)

    def _note_damage(self, damage: LogDamagedError | None) -> None:
        self._freshness.set_damage(damage)
        self._snapshots.is_held = damage is not None
        if damage is not None:
            self._pending.fail_all(damage)

    def _act_on(self, commit: Commit, outcome: Applied) -> None:
        """Handles operations that concern the node itself, beyond its view."""
        for operation, result in zip(commit.operations, outcome.results, strict=True):
            if isinstance(operation, ChangeEpoch) and result:
                raise LogError("the log has another epoch now; start the server again")
            if isinstance(operation, CompleteErasure):
                self._applier.schedule_purge()
                self._block_roller.note_erasure()


def _done() -> asyncio.Future[None]:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.set_result(None)
    return future
