"""The parent of the workers: owns stores and logs, and runs the background jobs; workers serve the calls."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from engagement_server.governor.memory import MemoryMeter, Pressure, watch_memory
from engagement_server.jobs.supervisor import Jobs
from engagement_server.log.committer import Committer
from engagement_server.metrics.rejections import Rejections, Snapshot
from engagement_server.node import open_assemblies, terms_of
from engagement_server.store.readers import Readers
from engagement_server.supervision import Supervisor
from engagement_server.workers.counts import REJECTIONS, Part, SharedCounts
from engagement_server.workers.pool import WorkerPool
from engagement_server.workers.port import ReservedPort
from engagement_server.workers.remote_log_server import RemoteLogServer

if TYPE_CHECKING:
    from engagement_server.config import Config
    from engagement_server.governor.memory import MemoryPlan
    from engagement_server.jobs.agreement import Terms
    from engagement_server.log.nats.config import LogConfig
    from engagement_server.node import Assembly

# Only the background jobs read here.
_READER_THREADS = 1
_PRESSURE_TEXTS = {
    Pressure.NONE: "the process that writes is within its share of --max-memory again",
    Pressure.SOFT: "the process that writes takes almost its share of --max-memory",
    Pressure.HARD: "the process that writes takes its share of --max-memory; the server needs more",
}


class OwnedPartition:
    """A partition in the parent: its log, its committer and its background jobs."""

    def __init__(
        self, assembly: Assembly, *, terms: Terms, memory: MemoryPlan, supervisor: Supervisor
    ) -> None:
        self.number, self._database, self.log = assembly
        log, database = assembly.log, assembly.database
        self._committer = Committer(
            log, max_call_bytes=memory.waiting_calls_bytes, max_upload_bytes=memory.waiting_uploads_bytes
        )
        self.log_server = RemoteLogServer(log, self._committer)
        self._readers = Readers(database, threads=_READER_THREADS)
        self._jobs = Jobs(
            committer=self._committer, readers=self._readers, log=log, terms=terms, supervisor=supervisor
        )

    @property
    def is_busy(self) -> bool:
        """Whether an operation is waiting or being committed."""
        return self._committer.is_busy

    async def close(self) -> None:
        """Commits the waiting operations and closes the log."""
        await self._jobs.stop()
        self.log_server.close()
        await self._committer.close()
        self._readers.close()
        await self.log.close()
        self._database.close()


class Parent:
    """A running server of several processes, as seen from the parent."""

    def __init__(
        self,
        partitions: Sequence[OwnedPartition],
        workers: WorkerPool,
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
        """Opens stores and logs, and starts workers that accept calls. Raises ConfigurationError."""
        terms = terms_of(config)
        async with contextlib.AsyncExitStack() as ending:
            # First: a start that is refused leaves no folder behind.
            share = config.memory_plan(processes=worker_count + 1)
            port = await ReservedPort.take(config.listen)
            ending.callback(port.close)
            assemblies = await open_assemblies(config, log)
            supervisor = Supervisor()
            partitions = [
                OwnedPartition(assembly, terms=terms, memory=share, supervisor=supervisor)
                for assembly in assemblies
            ]
            for partition in partitions:
                ending.push_async_callback(partition.close)
            workers = WorkerPool(
                replace(config, listen=port.address, max_memory=str(share.limit_bytes)),
                {partition.number: partition.log_server for partition in partitions},
                SharedCounts({REJECTIONS: Part(Rejections(), Snapshot)}),
                count=worker_count,
            )
            ending.push_async_callback(workers.stop)
            supervisor.watch(lambda: workers.report_stalled(supervisor.stalled_services))
            ending.callback(_watch_memory(share, partitions, supervisor).cancel)
            await workers.start()
            return cls(partitions, workers, ending.pop_all(), address=port.address)

    async def fail(self) -> None:
        """Raises LogError once a log cannot be used until the server is restarted."""
        failures: list[asyncio.Future[None]] = [partition.log.failure for partition in self._partitions]
        failing = asyncio.create_task(self._workers.fail())
        try:
            done, _ = await asyncio.wait([*failures, failing], return_when=asyncio.FIRST_COMPLETED)
        finally:
            failing.cancel()
        for failure in done:
            failure.result()

    async def stop(self) -> None:
        """Stops the workers, commits their last operations, and closes the stores."""
        await self._ending.aclose()


def _watch_memory(
    share: MemoryPlan, partitions: Sequence[OwnedPartition], supervisor: Supervisor
) -> asyncio.Task[None]:
    """Gives free memory back and logs what is missing; the workers bound the work that comes here."""
    meter = MemoryMeter(share.limit_bytes, is_idle=lambda: not any(each.is_busy for each in partitions))
    return supervisor.start(
        "watch-memory", lambda: watch_memory(meter, lambda _: None, texts=_PRESSURE_TEXTS)
    )
