"""The composition root: builds the server from its parts, starts and stops it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import ssl
import sys
from datetime import timedelta
from importlib.metadata import version
from typing import TYPE_CHECKING, TypeAlias

import uvloop

from engagement_server.api.server import Timings
from engagement_server.endpoint import MIN_KEEPALIVE_INTERVAL, Endpoint
from engagement_server.errors import ConfigurationError
from engagement_server.log.local import LocalLog
from engagement_server.partitions import Partition, Partitions
from engagement_server.retention import Ages
from engagement_server.store.database import FILE_NAME, DatabaseFile, read_cursors
from engagement_server.store.readers import Readers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from engagement_server.config import Config
    from engagement_server.log.base import CommitLog
    from engagement_server.log.nats_connection import NatsSettings
    from engagement_server.parent import Parent

_log = logging.getLogger(__name__)


Part: TypeAlias = "tuple[int, DatabaseFile, CommitLog]"
"""What a partition is made of: its number, its store and its log."""


class Server:
    """A running server; `start` makes one, `stop` ends it with everything acknowledged or refused."""

    def __init__(self, config: Config, parts: Sequence[Part], *, is_worker: bool = False) -> None:
        """A server that takes over the parts; a worker is one of several on a port, and only serves."""
        self._config = config
        self._databases = [database for _, database, _ in parts]
        ages = None if is_worker else _ages(config)
        self._partitions = Partitions(
            [_partition(config, *part, ages=ages) for part in parts], count=config.partition_count
        )
        self._endpoint = Endpoint(
            self._partitions,
            _timings(config),
            version=version("engagement-attributes"),
            shares_port=is_worker,
        )
        self.address = ""

    @classmethod
    async def start(cls, config: Config) -> Server:
        """Opens the store, joins the log where there is one, and serves, in this process alone.

        Raises ConfigurationError. Waits as long as a new view has nothing to begin with.
        """
        server = cls(config, await _open_parts(config))
        try:
            await server.listen()
        except ConfigurationError:
            await server.stop()
            raise
        return server

    async def listen(self) -> None:
        """Takes calls. Raises ConfigurationError."""
        self.address = await self._endpoint.listen(self._config.listen)

    async def fail(self) -> None:
        """Raises LogError once a log is of no use until the server is started again."""
        await asyncio.wait(
            [partition.log.failure for partition in self._partitions], return_when=asyncio.FIRST_COMPLETED
        )
        for partition in self._partitions:
            if partition.log.failure.done():
                partition.log.failure.result()

    async def stop(self) -> None:
        """Says NOT_SERVING, closes streams, lets running calls end, and closes the store."""
        self._endpoint.say_stopping()
        for partition in self._partitions:
            await partition.drain()
        await self._endpoint.end_calls(grace_seconds=self._config.stop_grace_seconds)
        for partition in self._partitions:
            await partition.close()
        for database in self._databases:
            database.close()


def serve(config: Config) -> None:
    """Serves until SIGTERM or SIGINT, then stops gracefully. Raises ConfigurationError and LogError."""
    prepare_process()
    if config.metrics:
        with _cluster_extra():
            from engagement_server.telemetry import expose  # noqa: PLC0415  # not for the embedded store

        expose(config.metrics)
    uvloop.run(_serve(config))


def prepare_process(*, name: str = "") -> None:
    """Sets what belongs to a process that does nothing else; `name` stands in each line of its log."""
    logging.basicConfig(level=logging.INFO, format=f"%(asctime)s %(levelname)s {name}%(name)s: %(message)s")
    # The writer's thread waits this long for the interpreter after each statement, and events make many
    # objects but no cycles to look for: docs/decisions/0008-interpreter-settings.md has the numbers.
    sys.setswitchinterval(0.0005)
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


async def _serve(config: Config) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    stopping = asyncio.create_task(stop.wait())
    starting = asyncio.create_task(_start(config))
    await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():  # it waits for the log, or for its workers
        starting.cancel()
        await asyncio.wait([starting])
        return
    server = starting.result()
    print(f"listening on {server.address}", flush=True)
    failing = asyncio.create_task(server.fail())
    await asyncio.wait([failing, stopping], return_when=asyncio.FIRST_COMPLETED)
    _log.info("stopping")
    failed = failing.done()
    if not failed:
        failing.cancel()
    await server.stop()
    if failed:
        failing.result()


async def _start(config: Config) -> Server | Parent:
    if config.workers == 1:
        return await Server.start(config)
    # A single process needs nothing of this.
    from engagement_server.parent import OwnedPartition, Parent  # noqa: PLC0415

    parts = await _open_parts(config)
    return await Parent.start(config, [OwnedPartition(*part, ages=_ages(config)) for part in parts])


def _timings(config: Config) -> Timings:
    return Timings(
        heartbeat_interval=timedelta(seconds=config.heartbeat_seconds),
        max_stream_age=timedelta(seconds=config.max_stream_age_seconds),
        upload_idle_timeout=timedelta(hours=config.upload_idle_hours),
        min_keepalive_interval=MIN_KEEPALIVE_INTERVAL,
        retention=timedelta(days=config.retention_days),
    )


def _ages(config: Config) -> Ages:
    return Ages(
        events=timedelta(days=config.retention_days),
        idle_uploads=timedelta(hours=config.upload_idle_hours),
    )


async def _open_parts(config: Config) -> list[Part]:
    """All stores and logs that are here. Raises ConfigurationError."""
    databases = _databases(config)
    logs: list[CommitLog] = []
    try:
        for number, database in zip(config.served_partitions, databases, strict=True):
            logs.append(await _open_log(config, number, database))
    except BaseException:
        for log in logs:
            await log.close()
        for database in databases:
            database.close()
        raise
    return list(zip(config.served_partitions, databases, logs, strict=True))


def partition_folder(config: Config, number: int) -> Path:
    """Where the store of a partition is."""
    count = config.partition_count
    return config.data_dir if count == 1 else config.data_dir / _part(number, count)


def _databases(config: Config) -> list[DatabaseFile]:
    """The store of each partition that is here, locked. Raises ConfigurationError."""
    _require_count(config.data_dir, config.partition_count)
    databases = []
    try:
        for number in config.served_partitions:
            databases.append(DatabaseFile(partition_folder(config, number), is_view=bool(config.log)))
    except ConfigurationError:
        for database in databases:
            database.close()
        raise
    return databases


def _require_count(data_dir: Path, count: int) -> None:
    """Refuses a folder with partitions of another count: accounts would be looked for in the wrong ones."""
    counts = {
        int(path.parent.name.partition("of")[2]) for path in data_dir.glob(f"[0-9]*of[0-9]*/{FILE_NAME}")
    }
    if (data_dir / FILE_NAME).exists():
        counts.add(1)
    if others := counts - {count}:
        raise ConfigurationError(
            f"{data_dir} holds partitions of {min(others)}, and these are of {count}: the number cannot be"
            " changed. Choose another folder"
        )


def _part(number: int, count: int) -> str:
    return f"{number}of{count}"


async def _open_log(config: Config, number: int, database: DatabaseFile) -> CommitLog:
    if not config.log:
        return LocalLog(database)
    with _cluster_extra():
        from engagement_server.log.opening import open_log  # noqa: PLC0415  # not for the embedded store

    return await open_log(
        database,
        _nats_settings(config, number),
        max_view_age_seconds=config.max_view_age_seconds,
        snapshot_seconds=config.snapshot_hours * 3600,
    )


@contextlib.contextmanager
def _cluster_extra() -> Iterator[None]:
    """Says what to install where an import inside needs it. Raises ConfigurationError."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"a replicated log needs {error.name}, which is not installed; install it with:"
            " pip install 'engagement-attributes[server,cluster]'"
        ) from error


