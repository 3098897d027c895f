"""A node: builds a server from its stores, logs and partitions, starts and stops it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import sys
from datetime import timedelta
from importlib.metadata import version
from typing import TYPE_CHECKING, NamedTuple

from engagement_server.api.grpc.endpoint import (
    INGEST_SERVICE,
    MAX_METADATA_BYTES,
    MIN_KEEPALIVE_INTERVAL,
    Endpoint,
)
from engagement_server.api.grpc.running import CallLimits
from engagement_server.api.listening import require_free
from engagement_server.api.server import ServerLimits
from engagement_server.api.services import services
from engagement_server.clock import now_ms
from engagement_server.errors import ConfigurationError, StoreUnavailableError
from engagement_server.governor.memory import MemoryMeter, watch_memory
from engagement_server.jobs.agreement import Terms, agree_on_retention
from engagement_server.jobs.spans import DAY_MS, duration_text, time_text
from engagement_server.log.local import LocalLog
from engagement_server.log.writer_thread import prepare_store
from engagement_server.metrics.rejections import Rejections
from engagement_server.partitions import Partition, Partitions
from engagement_server.store.database import FILE_NAME, DatabaseFile, read_cursors
from engagement_server.store.readers import Readers
from engagement_server.store.reserve import Reserve
from engagement_server.store.retention_rows import read_retention
from engagement_server.supervision import Supervisor

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from engagement_server.config import Config
    from engagement_server.governor.memory import MemoryPlan
    from engagement_server.log.base import CommitLog
    from engagement_server.log.nats.config import LogConfig
    from engagement_server.model import RetentionState

_VERSION = version("engagement-attributes")
_WATCH_SECONDS = 1.0
# About a third of a second of work: what comes on top would wait too long.
_MAX_UNARY_CALLS = 1_000

_log = logging.getLogger(__name__)


class Assembly(NamedTuple):
    """What a partition is made of."""

    number: int
    database: DatabaseFile
    log: CommitLog


class Server:
    """A running server; `start` makes one, `stop` ends it with everything acknowledged or refused."""

    def __init__(
        self,
        config: Config,
        assemblies: Sequence[Assembly],
        *,
        is_worker: bool = False,
        supervisor: Supervisor | None = None,
        rejections: Rejections | None = None,
    ) -> None:
        """Takes over the assemblies. A worker shares its port with others, and runs no background jobs."""
        self._config = config
        self._databases = [assembly.database for assembly in assemblies]
        terms = None if is_worker else terms_of(config)
        memory = config.memory_plan(processes=1)
        self._supervisor = supervisor or Supervisor()
        self._partitions = Partitions(
            [
                _partition(config, assembly, terms=terms, memory=memory, supervisor=self._supervisor)
                for assembly in assemblies
            ],
            count=config.partition_count,
        )
        self._endpoint = Endpoint(
            services(self._partitions, rejections or Rejections(), _server_limits(config), version=_VERSION),
            self._partitions,
            limits=_call_limits(config, memory),
            max_connections=config.max_connections,
            shares_port=is_worker,
        )
        self._supervisor.watch(self._report_stalled)
        self._report_stalled()
        self._meter = MemoryMeter(memory.limit_bytes, is_idle=self._is_idle)
        self._watching: list[asyncio.Task[None]] = []
        self._is_present = True
        """Whether the files of the stores were there when they were looked at last."""
        self.address = ""

    @classmethod
    async def start(cls, config: Config, log: LogConfig | None = None) -> Server:
        """Opens the stores, joins the log if there is a replicated one, and serves in this process alone.

        Waits as long as a new view has nothing to start from. Raises ConfigurationError.
        """
        # First: a start that is refused leaves no folder behind.
        config.memory_plan(processes=1)
        require_free(config.listen)
        server = cls(config, await open_assemblies(config, log))
        try:
            await server.listen()
        except ConfigurationError:
            await server.stop()
            raise
        return server

    async def listen(self) -> None:
        """Takes calls. Raises ConfigurationError."""
        self.address = await self._endpoint.listen(self._config.listen)
        self._watching = [
            self._supervisor.start("watch-files", self._watch_files, service=INGEST_SERVICE),
            self._supervisor.start("watch-memory", lambda: watch_memory(self._meter, self._endpoint.relieve)),
        ]

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
        for database in self._databases:
            database.close()

    def _report_stalled(self) -> None:
        self._endpoint.report_stalled(self._supervisor.stalled_services)

    def _is_idle(self) -> bool:
        is_committing = any(partition.committer.is_busy for partition in self._partitions)
        return self._endpoint.is_idle and not is_committing

    async def _watch_files(self) -> None:
        """Reports when a file of a store was removed or replaced; commits are refused from then on."""
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            missing = _find_missing(self._databases)
            if self._is_present == (missing is None):
                continue
            self._is_present = missing is None
            self._endpoint.report_writable(is_writable=self._is_present)
            if missing is None:
                _log.warning("the files of the store are back: events are accepted again")
            else:
                _log.error("no event is accepted: %s. Stop the server and put the files back", missing)


def _find_missing(databases: Sequence[DatabaseFile]) -> StoreUnavailableError | None:
    for database in databases:
        try:
            database.require_present()
        except StoreUnavailableError as error:
            return error
    return None


def prepare_process(*, name: str = "") -> None:
    """Sets up logging and the interpreter for a process that only serves; `name` prefixes its log lines."""
    logging.basicConfig(level=logging.INFO, format=f"%(asctime)s %(levelname)s {name}%(name)s: %(message)s")
    # The writer's thread waits this long for the interpreter after each statement, and events make many
    # objects but no cycles to look for: docs/decisions/0008-interpreter-settings.md has the numbers.
    sys.setswitchinterval(0.0005)
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


async def open_assemblies(config: Config, log: LogConfig | None) -> list[Assembly]:
    """All stores and logs of this node. Raises ConfigurationError."""
    is_replicated = log is not None and bool(log.servers)
    if config.partition_count > 1 and not is_replicated:
        raise ConfigurationError("more than one partition needs a replicated log; give --log as well")
    databases = _databases(config, are_views=is_replicated)
    assemblies: list[Assembly] = []
    try:
        for number, database in zip(config.served_partitions, databases, strict=True):
            opened = await _open_log(config, log, number, database)
            assemblies.append(Assembly(number, database, opened))
            await _agree(config, assemblies[-1])
    except BaseException:
        for assembly in assemblies:
            await assembly.log.close()
        for database in databases:
            database.close()
        raise
    return assemblies


def partition_folder(config: Config, number: int) -> Path:
    """Folder of a partition's store."""
    count = config.partition_count
    return config.data if count == 1 else config.data / f"{number}of{count}"


