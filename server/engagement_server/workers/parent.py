"""The parent of the workers: owns stores and logs, and runs the background jobs; workers serve the calls."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from engagement_server.access.last_uses import LastUses, Uses
from engagement_server.api.observers import Observers
from engagement_server.assembly import open_assemblies, terms_of
from engagement_server.governor.memory import MemoryMeter, Pressure, watch_memory
from engagement_server.jobs.supervisor import Jobs
from engagement_server.listeners import open_certificate
from engagement_server.log.commit_counts import CommitCounts
from engagement_server.log.committer import Committer
from engagement_server.metrics.measures import Measured, Measures
from engagement_server.metrics.rejections import Rejections, Snapshot
from engagement_server.oversight import (
    VERSION,
    Oversight,
    measure_access,
    measure_node,
    measure_process,
    measure_transport,
)
from engagement_server.stats.server_stats import ServerStats
from engagement_server.stats.stores import StoreWatch
from engagement_server.stats.streams import OpenStreams, Streams
from engagement_server.store.presence import Presence
from engagement_server.store.readers import Readers
from engagement_server.supervision import Supervisor
from engagement_server.workers.counts import MEASURES, REJECTIONS, STATS, USES, Part, SharedCounts
from engagement_server.workers.pool import WorkerPool
from engagement_server.workers.port import ReservedPort
from engagement_server.workers.remote_log_server import RemoteLogServer

if TYPE_CHECKING:
    from engagement import v1
    from engagement_server.access.audit import Auditor
    from engagement_server.access.watch import AccessWatch
    from engagement_server.assembly import Assembly
    from engagement_server.config import Config
    from engagement_server.governor.memory import MemoryPlan
    from engagement_server.http.checks import Check
    from engagement_server.jobs.agreement import Terms
    from engagement_server.log.nats.config import LogConfig
    from engagement_server.transport.certificate_files import CertificateFiles

# Only the background jobs read here.
_READER_THREADS = 1
_PRESSURE_TEXTS = {
    Pressure.NONE: "the process that writes is within its share of --max-memory again",
    Pressure.SOFT: "the process that writes takes almost its share of --max-memory",
    Pressure.HARD: "the process that writes takes its share of --max-memory; the server needs more",
}


class OwnedPartition:
    """A partition in the parent: its log, its committer and its background jobs."""

    def __init__(  # all but one are named at the call
        self,
        assembly: Assembly,
        *,
        terms: Terms,
        memory: MemoryPlan,
        supervisor: Supervisor,
        observers: Observers,
    ) -> None:
        self.number, self.database, self.log = assembly
        self.committer = Committer(
            self.log,
            max_call_bytes=memory.waiting_calls_bytes,
            max_upload_bytes=memory.waiting_uploads_bytes,
            counts=CommitCounts(observers.measures),
        )
        self.log_server = RemoteLogServer(self.log, self.committer, tracer=observers.tracer)
        self.readers = Readers(self.database, threads=_READER_THREADS)
        self._jobs = Jobs(
            committer=self.committer,
            readers=self.readers,
            log=self.log,
            terms=terms,
            supervisor=supervisor,
            measures=observers.measures,
        )

    async def close(self) -> None:
        """Commits the waiting operations and closes the log."""
        await self._jobs.stop()
        self.log_server.close()
        await self.committer.close()
        self.readers.close()
        await self.log.close()
        self.database.close()


class Parent:
    """A running server of several processes, as seen from the parent."""

    def __init__(  # noqa: PLR0913  # `start` makes all of them
        self,
        partitions: Sequence[OwnedPartition],
        workers: WorkerPool,
        oversight: Oversight,
        stats: ServerStats,
        ending: contextlib.AsyncExitStack,
        *,
        address: str,
        mtls_address: str | None,
    ) -> None:
        self.address = address
        self.mtls_address = mtls_address
        self._oversight = oversight
        self._stats = stats
        self._partitions = partitions
        self._workers = workers
        self._ending = ending

    @classmethod
    async def start(  # noqa: PLR0913  # all but two are named at the call
        cls,
        config: Config,
        log: LogConfig | None,
        *,
        worker_count: int,
        observers: Observers | None = None,
        access: AccessWatch | None = None,
        files: CertificateFiles | None = None,
    ) -> Self:
        """Opens stores and logs, and starts workers that accept calls.

        `observers` get what all processes measure, and the commits that workers trace. Without `access`
        nobody is asked who they are. `files` have the certificate, and the caller watches them; without
        them it is read once. Raises ConfigurationError.
        """
        terms = terms_of(config)
        observers = observers or Observers()
        measures = observers.measures
        async with contextlib.AsyncExitStack() as ending:
            # First: a start that is refused leaves no folder behind.
            share = config.memory_plan(processes=worker_count + 1)
            files = files or open_certificate(config)
            config = await _reserve(config, ending)
            assemblies = await open_assemblies(config, log, measures=measures)
            supervisor = Supervisor()
            partitions = [
                OwnedPartition(
                    assembly,
                    terms=terms,
                    memory=share,
                    supervisor=supervisor,
                    observers=observers,
                )
                for assembly in assemblies
            ]
            for partition in partitions:
                ending.push_async_callback(partition.close)
            oversight = _oversee(
                partitions,
                supervisor=supervisor,
                share=share,
                access=access,
                files=files,
                audit=observers.audit,
                ending=ending,
            )
            if access is not None:
                ending.push_async_callback(access.close)
            rejections = Rejections()
            stats = _stats(partitions, measures, rejections, oversight)
            workers = WorkerPool(
                replace(config, max_memory=str(share.limit_bytes)),
                {partition.number: partition.log_server for partition in partitions},
                SharedCounts(
                    {
                        REJECTIONS: Part(rejections, Snapshot),
                        MEASURES: Part(measures, Measured),
                        STATS: Part(stats, OpenStreams, answer=bytes),
                        USES: Part(LastUses() if access is None else access.uses, Uses),
                    }
                ),
                count=worker_count,
                lines=observers.lines,
                access=access,
                audit=observers.audit,
                certificate=None if files is None else files.served,
            )
            if files is not None:
                files.subscribe(workers.send_certificate)
            ending.push_async_callback(workers.stop)
            supervisor.watch(lambda: workers.report_stalled(supervisor.stalled_services))
            _measure(config, partitions, supervisor, measures)
            measure_transport(measures, config, files)
            await stats.begin()
            ending.callback(supervisor.start("stats", stats.run).cancel)
            await workers.start()
            if access is not None:
                measure_access(measures, access)
                ending.callback(supervisor.start("watch-access", access.run, service="").cancel)
            return cls(
                partitions,
                workers,
                oversight,
                stats,
                ending.pop_all(),
                address=config.listen,
                mtls_address=config.mtls_listen or None,
            )

    def checks(self) -> Sequence[Check]:
        """The conditions of readiness as they are now."""
        return self._oversight.checks()

    @property
    def stats(self) -> v1.GetServerStatsResponse:
        """What the server does now, as it was sampled last."""
        return self._stats.response

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

    def report_stopping(self) -> None:
        """Reports NOT_SERVING from now on, and goes on taking calls."""
        self._workers.report_stopping()

    async def stop(self) -> None:
        """Stops the workers, commits their last operations, and closes the stores."""
        await self._ending.aclose()


async def _reserve(config: Config, ending: contextlib.AsyncExitStack) -> Config:
    """Reserves the ports until `ending`; the configuration names them. Raises ConfigurationError."""
    port = await ReservedPort.take(config.listen)
    ending.callback(port.close)
    config = replace(config, listen=port.address)
    if not config.mtls_listen:
        return config
    mtls_port = await ReservedPort.take(config.mtls_listen)
    ending.callback(mtls_port.close)
    return replace(config, mtls_listen=mtls_port.address)


def _measure(
    config: Config, partitions: Sequence[OwnedPartition], supervisor: Supervisor, measures: Measures
) -> None:
    measure_process(measures, [partition.committer for partition in partitions], supervisor)
    folders = [partition.database.folder for partition in partitions]
    readers = {partition.number: partition.readers for partition in partitions}
    measure_node(measures, config, folders=folders, readers=readers)


def _stats(
    partitions: Sequence[OwnedPartition], measures: Measures, rejections: Rejections, oversight: Oversight
) -> ServerStats:
    """The stats of all processes; the streams are those of the workers."""
    return ServerStats(
        version=VERSION,
        measures=measures,
        rejections=rejections,
        checks=oversight.checks,
        stores=[StoreWatch(each.number, each.log, each.readers) for each in partitions],
        streams=Streams([]),
    )


def _oversee(  # noqa: PLR0913  # all but one are named at the call
    partitions: Sequence[OwnedPartition],
    *,
    supervisor: Supervisor,
    share: MemoryPlan,
    access: AccessWatch | None,
    files: CertificateFiles | None,
    audit: Auditor | None,
    ending: contextlib.AsyncExitStack,
) -> Oversight:
    """Watches files and memory until `ending`.

    Gives free memory back and logs what is missing; the workers bound the work that comes here, and refuse
    events while a file is missing.
    """
    meter = MemoryMeter(
        share.limit_bytes, is_idle=lambda: not any(each.committer.is_busy for each in partitions)
    )
    watching = supervisor.start(
        "watch-memory", lambda: watch_memory(meter, lambda _: None, texts=_PRESSURE_TEXTS)
    )
    ending.callback(watching.cancel)
    presence = Presence([partition.database for partition in partitions])
    ending.callback(supervisor.start("watch-files", lambda: presence.watch(lambda _: None)).cancel)
    return Oversight(
        {partition.number: partition.log for partition in partitions},
        presence=presence,
        supervisor=supervisor,
        meter=meter,
        access=access,
        certificate=files,
        audit=audit,
    )
