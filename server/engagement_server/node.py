"""A node: builds a server from its stores, logs and partitions, starts and stops it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import sys
from datetime import timedelta
from typing import TYPE_CHECKING

from engagement_server.access.call_quotas import CallQuotas
from engagement_server.access.ledger import OwnLedger
from engagement_server.api.grpc.connections import ConnectionLimits
from engagement_server.api.grpc.endpoint import (
    MAX_METADATA_BYTES,
    MIN_KEEPALIVE_INTERVAL,
    Endpoint,
)
from engagement_server.api.grpc.running import CallLimits
from engagement_server.api.listening import require_free
from engagement_server.api.observers import Observers
from engagement_server.api.server import ServerLimits
from engagement_server.api.services import services
from engagement_server.assembly import open_assemblies, terms_of
from engagement_server.errors import ConfigurationError
from engagement_server.governor.memory import MemoryMeter, watch_memory
from engagement_server.jobs.agreement import Terms
from engagement_server.jobs.supervisor import INGEST_SERVICE
from engagement_server.listeners import open_certificate, policies_of
from engagement_server.metrics.measures import Measures
from engagement_server.metrics.rejected_counts import RejectedCounts
from engagement_server.metrics.rejections import Rejections
from engagement_server.oversight import (
    VERSION,
    Oversight,
    measure_access,
    measure_calls,
    measure_node,
    measure_process,
    measure_transport,
)
from engagement_server.partitions import Partition, Partitions
from engagement_server.stats.server_stats import ServerStats
from engagement_server.stats.stores import StoreWatch
from engagement_server.stats.streams import Streams
from engagement_server.store.database import read_cursors
from engagement_server.store.presence import Presence
from engagement_server.store.readers import Readers
from engagement_server.store.retention_rows import read_retention
from engagement_server.supervision import Supervisor
from engagement_server.telemetry.setup import write_lines

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from engagement import v1
    from engagement_server.access.identities import Credentials
    from engagement_server.access.ledger import Ledger
    from engagement_server.access.watch import AccessWatch
    from engagement_server.assembly import Assembly
    from engagement_server.config import Config
    from engagement_server.governor.memory import MemoryPlan
    from engagement_server.http.checks import Check
    from engagement_server.log.nats.config import LogConfig
    from engagement_server.telemetry.config import LogLineConfig
    from engagement_server.transport.certificate_files import CertificateFiles
    from engagement_server.transport.served_certificate import ServedCertificate

# About a third of a second of work: what comes on top would wait too long.
_MAX_UNARY_CALLS = 1_000

_log = logging.getLogger(__name__)


class Server:
    """A running server; `start` makes one, `stop` ends it with everything acknowledged or refused."""

    def __init__(  # noqa: PLR0913  # all but two are named at the call
        self,
        config: Config,
        assemblies: Sequence[Assembly],
        *,
        is_worker: bool = False,
        supervisor: Supervisor | None = None,
        rejections: Rejections | None = None,
        observers: Observers | None = None,
        credentials: Credentials | None = None,
        ledger: Ledger | None = None,
        access: AccessWatch | None = None,
        read_stats: Callable[[], Awaitable[v1.GetServerStatsResponse]] | None = None,
        certificate: ServedCertificate | None = None,
        files: CertificateFiles | None = None,
    ) -> None:
        """Takes over the assemblies. A worker shares its port with others, and runs no background jobs.

        `credentials` know the callers; without them nobody is asked. `ledger` counts what they use of their
        quotas, in this process alone without one. `access` is what this process watches.
        Without a `certificate`, calls come in plain text. `files` are reported on, where they are read.
        `read_stats` asks the process that has the stats of all.
        """
        self._config = config
        self._databases = [assembly.database for assembly in assemblies]
        observers = observers or Observers()
        measures = observers.measures
        rejections = rejections or Rejections(on_rejected=RejectedCounts(measures).note)
        terms = None if is_worker else terms_of(config)
        memory = config.memory_plan(processes=1)
        self._supervisor = supervisor or Supervisor()
        self._partitions = Partitions(
            [
                _partition(
                    config,
                    assembly,
                    terms=terms,
                    memory=memory,
                    supervisor=self._supervisor,
                    measures=None if is_worker else measures,
                )
                for assembly in assemblies
            ],
            count=config.partition_count,
        )
        self.streams = Streams(self._partitions, process=measures.process)
        """The open streams of this process."""
        self._stats = ServerStats(
            version=VERSION,
            measures=measures,
            rejections=rejections,
            checks=self.checks,
            stores=[StoreWatch(each.number, each.log, each.readers) for each in self._partitions],
            streams=self.streams,
        )
        quotas = CallQuotas(ledger or OwnLedger(), self._partitions)
        self._is_worker = is_worker
        self._endpoint = Endpoint(
            services(
                self._partitions,
                rejections,
                _server_limits(
                    config, identity_required=credentials is not None, encrypted=certificate is not None
                ),
                quotas=quotas,
                version=VERSION,
                read_stats=read_stats or self._read_stats,
            ),
            self._partitions,
            policies_of(config, certificate=certificate, credentials=credentials),
            limits=_call_limits(config, memory),
            quotas=quotas,
            observers=observers,
            connections=ConnectionLimits(
                config.max_connections, config.max_connection_age_seconds, config.max_stream_age_seconds
            ),
            shares_port=is_worker,
        )
        self._access = access
        self._supervisor.watch(self._report_stalled)
        self._report_stalled()
        self._meter = MemoryMeter(memory.limit_bytes, is_idle=self._is_idle)
        self._presence = Presence(self._databases)
        self._oversight = Oversight(
            {partition.number: partition.log for partition in self._partitions},
            presence=self._presence,
            supervisor=self._supervisor,
            meter=self._meter,
            access=access,
            certificate=files,
            audit=observers.audit,
        )
        self._watching: list[asyncio.Task[None]] = []
        self.address = ""
        self.mtls_address: str | None = None
        self._register_gauges(measures, files, is_worker=is_worker)

    @classmethod
    async def start(  # noqa: PLR0913  # all but two are named at the call
        cls,
        config: Config,
        log: LogConfig | None = None,
        *,
        observers: Observers | None = None,
        access: AccessWatch | None = None,
        credentials: Credentials | None = None,
        files: CertificateFiles | None = None,
    ) -> Server:
        """Opens the stores, joins the log if there is a replicated one, and serves in this process alone.

        Waits as long as a new view has nothing to start from. Without `access` and `credentials` it asks
        nobody who they are. `files` have the certificate, and the caller watches them; without them it is
        read once. Raises ConfigurationError.
        """
        # First: a start that is refused leaves no folder behind.
        config.memory_plan(processes=1)
        files = files or open_certificate(config)
        require_free(config.listen)
        observers = observers or Observers()
        if access is not None:
            credentials = access.directory
        assemblies = await open_assemblies(config, log, measures=observers.measures)
        server = cls(
            config,
            assemblies,
            observers=observers,
            credentials=credentials,
            access=access,
            certificate=None if files is None else files.served,
            files=files,
        )
        try:
            await server.listen()
        except ConfigurationError:
            await server.stop()
            raise
        return server

    async def listen(self) -> None:
        """Takes calls. Raises ConfigurationError."""
        if not self._is_worker:
            await self._stats.begin()
        self.address, *others = await self._endpoint.listen()
        self.mtls_address = others[0] if others else None
        self._watching = [
            self._supervisor.start(
                "watch-files", lambda: self._presence.watch(self._report_writable), service=INGEST_SERVICE
            ),
            self._supervisor.start("watch-memory", lambda: watch_memory(self._meter, self._endpoint.relieve)),
            self._supervisor.start(
                "stats", self.streams.refresh_periodically if self._is_worker else self._stats.run
            ),
        ]
        if self._access is not None:
            self._watching.append(self._supervisor.start("watch-access", self._access.run, service=""))

    def checks(self) -> Sequence[Check]:
        """The conditions of readiness as they are now."""
        return self._oversight.checks()

    @property
    def stats(self) -> v1.GetServerStatsResponse:
        """What the server does now, as it was sampled last."""
        return self._stats.response

    @property
    def unread_answers(self) -> int:
        """See `RunningCalls.unread_answers`."""
        return self._endpoint.unread_answers

    async def fail(self) -> None:
        """Raises LogError once a log cannot be used until the server is restarted."""
        await asyncio.wait(
            [partition.log.failure for partition in self._partitions], return_when=asyncio.FIRST_COMPLETED
        )
        for partition in self._partitions:
            if partition.log.failure.done():
                partition.log.failure.result()

    def report_stopping(self) -> None:
        """Reports NOT_SERVING from now on, and goes on taking calls."""
        self._endpoint.report_stopping()

    async def stop(self) -> None:
        """Reports NOT_SERVING, closes streams, lets running calls end, and closes the stores."""
        self._endpoint.report_stopping()
        for watching in self._watching:
            watching.cancel()
        for partition in self._partitions:
            await partition.drain()
        await self._endpoint.end_calls(grace_seconds=self._config.stop_grace_seconds)
        for partition in self._partitions:
            await partition.close()
        if self._access is not None:
            await self._access.close()
        for database in self._databases:
            database.close()

    async def _read_stats(self) -> v1.GetServerStatsResponse:
        return self.stats

    def _register_gauges(
        self, measures: Measures, files: CertificateFiles | None, *, is_worker: bool
    ) -> None:
        committers = [partition.committer for partition in self._partitions]
        measure_process(measures, committers, self._supervisor)
        measure_calls(measures, self._endpoint, self.streams)
        if not is_worker:
            readers = {partition.number: partition.readers for partition in self._partitions}
            folders = [database.folder for database in self._databases]
            measure_node(measures, self._config, folders=folders, readers=readers)
            measure_transport(measures, self._config, files)
        if self._access is not None:
            measure_access(measures, self._access)

    def _report_stalled(self) -> None:
        self._endpoint.report_stalled(self._supervisor.stalled_services)

    def _is_idle(self) -> bool:
        is_committing = any(partition.committer.is_busy for partition in self._partitions)
        return self._endpoint.is_idle and not is_committing

    def _report_writable(self, is_writable: bool) -> None:  # noqa: FBT001  # as `Presence` calls it
        self._endpoint.report_writable(is_writable=is_writable)


def prepare_process(lines: LogLineConfig, *, worker: int | None = None) -> None:
    """Sets up log lines and the interpreter for a process that only serves; `worker` is its number."""
    write_lines(lines, worker=worker)
    # The writer's thread waits this long for the interpreter after each statement, and events make many
    # objects but no cycles to look for: docs/decisions/0008-interpreter-settings.md has the numbers.
    sys.setswitchinterval(0.0005)
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def _server_limits(config: Config, *, identity_required: bool, encrypted: bool) -> ServerLimits:
    return ServerLimits(
        heartbeat_interval=timedelta(seconds=config.heartbeat_seconds),
        max_stream_age=timedelta(seconds=config.max_stream_age_seconds),
        upload_idle_timeout=timedelta(hours=config.upload_idle_hours),
        min_keepalive_interval=MIN_KEEPALIVE_INTERVAL,
        allows_short_retention=config.allow_short_retention,
        max_metadata_bytes=MAX_METADATA_BYTES,
        identity_required=identity_required,
        encrypted=encrypted,
    )


def _call_limits(config: Config, memory: MemoryPlan) -> CallLimits:
    return CallLimits(
        max_unary_calls=_MAX_UNARY_CALLS,
        max_calls_of_connection=config.max_calls_per_connection,
        max_slow_messages=memory.max_slow_messages,
        answers_bytes=memory.answers_bytes,
    )


def _partition(  # noqa: PLR0913  # all but two are named at the call
    config: Config,
    assembly: Assembly,
    *,
    terms: Terms | None,
    memory: MemoryPlan,
    supervisor: Supervisor,
    measures: Measures | None,
) -> Partition:
    with (
        assembly.database.usable(),
        contextlib.closing(assembly.database.open_reader()) as connection,
    ):
        cursors = read_cursors(connection)
        retention = read_retention(connection)
    return Partition(
        number=assembly.number,
        log=assembly.log,
        readers=Readers(assembly.database, threads=config.reader_threads),
        cursors=cursors,
        heartbeat_seconds=config.heartbeat_seconds,
        max_age_seconds=config.max_stream_age_seconds,
        memory=memory,
        terms=terms,
        retention=retention,
        supervisor=supervisor,
        measures=measures,
    )
