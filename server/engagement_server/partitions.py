"""Partitions: each serves the accounts of one log."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING
from zlib import crc32

from engagement_server.errors import PartitionNotServedError
from engagement_server.jobs.expiry import Expiry
from engagement_server.jobs.hot_consumers import HotConsumers
from engagement_server.jobs.supervisor import Jobs
from engagement_server.log.commit_counts import CommitCounts
from engagement_server.log.committer import Committer
from engagement_server.model import PartitionState
from engagement_server.persons import Persons
from engagement_server.profiles import Profiles
from engagement_server.streams.subscriptions import Subscriptions
from engagement_server.streams.uploads import Uploads

if TYPE_CHECKING:
    from engagement_server.cursor import Cursors
    from engagement_server.governor.memory import MemoryPlan
    from engagement_server.jobs.agreement import Terms
    from engagement_server.log.base import CommitLog, SettleCallback
    from engagement_server.metrics.measures import Measures
    from engagement_server.model import RetentionState
    from engagement_server.store.readers import Readers
    from engagement_server.supervision import Supervisor


class Partition:
    """Everything that serves the accounts of one log."""

    def __init__(  # noqa: PLR0913  # all are named at the call
        self,
        *,
        number: int,
        log: CommitLog,
        readers: Readers,
        cursors: Cursors,
        heartbeat_seconds: float,
        max_age_seconds: float,
        memory: MemoryPlan,
        terms: Terms | None,
        retention: RetentionState,
        supervisor: Supervisor,
        measures: Measures | None,
    ) -> None:
        """Without `terms`, another process runs the partition's background jobs.

        Without `measures`, it also counts what is committed.
        """
        self.number = number
        self.log = log
        self.readers = readers
        self.cursors = cursors
        self.committer = Committer(
            log,
            max_call_bytes=memory.waiting_calls_bytes,
            max_upload_bytes=memory.waiting_uploads_bytes,
            counts=CommitCounts(measures) if measures is not None else None,
        )
        self.uploads = Uploads(
            log=log,
            committer=self.committer,
            cursors=cursors,
            heartbeat_seconds=heartbeat_seconds,
            max_age_seconds=max_age_seconds,
            max_sessions=memory.max_uploads,
        )
        self.subscriptions = Subscriptions(
            log=log,
            committer=self.committer,
            readers=readers,
            cursors=cursors,
            heartbeat_seconds=heartbeat_seconds,
            max_age_seconds=max_age_seconds,
            max_subscriptions=memory.max_subscriptions,
        )
        self._jobs = Jobs(
            committer=self.committer,
            readers=readers,
            log=log,
            terms=terms,
            supervisor=supervisor,
            measures=measures,
        )
        self.erasures = self._jobs.erasures
        self.expiry = Expiry(log=log, committer=self.committer, readers=readers, state=retention)
        hot_consumers = HotConsumers(readers=readers, committer=self.committer)
        self.profiles = Profiles(readers=readers, hot_consumers=hot_consumers, cursors=cursors)
        self.persons = Persons(readers)
        self._hot_consumers = hot_consumers

    @property
    def state(self) -> PartitionState:
        """The partition as clients see it."""
        return PartitionState(
            number=self.number,
            log_epoch=f"{self.cursors.epoch:08x}",
            view_time_ms=self.log.view_time_ms or None,
            is_current=self.log.is_current,
            damage=self.log.damage.message if self.log.damage else "",
        )

    def require_undamaged(self) -> None:
        """Raises LogDamagedError if the partition serves nothing."""
        if (damage := self.log.damage) is not None:
            raise damage.with_traceback(None)

    async def drain(self) -> None:
        """Asks the clients of streams to reconnect, and stops background jobs between two steps."""
        self.uploads.drain()
        self.subscriptions.drain()
        await self._jobs.stop()

    async def close(self) -> None:
        """Commits waiting operations, and closes the log."""
        self._hot_consumers.close()
        await self.committer.close()
        self.readers.close()
        await self.log.close()


class Partitions:
    """The partitions that this node serves."""

    def __init__(self, partitions: Sequence[Partition], *, count: int) -> None:
        """`count` is the number of all partitions, on this and other nodes."""
        self.count = count
        self._partitions = {partition.number: partition for partition in partitions}

    def __iter__(self) -> Iterator[Partition]:
        return iter(self._partitions.values())

    @property
    def are_current(self) -> bool:
        """Whether all of them are current: see `CommitLog.is_current`."""
        return all(partition.log.is_current for partition in self)

    def of(self, account_id: str) -> Partition:
        """The partition of an account. Raises PartitionNotServedError and LogDamagedError."""
        number = partition_number(account_id, count=self.count)
        partition = self._partitions.get(number)
        if partition is None:
            raise PartitionNotServedError(account_id=account_id, partition=number, partition_count=self.count)
        partition.require_undamaged()
        return partition

    def states(self) -> list[PartitionState]:
        """All of them as clients see them."""
        return [partition.state for partition in self]

    def view_time_ms(self, account_id: str) -> int | None:
        """The time up to which answers about an account are complete; None if they are current."""
        partition = self._partitions.get(partition_number(account_id, count=self.count))
        if partition is None or partition.log.is_current:
            return None
        return partition.log.view_time_ms

    def watch_freshness(self, watcher: Callable[[bool], None]) -> None:
        """Registers `watcher`, which is called with `are_current` when that may have changed."""
        for partition in self:
            partition.log.watch_freshness(lambda _: watcher(self.are_current))

    @property
    def is_expiry_held(self) -> bool:
        """Whether expiry is held in any of them."""
        return any(partition.expiry.state.hold is not None for partition in self)

    def watch_expiry(self, watcher: Callable[[], None]) -> None:
        """Registers `watcher`, which is called when `is_expiry_held` may have changed."""
        for partition in self:
            partition.expiry.watch(watcher)

    def watch_erasures(self, watcher: Callable[[Collection[str]], None], *, settle: SettleCallback) -> None:
        """Registers `watcher`, called with the accounts of each erasure, and `settle`: see `CommitLog`."""
        for partition in self:
            partition.log.subscribe(lambda applied: watcher(applied.erased.keys()))
            partition.log.watch_settling(settle)


def partition_number(account_id: str, *, count: int) -> int:
    """The number of an account's partition, as the contract defines it."""
    return crc32(account_id.encode()) % count if count > 1 else 0
