"""A server of several processes, as the one that writes has it: stores and logs are here, calls elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from engagement_server.jobs.supervisor import Jobs
from engagement_server.log.committer import Committer
from engagement_server.node import open_assemblies, retention_ages
from engagement_server.store.readers import Readers
from engagement_server.workers.host import LogHost
from engagement_server.workers.pool import Workers
from engagement_server.workers.port import ReservedPort

if TYPE_CHECKING:
    from engagement_server.config import Config
    from engagement_server.jobs.retention import Ages
    from engagement_server.log.base import CommitLog
    from engagement_server.log.nats.config import LogConfig
    from engagement_server.store.database import DatabaseFile

# For what is too old, and for erasures that nobody works on.
_READER_THREADS = 1


class OwnedPartition:
    """What writes the partition of a log, for all workers."""

    def __init__(self, number: int, database: DatabaseFile, log: CommitLog, *, ages: Ages) -> None:
        self.number = number
        self.log = log
        self._database = database
        self._committer = Committer(log)
        self.host = LogHost(log, self._committer)
        self._readers = Readers(database, threads=_READER_THREADS)
        self._jobs = Jobs(committer=self._committer, readers=self._readers, log=log, ages=ages)

    async def close(self) -> None:
        """Commits what waits, and ends the log."""
        await self._jobs.stop()
        self.host.close()
        await self._committer.close()
        self._readers.close()
        await self.log.close()
        self._database.close()


class Parent:
    """Writes for its workers, and does what is to be done now and then."""

    def __init__(
        self,
        partitions: Sequence[OwnedPartition],
        workers: Workers,
        ending: contextlib.AsyncExitStack,
        *,
        address: str,
    ) -> None:
        self.address = address
        self._partitions = partitions
        self._workers = workers
        self._ending = ending

    @classmethod
    async def start(cls, config: Config, log: LogConfig | None, *, worker_count: int) -> Self:
        """Opens the stores, joins the log, and starts workers that take calls. Raises ConfigurationError."""
        ages = retention_ages(config)
        assemblies = await open_assemblies(config, log)
        partitions = [OwnedPartition(*assembly, ages=ages) for assembly in assemblies]
        async with contextlib.AsyncExitStack() as ending:
            for partition in partitions:
                ending.push_async_callback(partition.close)
            port = await ReservedPort.take(config.listen)
            ending.callback(port.close)
            workers = Workers(
                replace(config, listen=port.address),
                {partition.number: partition.host for partition in partitions},
                count=worker_count,
            )
            ending.push_async_callback(workers.stop)
            await workers.start()
            return cls(partitions, workers, ending.pop_all(), address=port.address)

    async def fail(self) -> None:
        """Raises LogError once a log is of no use until the server is started again."""
        failures: list[asyncio.Future[None]] = [partition.log.failure for partition in self._partitions]
        failing = asyncio.create_task(self._workers.fail())
        try:
            done, _ = await asyncio.wait([*failures, failing], return_when=asyncio.FIRST_COMPLETED)
        finally:
            failing.cancel()
        for failure in done:
            failure.result()

    async def stop(self) -> None:
        """Has the workers end their calls, commits what they left, and closes the stores."""
        await self._ending.aclose()