def _nats_settings(config: Config, number: int) -> NatsSettings:
    from engagement_server.log.nats_connection import NatsSettings  # noqa: PLC0415  # as above

    return NatsSettings(
        servers=config.log_servers,
        name=f"{config.log_name}-{_part(number, config.partition_count)}",
        replicas=config.log_replicas,
        max_age_seconds=timedelta(days=config.log_days).total_seconds(),
        credentials=config.log_credentials,
        tls=_tls(config),
        # The same for any number of partitions, so that the servers refuse to have two numbers of them.
        subject=f"{config.log_name}.{number}.commits",
    )


def _tls(config: Config) -> ssl.SSLContext | None:
    """What trusts the servers of the log, where they are to be spoken to over TLS."""
    if config.log_tls_ca is None and not any(server.startswith("tls://") for server in config.log_servers):
        return None
    try:
        context = ssl.create_default_context(cafile=config.log_tls_ca)
        if config.log_tls_certificate is not None:
            context.load_cert_chain(config.log_tls_certificate, config.log_tls_key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"the certificates for the log cannot be used: {error}") from error
    return context


def _partition(
    config: Config, number: int, database: DatabaseFile, log: CommitLog, *, ages: Ages | None
) -> Partition:
    with contextlib.closing(database.open_reader()) as connection:
        cursors = read_cursors(connection)
    return Partition(
        number=number,
        log=log,
        readers=Readers(database, threads=config.reader_threads),
        cursors=cursors,
        heartbeat_seconds=config.heartbeat_seconds,
        max_age_seconds=config.max_stream_age_seconds,
        ages=ages,
    )