def terms_of(config: Config) -> Terms:
    """How long this node was asked to keep events and unfinished uploads."""
    return Terms(
        retention_ms=None if config.retention_days is None else round(config.retention_days * DAY_MS) or 1,
        idle_uploads_ms=round(config.upload_idle_hours * 3_600_000),
        allows_short=config.allow_short_retention,
        folder=config.data,
    )


@contextlib.contextmanager
def cluster_extra() -> Iterator[None]:
    """Says what to install if an import inside fails. Raises ConfigurationError."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"a replicated log needs {error.name}, which is not installed; install it with:"
            " pip install 'engagement-attributes[server,cluster]'"
        ) from error


def _databases(config: Config, *, are_views: bool) -> list[DatabaseFile]:
    """The store of each partition of this node, locked. Raises ConfigurationError."""
    _require_count(config.data, config.partition_count)
    databases = []
    try:
        for number in config.served_partitions:
            databases.append(DatabaseFile(partition_folder(config, number), is_view=are_views))
    except ConfigurationError:
        for database in databases:
            database.close()
        raise
    return databases


def _require_count(data: Path, count: int) -> None:
    """Refuses a folder with another number of partitions: accounts would be looked up in the wrong ones."""
    counts = {int(path.parent.name.partition("of")[2]) for path in data.glob(f"[0-9]*of[0-9]*/{FILE_NAME}")}
    if (data / FILE_NAME).exists():
        counts.add(1)
    if others := counts - {count}:
        raise ConfigurationError(
            f"{data} holds partitions of {min(others)}, and these are of {count}: the number cannot be"
            " changed. Choose another folder"
        )


async def _open_log(config: Config, log: LogConfig | None, number: int, database: DatabaseFile) -> CommitLog:
    def reserve() -> Reserve:
        return Reserve(database.folder, size_bytes=config.reserve_megabytes << 20)

    if log is None or not log.servers:
        await prepare_store(database)
        return LocalLog(database, reserve=reserve())
    with cluster_extra():
        from engagement_server.log.nats.opening import open_log  # noqa: PLC0415  # an optional room

    return await open_log(
        database, log, partition=number, partition_count=config.partition_count, reserve=reserve
    )


async def _agree(config: Config, assembly: Assembly) -> None:
    """Agrees with the store on the retention, and logs what this start means. Raises ConfigurationError."""

    def read() -> RetentionState:
        with contextlib.closing(assembly.database.open_reader()) as connection:
            return read_retention(connection)

    with assembly.database.usable():
        state = await agree_on_retention(assembly.log, terms_of(config), read=read)
    _log.info("version %s, %s: %s", _VERSION, assembly.database.folder, _retention_text(state))


def _retention_text(state: RetentionState) -> str:
    if state.retention_ms is None:
        return "the retention is not known until the node follows the log"
    before = time_text(now_ms() - state.retention_ms)
    text = f"keeps events for {duration_text(state.retention_ms)}, removes those accepted before {before}"
    return text if state.hold is None else f"{text}, but expiry is held"


def _server_limits(config: Config) -> ServerLimits:
    return ServerLimits(
        heartbeat_interval=timedelta(seconds=config.heartbeat_seconds),
        max_stream_age=timedelta(seconds=config.max_stream_age_seconds),
        upload_idle_timeout=timedelta(hours=config.upload_idle_hours),
        min_keepalive_interval=MIN_KEEPALIVE_INTERVAL,
        allows_short_retention=config.allow_short_retention,
        max_metadata_bytes=MAX_METADATA_BYTES,
    )


def _call_limits(config: Config, memory: MemoryPlan) -> CallLimits:
    return CallLimits(
        max_unary_calls=_MAX_UNARY_CALLS,
        max_calls_of_connection=config.max_calls_per_connection,
        max_slow_messages=memory.max_slow_messages,
        answers_bytes=memory.answers_bytes,
    )


def _partition(
    config: Config, assembly: Assembly, *, terms: Terms | None, memory: MemoryPlan, supervisor: Supervisor
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
    )
